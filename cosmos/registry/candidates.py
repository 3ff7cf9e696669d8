"""Candidates of a sweep: configurations that finished, with figures over seeds, and the verdict on them.

A difference counts where it is larger than chance would have it, over the images that both were measured on
and over seeds: `cosmos.run.statistics`. Of costs that were measured by one seed each, any difference counts.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from cosmos.config.figures import is_cost
from cosmos.config.search_space import TrialValues
from cosmos.config.sweep import Objective, Sweep
from cosmos.registry.kept_values import RunValues, read_statistics
from cosmos.run.statistics.differences import SeedSpread, compare_samples
from cosmos.run.statistics.intervals import LEVEL, LEVEL_TEXT
from cosmos.run.statistics.leads import Lead, join_names, judge_lead
from cosmos.run.statistics.seed_statistics import SeedStatistics
from cosmos.run.sweep_directory import SweepDir, TrialRecord

StatisticsReader = Callable[[Sequence[TrialRecord], str], SeedStatistics]
"""Function that returns the statistics of a figure over the trials of a configuration, one per seed."""


def recorded_statistics(seeds: Sequence[TrialRecord], figure: str) -> SeedStatistics:
    """Return the statistics of a figure by the records of trials alone, without values of images."""
    return SeedStatistics.over([seed.values[figure] for seed in seeds])


def measured_statistics(folder: SweepDir) -> StatisticsReader:
    """Return a reader of statistics with the values of images that lie beside the results of trials."""

    def read(seeds: Sequence[TrialRecord], figure: str) -> SeedStatistics:
        runs = [opened.setdefault(seed.name, RunValues(folder.run(seed))) for seed in seeds]
        return read_statistics(runs, figure, [seed.values[figure] for seed in seeds])

    opened = dict[str, RunValues]()
    return read


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
    breaches: tuple[str, ...] = ()
    """constraints that it breaks with any of its seeds, in words: it never wins"""

    def equals(self, other: "Candidate") -> bool:
        """Return True when all objectives have the same means."""
        return all(figure.equals(other.figures[name]) for name, figure in self.figures.items())

    def as_json(self) -> dict[str, Any]:
        """Return the candidate as values of JSON."""
        figures = {name: figure.as_json() for name, figure in self.figures.items()}
        return {**vars(self), "figures": figures}


@dataclass(frozen=True)
class CandidateField:
    """Candidates of a sweep that are compared with each other."""

    sweep: Sweep
    candidates: Sequence[Candidate]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Objectives of the sweep, the first one first."""
        return self.sweep.file.objectives

    def samples(self, objective: Objective) -> dict[str, SeedStatistics]:
        """Return the statistics of an objective by the number of the trial."""
        return {str(candidate.number): candidate.figures[objective.figure] for candidate in self.candidates}

    @cached_property
    def spreads(self) -> dict[str, SeedSpread]:
        """Spread over seeds of each objective."""
        return {
            objective.figure: SeedSpread.of(self.samples(objective).values()) for objective in self.objectives
        }

    @cached_property
    def lead(self) -> Lead:
        """Verdict on the candidates by the first objective."""
        objective = self.objectives[0]
        return judge_lead(self.samples(objective), 1 if objective.goal == "maximize" else -1)

    def differs(self, candidate: Candidate, rival: Candidate) -> bool:
        """Return True when an objective differs by more than chance, corrected for the number of rivals.

        Of a cost, or a loss, that no seed was repeated of any difference counts.
        """
        allowed = (1 - LEVEL) / max(1, len(self.candidates) - 1)
        for name, figure in candidate.figures.items():
            other = rival.figures[name]
            difference = compare_samples(figure, other, self.spreads[name])
            is_exact = math.isnan(difference.error) and is_cost(name)
            if not figure.equals(other) and (is_exact or difference.probability < allowed):
                return True
        return False

    def dominates(self, candidate: Candidate, rival: Candidate) -> bool:
        """Return True when `candidate` is better by more than chance somewhere, and nowhere worse."""
        for objective in self.objectives:
            mine, other = objective_loss(objective, candidate), objective_loss(objective, rival)
            equals = candidate.figures[objective.figure].equals(rival.figures[objective.figure])
            if mine > other and not equals:
                return False
        return self.differs(candidate, rival)

    @cached_property
    def front(self) -> list[Candidate]:
        """Candidates with the most seeds that no other one of those dominates."""
        most = max((candidate.num_seeds for candidate in self.candidates), default=0)
        eligible = [candidate for candidate in self.candidates if candidate.num_seeds == most]
        if len(self.objectives) == 1 and eligible:
            near = {self.lead.leader, *self.lead.ties}
            return [candidate for candidate in eligible if str(candidate.number) in near]
        return [c for c in eligible if not any(self.dominates(rival, c) for rival in eligible)]

    def stands_out(self, candidate: Candidate) -> bool:
        """Return True when there are others, none of which equals a candidate, is near it, or ahead of it."""
        if len(self.objectives) == 1:
            return self.lead.is_won and self.lead.leader == str(candidate.number)
        rivals = [other for other in self.candidates if other.number != candidate.number]
        return bool(rivals) and not any(
            candidate.equals(rival) or self.is_near(candidate, rival) or self.is_ahead(rival, candidate)
            for rival in rivals
        )

    def is_near(self, candidate: Candidate, rival: Candidate) -> bool:
        """Return True for a rival of no more seeds whose differences may all be chance."""
        return rival.num_seeds <= candidate.num_seeds and not self.differs(candidate, rival)

    def is_ahead(self, rival: Candidate, candidate: Candidate) -> bool:
        """Return True for a rival of fewer seeds whose means are better somewhere, and nowhere worse."""
        losses = [(objective_loss(o, rival), objective_loss(o, candidate)) for o in self.objectives]
        is_no_worse = all(theirs <= mine for theirs, mine in losses)
        return rival.num_seeds < candidate.num_seeds and is_no_worse and not candidate.equals(rival)

    def order(self, candidate: Candidate) -> tuple[float, ...]:
        """Return a candidate's sort key: the front first, then by number of seeds, then by the objectives."""
        losses = (objective_loss(objective, candidate) for objective in self.objectives)
        return (candidate not in self.front, -candidate.num_seeds, *losses, candidate.number)


def rank_candidates(
    sweep: Sweep, trials: Iterable[TrialRecord], statistics: StatisticsReader = recorded_statistics
) -> list[Candidate]:
    """Return the configurations that finished, the best first; `trials` are in order of their numbers.

    Only those with the most seeds may be best, since one lucky seed is no better than three. Those that break
    a constraint come last, by their objectives.
    """
    measured = (trial for trial in trials if is_measured(sweep, trial))
    repetitions = groupby(measured, key=lambda trial: trial.number)
    everyone = [candidate_of_seeds(sweep, list(seeds), statistics) for _, seeds in repetitions]
    field = CandidateField(sweep, [candidate for candidate in everyone if not candidate.breaches])
    broken = [candidate for candidate in everyone if candidate.breaches]
    best = {candidate.number for candidate in field.front if field.stands_out(candidate)}
    ordered = [*sorted(field.candidates, key=field.order), *sorted(broken, key=field.order)]
    return [replace(candidate, is_best=candidate.number in best) for candidate in ordered]


def is_measured(sweep: Sweep, trial: TrialRecord) -> bool:
    """Return True for a trial that finished with a finite value of each objective and limited figure."""
    values = [trial.values.get(figure.figure) for figure in sweep.figures]
    return trial.state == "finished" and all(v is not None and math.isfinite(v) for v in values)


def candidate_of_seeds(sweep: Sweep, seeds: Sequence[TrialRecord], statistics: StatisticsReader) -> Candidate:
    """Return the candidate of finished runs of one configuration, one per seed."""
    figures = {objective.figure: statistics(seeds, objective.figure) for objective in sweep.file.objectives}
    breaches = tuple(dict.fromkeys(limit for seed in seeds for limit in seed.breaches))
    return Candidate(seeds[0].number, seeds[0].asked, len(seeds), figures, breaches=breaches)


def objective_loss(objective: Objective, candidate: Candidate) -> float:
    """Return the mean of an objective, with its sign changed where it is maximised: smaller is better."""
    mean = candidate.figures[objective.figure].mean
    return -mean if objective.goal == "maximize" else mean


@dataclass(frozen=True)
class SweepVerdict:
    """Verdict on the candidates of a sweep: the leading one, and whether it has won."""

    leader: Candidate | None
    """the first candidate; None where there is none, or where others equal it"""
    words: str
    """the verdict, for a person"""
    lead: Mapping[str, Any]
    """the lead by the first objective over each other candidate, as values of JSON; {} without a leader"""


def judge_candidates(sweep: Sweep, ranked: Sequence[Candidate]) -> SweepVerdict:
    """Return the verdict on ranked candidates; among equal ones nothing leads."""
    eligible = [candidate for candidate in ranked if not candidate.breaches]
    if not eligible:
        reason = "every trial that finished breaks a constraint" if ranked else "no trial finished"
        return SweepVerdict(None, f"no winner: {reason}", {})
    first, *others = eligible
    field = CandidateField(sweep, eligible)
    if not others and len(ranked) > 1:
        alone = f"no winner: trial {first.number} alone keeps the constraints"
        return SweepVerdict(first, alone, field.lead.as_json())
    if equal := find_equals(first, others):
        return SweepVerdict(None, f"no winner: {1 + len(equal)} trials are equal", {})
    return SweepVerdict(first, describe_candidates(field, first, others), field.lead.as_json())


def find_equals(first: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    """Return those that equal the first with as many seeds; with any number, where all of them do.

    Of discrete figures, one of fewer seeds equals the first by chance now and then.
    """
    equal = [*filter(first.equals, others)]
    return equal if len(equal) == len(others) else [o for o in equal if o.num_seeds == first.num_seeds]


def describe_candidates(field: CandidateField, first: Candidate, others: Sequence[Candidate]) -> str:
    """Return the verdict on a leader that no other of as many seeds equals."""
    name = f"trial {first.number}"
    if not others:
        return f"no winner: {name} alone finished"
    if (equal := [*filter(first.equals, others)]) and not field.lead.ahead:
        lead = f"no winner: {name} leads those with {first.num_seeds} seeds"
        return f"{lead}; with fewer, {list_trials(equal)} did as well, and would need as many"
    if len(field.objectives) == 1:
        return field.lead.describe("trial {}".format)
    if near := [other for other in others if field.is_near(first, other)]:
        return f"no winner at {LEVEL_TEXT}: {name} leads, {list_trials(near)} may be as good"
    if ahead := [other for other in others if field.is_ahead(other, first)]:
        lead = f"no winner: {name} leads those with {first.num_seeds} seeds"
        return f"{lead}; with fewer, {list_trials(ahead)} did better, and would need as many"
    return f"{name} has the best {field.objectives[0].figure} of the Pareto front"


def list_trials(candidates: Iterable[Candidate]) -> str:
    """Return candidates by their numbers, as a part of a sentence."""
    return join_names([f"trial {candidate.number}" for candidate in candidates])
