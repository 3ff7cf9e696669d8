"""Candidates of a sweep: configurations that finished, with their figures over seeds, the best first."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean, stdev

from cosmos.config.search_space import TrialValues
from cosmos.config.sweep import Objective, Sweep
from cosmos.registry.sweep_directory import TrialRecord


@dataclass(frozen=True)
class SeedStatistics:
    """Mean and deviation of a figure over the seeds of a configuration."""

    mean: float
    deviation: float
    """sample standard deviation over seeds; NaN for one seed"""

    @classmethod
    def over(cls, values: Sequence[float]) -> "SeedStatistics":
        """Return the statistics of values, one per seed."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else math.nan)

    @property
    def is_repeated(self) -> bool:
        """True when there is more than one seed."""
        return not math.isnan(self.deviation)

    def as_json(self) -> dict[str, float | None]:
        """Return mean and deviation as values of JSON; the deviation of one seed is null."""
        return {"mean": self.mean, "deviation": self.deviation if self.is_repeated else None}

    def __str__(self) -> str:
        """Return mean and deviation as text: `0.314 ± 0.012`."""
        spread = f" ± {self.deviation:.2g}" if self.is_repeated else ""
        return f"{self.mean:.4g}{spread}"


@dataclass(frozen=True)
class Candidate:
    """Configuration that finished, with all its seeds."""

    number: int
    """number of its trial"""
    asked: TrialValues
    num_seeds: int
    figures: dict[str, SeedStatistics]
    """statistics of the objectives, by figure"""
    is_best: bool = False
    """True when no other is better: the winner, or one of the Pareto front"""


def rank_candidates(sweep: Sweep, trials: Iterable[TrialRecord]) -> list[Candidate]:
    """Return the configurations that finished, the best first; `trials` are in order of their numbers.

    Only those with the most seeds may be best, since one lucky seed is no better than three.
    """
    finished = (trial for trial in trials if trial.state == "finished")
    repetitions = groupby(finished, key=lambda trial: trial.number)
    candidates = [candidate_of_seeds(sweep, list(seeds)) for _, seeds in repetitions]
    most = max((candidate.num_seeds for candidate in candidates), default=0)
    eligible = [candidate for candidate in candidates if candidate.num_seeds == most]
    best = {
        candidate.number
        for candidate in eligible
        if not any(dominates(sweep, rival, candidate) for rival in eligible)
    }
    marked = [replace(candidate, is_best=candidate.number in best) for candidate in candidates]
    first = sweep.file.objectives[0]
    return sorted(marked, key=lambda c: (not c.is_best, -c.num_seeds, objective_loss(first, c)))


def candidate_of_seeds(sweep: Sweep, seeds: Sequence[TrialRecord]) -> Candidate:
    """Return the candidate of finished runs of one configuration, one per seed."""
    figures = {
        objective.figure: SeedStatistics.over([seed.values[objective.figure] for seed in seeds])
        for objective in sweep.file.objectives
    }
    return Candidate(seeds[0].number, seeds[0].asked, len(seeds), figures)


def objective_loss(objective: Objective, candidate: Candidate) -> float:
    """Return the mean of an objective, with its sign changed where it is maximised: smaller is better."""
    mean = candidate.figures[objective.figure].mean
    return -mean if objective.goal == "maximize" else mean


def dominates(sweep: Sweep, candidate: Candidate, rival: Candidate) -> bool:
    """Return True when `candidate` is better than `rival` in some objective and worse in none."""
    pairs = [
        (objective_loss(objective, candidate), objective_loss(objective, rival))
        for objective in sweep.file.objectives
    ]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
