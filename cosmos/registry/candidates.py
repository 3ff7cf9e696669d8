"""Candidates of a sweep: configurations that finished, with figures over seeds, and the verdict on them.

A difference counts where it is larger than the standard deviation over seeds of either configuration. One
seed has no deviation: then every difference counts, and the verdict says that the spread is not known.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import fsum
from statistics import fmean, stdev

from cosmos.config.number_text import format_number
from cosmos.config.search_space import TrialValues
from cosmos.config.sweep import Objective, Sweep
from cosmos.run.sweep_directory import TrialRecord


@dataclass(frozen=True)
class SeedStatistics:
    """Mean and deviation of a figure over the seeds of a configuration."""

    mean: float
    deviation: float
    """sample standard deviation over seeds; NaN for one seed"""

    @classmethod
    def over(cls, values: Sequence[float]) -> "SeedStatistics":
        """Return the statistics of values, one per seed."""
        try:
            return cls(fmean(values), stdev(values) if len(values) > 1 else math.nan)
        except OverflowError:  # of values near the largest float
            return cls(fsum(value / len(values) for value in values), math.nan)

    @property
    def is_repeated(self) -> bool:
        """True when there is more than one seed."""
        return not math.isnan(self.deviation)

    def equals(self, other: "SeedStatistics") -> bool:
        """Return True when the means are the same but for rounding."""
        return math.isclose(self.mean, other.mean, rel_tol=1e-9)

    def differs(self, other: "SeedStatistics") -> bool:
        """Return True when the means differ by more than the deviation of either."""
        spread = max((s.deviation for s in (self, other) if s.is_repeated), default=0.0)
        return not self.equals(other) and abs(self.mean - other.mean) > spread

    def as_json(self) -> dict[str, float | None]:
        """Return mean and deviation as values of JSON; the deviation of one seed is null."""
        return {"mean": self.mean, "deviation": self.deviation if self.is_repeated else None}

    def __str__(self) -> str:
        """Return mean and deviation as text: `0.314 ± 0.012`."""
        return format_number(self.mean) + (
            f" ± {format_deviation(self.deviation)}" if self.is_repeated else ""
        )


def format_deviation(deviation: float) -> str:
    """Return a deviation with two significant digits, or whole from 10 on."""
    return f"{deviation:.2g}" if deviation < 10 else f"{deviation:.0f}"


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
    """True for the winner, or for one of the Pareto front: none beats it, equals it or is near it"""

    def equals(self, other: "Candidate") -> bool:
        """Return True when all objectives have the same means."""
        return all(figure.equals(other.figures[name]) for name, figure in self.figures.items())

    def differs(self, other: "Candidate") -> bool:
        """Return True when an objective differs by more than its spread over seeds."""
        return any(figure.differs(other.figures[name]) for name, figure in self.figures.items())


def rank_candidates(sweep: Sweep, trials: Iterable[TrialRecord]) -> list[Candidate]:
    """Return the configurations that finished, the best first; `trials` are in order of their numbers.

    Only those with the most seeds may be best, since one lucky seed is no better than three.
    """
    measured = (trial for trial in trials if is_measured(sweep, trial))
    repetitions = groupby(measured, key=lambda trial: trial.number)
    candidates = [candidate_of_seeds(sweep, list(seeds)) for _, seeds in repetitions]
    front = undominated(sweep, candidates)
    best = {candidate.number for candidate in front if stands_out(sweep, candidate, candidates)}
    order = {candidate.number: front_order(sweep, candidate, front) for candidate in candidates}
    marked = [replace(candidate, is_best=candidate.number in best) for candidate in candidates]
    return sorted(marked, key=lambda candidate: order[candidate.number])


def is_measured(sweep: Sweep, trial: TrialRecord) -> bool:
    """Return True for a trial that finished with a finite value of each objective."""
    values = [trial.values.get(objective.figure) for objective in sweep.file.objectives]
    return trial.state == "finished" and all(v is not None and math.isfinite(v) for v in values)


def undominated(sweep: Sweep, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with the most seeds that no other one of those dominates."""
    most = max((candidate.num_seeds for candidate in candidates), default=0)
    eligible = [candidate for candidate in candidates if candidate.num_seeds == most]
    return [c for c in eligible if not any(dominates(sweep, rival, c) for rival in eligible)]


def stands_out(sweep: Sweep, candidate: Candidate, candidates: Iterable[Candidate]) -> bool:
    """Return True when there are others, none of which equals a candidate, is near it, or ahead of it."""
    rivals = [other for other in candidates if other.number != candidate.number]
    return bool(rivals) and not any(
        candidate.equals(rival) or is_near(candidate, rival) or is_ahead(sweep, rival, candidate)
        for rival in rivals
    )


def is_near(candidate: Candidate, rival: Candidate) -> bool:
    """Return True for a rival of no more seeds whose differences are all within the spread."""
    return rival.num_seeds <= candidate.num_seeds and not candidate.differs(rival)


def is_ahead(sweep: Sweep, rival: Candidate, candidate: Candidate) -> bool:
    """Return True for a rival of fewer seeds whose means are better somewhere, and nowhere worse."""
    losses = [(objective_loss(o, rival), objective_loss(o, candidate)) for o in sweep.file.objectives]
    is_no_worse = all(theirs <= mine for theirs, mine in losses)
    return rival.num_seeds < candidate.num_seeds and is_no_worse and not candidate.equals(rival)


def front_order(sweep: Sweep, candidate: Candidate, front: Sequence[Candidate]) -> tuple[float, ...]:
    """Return a candidate's sort key: the front first, then by number of seeds, then by the objectives."""
    losses = (objective_loss(objective, candidate) for objective in sweep.file.objectives)
    return (candidate not in front, -candidate.num_seeds, *losses, candidate.number)


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
    """Return True when `candidate` is better by more than the spread somewhere, and nowhere worse."""
    for objective in sweep.file.objectives:
        mine, other = objective_loss(objective, candidate), objective_loss(objective, rival)
        if mine > other and not candidate.figures[objective.figure].equals(rival.figures[objective.figure]):
            return False
    return candidate.differs(rival)


@dataclass(frozen=True)
class SweepVerdict:
    """Verdict on the candidates of a sweep: the leading one, and whether it has won."""

    leader: Candidate | None
    """the first candidate; None where there is none, or where others equal it"""
    words: str
    """the verdict, for a person"""


def judge_candidates(sweep: Sweep, ranked: Sequence[Candidate]) -> SweepVerdict:
    """Return the verdict on ranked candidates; among equal ones nothing leads."""
    if not ranked:
        return SweepVerdict(None, "no winner: no trial finished")
    first, *others = ranked
    equal = [first, *filter(first.equals, others)]
    if len(equal) > 1:
        return SweepVerdict(None, f"no winner: {len(equal)} trials are equal")
    return SweepVerdict(first, describe_lead(sweep, first, others))


def describe_lead(sweep: Sweep, first: Candidate, others: Sequence[Candidate]) -> str:
    """Return the verdict on a leader that no other equals."""
    name = f"trial {first.number}"
    if not others:
        return f"no winner: {name} alone finished"
    if near := [other for other in others if is_near(first, other)]:
        return f"no winner: {name} leads {list_numbers(near)} by less than the spread over seeds"
    if ahead := [other for other in others if is_ahead(sweep, other, first)]:
        lead = f"no winner: {name} leads those with {first.num_seeds} seeds"
        return f"{lead}; with fewer, {list_numbers(ahead)} did better (raise repeats.best)"
    if len(first.figures) > 1:
        return f"{name} has the best {sweep.file.objectives[0].figure} of the Pareto front"
    unsure = ", by one seed: the spread over seeds is not known" if first.num_seeds == 1 else ""
    return f"{name} wins{unsure}"


def list_numbers(candidates: Iterable[Candidate]) -> str:
    """Return the numbers of candidates, separated by commas."""
    return ", ".join(str(candidate.number) for candidate in candidates)
