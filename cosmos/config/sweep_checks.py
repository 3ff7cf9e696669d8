"""Reading a sweep, and holding it against Params before anything starts."""

import difflib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import EXPERIMENTS, explain, load_experiment, merged, read_mapping
from cosmos.config.params import flat
from cosmos.config.search_space import condition_problems
from cosmos.config.sweep import Sweep, SweepFile
from cosmos.errors import InputError

SWEEPS = EXPERIMENTS / "sweeps"

NUM_DRAWN = 200
"""Random trials that Params has to take: what only some combinations make impossible shows among them."""

RETRIEVAL_METRICS = [
    f"{direction}_{metric}"
    for direction in ("image_to_text", "text_to_image")
    for metric in ("R@1", "R@5", "R@10", "mean_rank", "median_rank")
]


def load_sweep(name: str, experiment: str = "") -> Sweep:
    """The sweep that is named, on another base where one is given; a path, or a name in experiments/sweeps/.

    Raises ValueError that names the file and every key that is wrong, and says what would do.
    """
    path = sweep_file(name)
    file = read_sweep(path)
    if experiment:
        file = file.model_copy(update={"experiment": experiment})
    budget = {"pretrain": {"epochs": file.epochs}} if file.epochs else {}
    try:
        base = load_experiment(file.experiment, merged(file.fixed, budget))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    sweep = Sweep(path.stem, file, base.params, base.needs)
    if found := list(problems(sweep)):
        raise InputError("\n  ".join([f"{path}:", *found]))
    return sweep


def sweep_file(name: str) -> Path:
    """The file that `name` means. ValueError lists those that there are."""
    for path in (Path(name), SWEEPS / name, SWEEPS / f"{name}.yaml"):
        if path.is_file():
            return path
    there = ", ".join(sorted(path.stem for path in SWEEPS.glob("*.yaml")))
    raise InputError(f"{name}: no such file, and no such sweep in {SWEEPS}; there are: {there or 'none'}")


def read_sweep(path: Path) -> SweepFile:
    """A sweep's file. ValueError names each wrong key."""
    try:
        return SweepFile.model_validate(read_mapping(path))
    except ValidationError as error:
        raise InputError(f"{path}:\n{explain(error)}") from None


def problems(sweep: Sweep) -> list[str]:
    """Why a sweep cannot run; the first kind of reasons that there are."""
    for kind in (path_problems, value_problems, objective_problems, pruner_problems):
        if found := list(kind(sweep)):
            return found
    return []


def path_problems(sweep: Sweep) -> Iterator[str]:
    """Parameters that there are not, and conditions on what is not drawn before."""
    known = flat(sweep.base.model_dump(mode="json"))
    for path in sweep.file.space:
        if path == "pretrain.seed":
            yield "space.pretrain.seed: not to be searched; `repeats` has the best trained with further seeds"
        elif path not in known:
            near = difflib.get_close_matches(path, known, 3, 0.4)
            yield f"space.{path}: no such parameter; near it: {', '.join(near) or 'none'}"
    yield from condition_problems(sweep.file.space)


def value_problems(sweep: Sweep) -> Iterator[str]:
    """Values that Params does not take: the ends of each range, and then some trials at random."""
    for path, searched in sweep.file.space.items():
        if path.startswith(("data.", "evaluate.")):
            yield f"space.{path}: decides what is trained on or measured, so that trials would not compare"
        for value in searched.extremes:
            if why := refusal(sweep, {path: value}, only=path):
                yield f"space.{path}: {value!r}: {why}"
    choice = random.Random(0)
    for _ in range(NUM_DRAWN):
        asked = sweep.draw(Drawn(choice))
        if why := refusal(sweep, asked):
            yield f"space: a trial may be asked for {asked}: {why}; use `when`, or narrower ranges"
            return


def refusal(sweep: Sweep, asked: Mapping[str, Any], only: str = "") -> str:
    """Why Params does not take values; of a parameter alone, unless `only` is empty. "" where it does."""
    try:
        sweep.params(asked, 0)
    except ValidationError as error:
        told = error.errors(include_url=False)
        own = [one for one in told if not only or ".".join(map(str, one["loc"])) == only]
        return "; ".join(one["msg"].removeprefix("Value error, ") for one in own)
    return ""


@dataclass(frozen=True)
class Drawn:
    """Draws at random, as a trial of Optuna's does, without a study."""

    choice: random.Random

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number between `low` and `high`; how often which is of no account."""
        return (
            low + step * self.choice.randint(0, int((high - low) / step))
            if step
            else self.choice.uniform(low, high)
        )

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from `low` to `high`."""
        return self.choice.randrange(low, high + 1, step)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""
        return self.choice.choice(choices)


def objective_problems(sweep: Sweep) -> Iterator[str]:
    """Objectives that no trial would have a figure of, as far as that shows before one ends."""
    figures = [objective.figure for objective in sweep.file.objectives]
    if len(set(figures)) < len(figures):
        yield "objectives: a figure is named twice"
    for objective in sweep.file.objectives:
        where = f"objectives: {objective.figure}"
        if not objective.suite:
            if "/" in objective.figure:
                yield f"{where}: {objective.figure.partition('/')[0]} is no suite; take {suites_in_words()}"
            continue
        parts = objective.figure.split("/", 3)
        if len(parts) < 4:
            yield f"{where}: name it as <suite>/<dataset>/<model>/<metric>"
            continue
        suite, dataset, model, metric = parts
        datasets = getattr(sweep.base.evaluate, suite).datasets
        if dataset not in datasets:
            yield f"{where}: {dataset} is not among evaluate.{suite}.datasets ({', '.join(datasets)})"
        if model not in sweep.base.evaluate.models:
            yield f"{where}: {model} is not among evaluate.models ({', '.join(sweep.base.evaluate.models)})"
        if suite == "retrieval" and metric not in RETRIEVAL_METRICS:
            yield f"{where}: no metric {metric}; retrieval has {', '.join(RETRIEVAL_METRICS)}"


def suites_in_words() -> str:
    """The suites, for a person."""
    return ", ".join(get_args(SuiteName))


def pruner_problems(sweep: Sweep) -> Iterator[str]:
    """Pruners that would never learn how a trial stands."""
    if sweep.file.pruner.name == "none":
        return
    where = f"pruner: {sweep.file.pruner.name}"
    if len(sweep.file.objectives) > 1:
        yield f"{where} stops trials by one objective, and there are several; take none"
        return
    (objective,) = sweep.file.objectives
    pretrain = sweep.base.pretrain
    if objective.suite not in ("", "retrieval"):
        yield f"{where} needs figures while training, which {objective.suite} has none of; take none"
    elif objective.suite and not pretrain.evaluate_every_epochs:
        yield f"{where} needs figures while training; fixed: pretrain: evaluate_every_epochs: 1 measures them"
