"""Sweeps: the settings in experiments/sweeps/<name>.yaml, and the parameters of each trial."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import merge_sections
from cosmos.config.figures import direction_of
from cosmos.config.identity import flatten_sections, identifying_values, with_first_defaults
from cosmos.config.params import Params
from cosmos.config.search_space import (
    Distribution,
    Suggester,
    TrialValues,
    are_drawn,
    nest_sections,
    suggest_values,
)
from cosmos.config.section import Natural, NumTrials, Positive, Section
from cosmos.errors import InputError


class TrialFigure(Section):
    """Figure that is measured of every trial."""

    key: ClassVar[str]
    """key of the sweep's file that lists such figures"""
    figure: str
    """<suite>/<dataset>/<model>/<metric>, device_seconds, or a value of metrics.jsonl such as loss"""

    @property
    def suite(self) -> str:
        """Evaluation suite that measures the figure; "" for figures of training."""
        name = self.figure.partition("/")[0]
        return name if name in get_args(SuiteName) else ""


class Objective(TrialFigure):
    """Figure that the search maximises or minimises."""

    key = "objectives"
    goal: Literal["maximize", "minimize", ""] = ""
    """default: the better direction of the figure's metric; "" if it has none, which `load_sweep` refuses"""

    @model_validator(mode="before")
    @classmethod
    def _with_goal(cls, values: Any) -> Any:
        """Return the values; where they state no goal, with the better direction of the figure's metric."""
        if not isinstance(values, dict) or values.get("goal") or not isinstance(values.get("figure"), str):
            return values
        goals = {"max": "maximize", "min": "minimize", "": ""}
        return {**values, "goal": goals[direction_of(values["figure"])]}

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Goal, in Optuna's terms, of an objective of a checked sweep."""
        assert self.goal, f"{self.figure} has no goal"
        return self.goal

    def loss(self, value: float) -> float:
        """Return a value with its sign changed where it is maximised: less is better."""
        return -value if self.goal == "maximize" else value


class Constraint(TrialFigure):
    """Limits of a figure: a trial beyond one of them never wins."""

    key = "constraints"
    min: float | None = None
    """smallest value that is allowed; none: any"""
    max: float | None = None
    """largest value that is allowed; none: any"""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.min is None and self.max is None:
            raise InputError("states no limit; add `max`, `min` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise InputError(f"min: {self.min:g} is above max: {self.max:g}")
        return self

    @property
    def limits(self) -> list[float]:
        """Limits that are stated."""
        return [limit for limit in (self.min, self.max) if limit is not None]

    def is_exceeded(self, value: float) -> bool:
        """Return True for a value above the largest one that is allowed."""
        return self.max is not None and value > self.max

    def excesses(self, value: float) -> dict[str, float]:
        """Return how far a value lies beyond each limit, as a share of it, by the limit in words.

        A value breaks the limits whose excess is above 0.
        """
        stated = ((">=", self.min, -1.0), ("<=", self.max, 1.0))
        return {
            f"{self.figure} {sign} {limit:.15g}": outward * (value - limit) / (abs(limit) or 1.0)
            for sign, limit, outward in stated
            if limit is not None
        }


class SamplerSettings(Section):
    """Optuna sampler, which proposes the values of trials."""

    name: Literal["tpe", "gp", "nsga2", "random"] = "tpe"
    startup_trials: Natural = 10
    """random trials before tpe and gp use the results of earlier ones"""


class PrunerSettings(Section):
    """Pruner of trials that fall behind others: promote pauses them, the others, Optuna's, end them."""

    name: Literal["none", "promote", "median", "hyperband", "halving"] = "none"
    rungs: tuple[Positive, ...] = ()
    """epochs after which promote pauses a trial, in ascending order"""
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.34
    """share of the trials at a rung, the best ones, that promote has go on"""
    startup_trials: Natural = 5
    """trials that end before median stops any"""
    warmup: Natural = 0
    """evaluations of a trial before median stops it"""

    @model_validator(mode="after")
    def _has_rungs(self) -> Self:
        if (self.name == "promote") != bool(self.rungs):
            raise InputError("rungs: promote needs them, such as [1, 2, 4], and no other pruner has any")
        if list(self.rungs) != sorted(set(self.rungs)):
            raise InputError("rungs: expected each once, in ascending order")
        return self


class RepeatSettings(Section):
    """Repetitions: the best configurations are trained again with further seeds, once the search is over."""

    best: NumTrials = 3
    """number of configurations that are repeated"""
    seeds: NumTrials = 2
    """number of further seeds of each"""
    every: Natural = 0
    """number of trials that end between repetitions while the search goes on; 0: none"""


class SweepFile(Section):
    """Contents of experiments/sweeps/<name>.yaml."""

    about: str = ""
    """purpose of the sweep, in a line"""
    experiment: str = ""
    """the base: an experiment; empty: the one that params.yaml names"""
    epochs: Natural = 0
    """budget of a trial; 0: the base's epochs"""
    fixed: dict[str, Any] = Field(default_factory=dict)
    """sections whose values win over the base's, in every trial"""
    space: Annotated[dict[str, Distribution], Field(min_length=1)]
    """distributions by the path of the parameter"""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)]
    constraints: tuple[Constraint, ...] = ()
    """limits of figures, which the winner keeps"""
    trials: Annotated[NumTrials, Field(gt=0)] = 20
    """number of trials that are to be begun, in all, without those that fail"""
    sampler: SamplerSettings = SamplerSettings()
    pruner: PrunerSettings = PrunerSettings()
    repeats: RepeatSettings = RepeatSettings()
    attempts: Positive = 3
    """times that a trial's job is submitted before the trial counts as failed"""


@dataclass(frozen=True)
class Sweep:
    """Sweep: the settings in its file, and the base parameters of its trials."""

    name: str
    file: SweepFile
    base: Params
    """parameters of every trial but for those that it tries, and its seed"""
    needs: dict[str, Any]
    """keys of JobRequest that the base sets"""
    data: str = ""
    """sha256 of the manifest of the training data; "" until it is prepared"""
    samples: int = field(default=0, compare=False)
    """samples of the training data as the base states them; 0: not stated. No part of what is recorded"""

    @property
    def identity(self) -> str:
        """Eight hex digits, the same for sweeps of one search space, objectives, constraints, base and data.

        The number of trials, the sampler and the pruner may change while the sweep runs.
        """
        kept = self.file.model_dump(mode="json", include={"space", "objectives", "constraints"})
        base = identifying_values(self.base.model_dump(mode="json"))
        text = json.dumps([identifying_values(kept, "sweep"), base, self.data])
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def id(self) -> str:
        """Name of the sweep's folder and study: <name>-<identity>."""
        return f"{self.name}-{self.identity}"

    @property
    def suites(self) -> list[SuiteName]:
        """Evaluation suites that measure objectives and constraints."""
        wanted = {figure.suite for figure in self.figures}
        return [suite for suite in get_args(SuiteName) if suite in wanted]

    @property
    def figures(self) -> list[TrialFigure]:
        """Objectives and constraints: what is measured of each trial."""
        return [*self.file.objectives, *self.file.constraints]

    @property
    def prunes_by_dominance(self) -> bool:
        """True where a pruner compares several values, or within constraints, which Optuna's do not."""
        return len(self.file.objectives) > 1 or bool(self.file.constraints)

    def excesses(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the excess over each constraint of a trial's values by figure, by the limit in words."""
        excesses = dict[str, float]()
        for constraint in self.file.constraints:
            if constraint.figure in values:
                excesses |= constraint.excesses(values[constraint.figure])
        return excesses

    def breaches(self, values: Mapping[str, float]) -> list[str]:
        """Return the limits that a trial's values by figure break, in words."""
        return [limit for limit, excess in self.excesses(values).items() if excess > 0]

    @cached_property
    def base_by_path(self) -> dict[str, Any]:
        """Parameters of the base by path."""
        return flatten_sections(self.base.model_dump(mode="json"))

    def suggest(self, trial: Suggester) -> TrialValues:
        """Draw the values that a trial tries."""
        return suggest_values(self.file.space, trial, self.base_by_path)

    def draws(self, asked: Mapping[str, Any]) -> bool:
        """Return True for values that `suggest` may return."""
        return are_drawn(self.file.space, asked, self.base_by_path)

    def next_rung(self, asked: Mapping[str, Any], epochs: int) -> int:
        """Return the first rung after `epochs` of a trial that tries `asked`; 0: it trains to its end."""
        total = self.params(asked, 0).pretrain.epochs
        return next((rung for rung in self.file.pruner.rungs if epochs < rung < total), 0)

    def params(self, asked: Mapping[str, Any], seed: int) -> Params:
        """Return the parameters of a trial that tries `asked`; `seed` is added to the base's seed.

        Raises pydantic's ValidationError where they are impossible.
        """
        values = merge_sections(self.base.model_dump(mode="json"), nest_sections(asked))
        values["pretrain"]["seed"] += seed
        return Params.model_validate(values)

    def dump(self) -> dict[str, Any]:
        """Return the sweep as plain values, which `load` accepts."""
        return {
            "name": self.name,
            "sweep": self.file.model_dump(mode="json", exclude_defaults=True),
            "base": self.base.model_dump(mode="json"),
            "needs": self.needs,
            "data": self.data,
        }

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        """Return the sweep that `dump` gave as plain values; the first release left out the goal `maximize`.

        Raises KeyError, TypeError or ValueError for values that are no dump.
        """
        objectives = [{"goal": "maximize", **objective} for objective in values["sweep"]["objectives"]]
        file = SweepFile.model_validate(
            with_first_defaults({**values["sweep"], "objectives": objectives}, "sweep")
        )
        if not all(objective.goal for objective in file.objectives):
            raise InputError("objectives: one has no goal")
        base = Params.model_validate(with_first_defaults(values["base"]))
        for key, kind in (("name", str), ("needs", dict), ("data", str)):
            if not isinstance(values[key], kind):
                raise TypeError(f"{key}: {values[key]!r}")
        return cls(values["name"], file, base, values["needs"], values["data"])
