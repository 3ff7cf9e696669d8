"""A sweep: what experiments/sweeps/<name>.yaml says, and the parameters that its trials get."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import merged
from cosmos.config.params import Params, flat
from cosmos.config.search_space import Asked, Distribution, draw, nested
from cosmos.config.section import Natural, Positive, Section


class Objective(Section):
    """A figure that the search makes large or small."""

    figure: str
    """<suite>/<dataset>/<model>/<metric>, device_seconds, or a value of metrics.jsonl such as loss"""
    goal: Literal["maximize", "minimize"] = "maximize"

    @property
    def suite(self) -> str:
        """The suite that measures it; "" for what training itself tells."""
        name = self.figure.partition("/")[0]
        return name if name in get_args(SuiteName) else ""


class Sampler(Section):
    """What proposes trials."""

    name: Literal["tpe", "gp", "nsga2", "random"] = "tpe"
    startup_trials: Natural = 10
    """trials at random before tpe and gp go by what was found"""


class Pruner(Section):
    """What stops trials that fall behind others."""

    name: Literal["none", "median", "hyperband", "halving"] = "none"
    startup_trials: Natural = 5
    """trials that end before median stops any"""
    warmup: Natural = 0
    """evaluations of a trial before median stops it"""


class Repeats(Section):
    """The best are trained again before one of them is named."""

    best: Natural = 3
    """configurations that are repeated"""
    seeds: Natural = 2
    """further seeds of each"""


class SweepFile(Section):
    """experiments/sweeps/<name>.yaml."""

    about: str = ""
    """what it looks for, in a line"""
    experiment: str = ""
    """the base: an experiment; empty: the one that params.yaml names"""
    epochs: Natural = 0
    """budget of a trial; 0: the base's epochs"""
    fixed: dict[str, Any] = Field(default_factory=dict)
    """sections whose values win over the base's, in every trial"""
    space: Annotated[dict[str, Distribution], Field(min_length=1)]
    """distributions by the path of the parameter"""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)]
    trials: Positive = 20
    """trials in all that are to finish or be pruned"""
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    repeats: Repeats = Repeats()
    attempts: Positive = 3
    """times that a trial's job is submitted before the trial counts as failed"""


@dataclass(frozen=True)
class Sweep:
    """A sweep, with the parameters that its trials vary."""

    name: str
    file: SweepFile
    base: Params
    """of every trial, but for what it is asked to try and its seed"""
    needs: dict[str, Any]
    """keys of JobRequest that the base sets"""
    data: str = ""
    """sha256 of the manifest of what is trained on, once that is known"""

    @property
    def identity(self) -> str:
        """Eight hex digits that differ between sweeps whose trials do not compare or whose space differs.

        How many trials there are, who proposes and who stops them may change on the way.
        """
        kept = self.file.model_dump(mode="json", include={"space", "objectives"})
        text = json.dumps([kept, self.base.model_dump(mode="json"), self.data])
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def id(self) -> str:
        """The name of its folder and of its study."""
        return f"{self.name}-{self.identity}"

    @property
    def suites(self) -> list[SuiteName]:
        """The suites that measure the objectives."""
        wanted = {objective.suite for objective in self.file.objectives}
        return [suite for suite in get_args(SuiteName) if suite in wanted]

    def draw(self, trial: Any) -> Asked:
        """What a trial of Optuna's is to try."""
        return draw(self.file.space, trial, flat(self.base.model_dump(mode="json")))

    def params(self, asked: Mapping[str, Any], seed: int) -> Params:
        """Parameters of a trial; the seed of a repetition is further than the first one's by `seed`."""
        values = merged(self.base.model_dump(mode="json"), nested(asked))
        values["pretrain"]["seed"] += seed
        return Params.model_validate(values)

    def dump(self) -> dict[str, Any]:
        """All of it, as `load` takes it."""
        return {
            "name": self.name,
            "sweep": self.file.model_dump(mode="json", exclude_defaults=True),
            "base": self.base.model_dump(mode="json"),
            "needs": self.needs,
            "data": self.data,
        }

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        """The sweep that was dumped."""
        file, base = SweepFile.model_validate(values["sweep"]), Params.model_validate(values["base"])
        return cls(values["name"], file, base, values["needs"], values["data"])
