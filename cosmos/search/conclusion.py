"""What a sweep came to: trials with their seeds, the best of them, and what mattered."""

import math
import os.path
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml

from cosmos.config.experiment import (
    EXPERIMENTS,
    PARAMS_FILE,
    experiment_file,
    in_force,
    load_params,
    read_mapping,
)
from cosmos.config.params import Params, flat
from cosmos.run.files import write_text
from cosmos.search.space import Asked, nested
from cosmos.search.sweep import Objective, Sweep
from cosmos.search.sweep_dir import SweepDir, TrialRecord, TrialState


@dataclass(frozen=True)
class Figure:
    """An objective over the seeds of a configuration."""

    mean: float
    deviation: float
    """sample standard deviation over seeds; NaN of one seed"""

    @classmethod
    def over(cls, values: Sequence[float]) -> "Figure":
        """The mean and deviation of values, one a seed."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else math.nan)

    @property
    def is_repeated(self) -> bool:
        """Whether there is more than one seed."""
        return not math.isnan(self.deviation)

    def as_json(self) -> dict[str, float | None]:
        """As JSON has it: no deviation of one seed is null."""
        return {"mean": self.mean, "deviation": self.deviation if self.is_repeated else None}

    def __str__(self) -> str:
        """`0.314 ± 0.012`."""
        spread = f" ± {self.deviation:.2g}" if self.is_repeated else ""
        return f"{self.mean:.4g}{spread}"


@dataclass(frozen=True)
class Candidate:
    """A configuration that finished, with all its seeds."""

    number: int
    """of its trial"""
    asked: Asked
    num_seeds: int
    figures: dict[str, Figure]
    """objectives"""
    is_best: bool = False
    """whether no other is better: the winner, or one of the Pareto front"""


def candidates(sweep: Sweep, trials: Iterable[TrialRecord]) -> list[Candidate]:
    """Configurations that finished, the best first.

    Where some were repeated with further seeds, only those with as many seeds as any may be best: one lucky
    seed does not beat three.
    """
    finished = (trial for trial in trials if trial.state == "finished")
    grouped = [list(seeds) for _, seeds in groupby(finished, key=lambda trial: trial.number)]
    found = [candidate(sweep, seeds) for seeds in grouped]
    most = max((one.num_seeds for one in found), default=0)
    repeated = [one for one in found if one.num_seeds == most]
    best = {one.number for one in repeated if not any(dominates(sweep, other, one) for other in repeated)}
    marked = [Candidate(**{**vars(one), "is_best": one.number in best}) for one in found]
    first = sweep.file.objectives[0]
    return sorted(marked, key=lambda one: (not one.is_best, -one.num_seeds, loss(first, one)))


def candidate(sweep: Sweep, seeds: Sequence[TrialRecord]) -> Candidate:
    """A configuration from its finished runs, one a seed."""
    figures = {
        objective.figure: Figure.over([seed.values[objective.figure] for seed in seeds])
        for objective in sweep.file.objectives
    }
    return Candidate(seeds[0].number, seeds[0].asked, len(seeds), figures)


def loss(objective: Objective, one: Candidate) -> float:
    """An objective, so that smaller is better."""
    value = one.figures[objective.figure].mean
    return -value if objective.goal == "maximize" else value


def dominates(sweep: Sweep, one: Candidate, other: Candidate) -> bool:
    """Whether `one` is better than `other` in some objective and worse in none."""
    pairs = [(loss(objective, one), loss(objective, other)) for objective in sweep.file.objectives]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@dataclass(frozen=True)
class Conclusion:
    """What a sweep came to; best.json."""

    sweep: str
    states: dict[TrialState, int]
    """trials by state, repetitions left out"""
    candidates: list[Candidate]
    importances: dict[str, dict[str, float]]
    """by objective and parameter: shares of what the parameters explain; {} of too few trials"""
    overlay: str
    """the experiment that has the best's parameters; "" where nothing finished"""
    run: str
    """the best's run directory"""

    def as_json(self) -> dict[str, Any]:
        """As JSON has it."""
        values = asdict(self)
        for one, candidate in zip(values["candidates"], self.candidates, strict=True):
            one["figures"] = {name: figure.as_json() for name, figure in candidate.figures.items()}
        return values


def conclude(sweep: Sweep, folder: SweepDir, importances: Mapping[str, Mapping[str, float]]) -> Conclusion:
    """Sums a sweep up from its run directories, and writes the best's parameters as an experiment."""
    trials = folder.trials
    found = candidates(sweep, trials)
    firsts = [trial.state for trial in trials if not trial.seed]
    states = {state: firsts.count(state) for state in sorted(set(firsts))}
    overlay, run = "", ""
    if found:
        overlay = str(write_overlay(sweep, found[0]))
        run = str(folder.run(TrialRecord(sweep.id, found[0].number, 0, {})).path)
    return Conclusion(sweep.id, states, found, {k: dict(v) for k, v in importances.items()}, overlay, run)


def write_overlay(sweep: Sweep, best: Candidate) -> Path:
    """Writes experiments/<sweep>-best.yaml: what its base's experiment lacks to be the best trial."""
    path, base = EXPERIMENTS / f"{sweep.name}-best.yaml", sweep.file.experiment
    about = f"best of {sweep.id}: trial {best.number}"
    head: dict[str, Any] = {"about": about, "expected": in_words(best)}
    if base:
        head["extends"] = os.path.relpath(experiment_file(base), EXPERIMENTS)
    without = flat((load_params(base) if base else plain()).model_dump(mode="json"))
    wanted = flat(sweep.params(best.asked, 0).model_dump(mode="json"))
    differing = {key: value for key, value in wanted.items() if without.get(key) != value}
    text = yaml.safe_dump({**head, **nested(differing)}, sort_keys=False, allow_unicode=True)
    write_text(path, f"# Written by `cosmos sweep {sweep.name}`.\n{text}")
    return path


def plain() -> Params:
    """The parameters of params.yaml without the experiment in force: what an overlay starts from."""
    values = read_mapping(PARAMS_FILE)
    in_force(PARAMS_FILE, values)
    return Params.model_validate(values)


def in_words(best: Candidate) -> str:
    """A candidate's objectives, in a line."""
    seeds = f"{best.num_seeds} seed{'s' if best.num_seeds > 1 else ''}"
    return ", ".join([*(f"{name} {figure}" for name, figure in best.figures.items()), seeds])
