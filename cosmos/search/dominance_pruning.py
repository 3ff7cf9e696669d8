"""Pruning by several objectives, or within constraints: Optuna's pruners know a single objective alone.

At a rung, a trial is set beside those that were there. It falls behind where one of them dominates it and too
many come before it in the order of dominance: half of the trials that finished (median), or all but a quarter
of those that reached the rung (halving). A trial that breaks a constraint is no rival of others.

Rungs are the epochs of evaluations or, where no objective is measured by one, the steps of lines of training.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cosmos.config.figures import GROWING_METRICS
from cosmos.config.sweep import Objective, Sweep
from cosmos.run.sweep_directory import TrialRecord
from cosmos.search.dominance import Losses, beats, order_by_dominance
from cosmos.search.objectives import intermediate_value
from cosmos.search.study import is_before

HALVING = 4
"""Reduction of halving: it keeps one in four, at the 1st, 4th, 16th rung of a trial and so on."""


@dataclass
class TrialCurve:
    """Values of a trial while it trains: of its objectives by rung, and of the newest line of training."""

    objectives: Sequence[Objective]
    rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    """values by figure that are measured at a rung, so far"""
    training: dict[int, dict[str, float]] = field(default_factory=dict)
    """values by figure in lines of training, by step"""
    newest: dict[str, float] = field(default_factory=dict)
    """all values in the newest line of training"""

    def add(self, line: Mapping[str, Any]) -> int | None:
        """Add a line of metrics; return the rung at which it completes the objectives, if it does."""
        is_evaluation = "evaluation" in line
        if not is_evaluation:
            self.newest = {key: value for key, value in line.items() if isinstance(value, int | float)}
        reports = {o.figure: report for o in self.objectives if (report := intermediate_value(o, line))}
        values = {figure: value for figure, (_, value) in reports.items()}
        if self.has_evaluations and not is_evaluation:
            self.training[line["step"]] = values
        elif reports:
            rung = next(iter(reports.values()))[0]
            self.rungs.setdefault(rung, self.training_before(line["step"])).update(values)
            return rung if self.losses(rung) else None
        return None

    @property
    def has_evaluations(self) -> bool:
        """True where an objective is measured by evaluations."""
        return any(objective.suite for objective in self.objectives)

    def training_before(self, step: int) -> dict[str, float]:
        """Return the values of the last line of training up to a step; {} where there is none."""
        steps = [earlier for earlier in self.training if earlier <= step]
        return dict(self.training[max(steps)]) if steps else {}

    def losses(self, rung: int) -> Losses:
        """Return the objectives at a rung, of each of which less is better; () unless all are measured."""
        values = self.rungs.get(rung, {})
        if any(objective.figure not in values for objective in self.objectives):
            return ()
        return [objective.loss(values[objective.figure]) for objective in self.objectives]

    @property
    def last_values(self) -> dict[str, float]:
        """Values of the objectives at the last rung at which all are measured; {} where there is none."""
        measured = [rung for rung in self.rungs if self.losses(rung)]
        return dict(self.rungs[max(measured)]) if measured else {}


class DominancePruner:
    """Pruner of a sweep's trials, by what their metrics have said so far."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.settings = sweep, sweep.file.pruner
        self.curves: dict[int, TrialCurve] = {}
        self.finished: set[int] = set()

    def curve(self, number: int) -> TrialCurve:
        """Return the curve of a trial."""
        return self.curves.setdefault(number, TrialCurve(self.sweep.file.objectives))

    def restore(self, record: TrialRecord, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take up a trial that ended, with the lines of its metrics."""
        for line in lines:
            self.curve(record.number).add(line)
        self.end(record)

    def end(self, record: TrialRecord) -> None:
        """Note the end of a trial: one that failed or breaks a constraint is no rival of others."""
        if record.state == "failed" or record.breaches:
            self.curves.pop(record.number, None)
        elif record.state == "finished":
            self.finished.add(record.number)

    def report(self, number: int, lines: Sequence[Mapping[str, Any]], epochs: int) -> bool:
        """Add lines of a trial's metrics; return True if it is to end before its last epoch.

        It is looked at where it stands now, not again at rungs that it has passed.
        """
        reached = [rung for line in lines if (rung := self.curve(number).add(line)) is not None]
        if not all(is_before(epochs, line) for line in lines):
            return False
        return bool(self.exceeded(number)) or any(self.falls_behind(number, rung) for rung in reached[-1:])

    def exceeded(self, number: int) -> dict[str, float]:
        """Return the values of a trial that are above a limit for good, since such figures never fall."""
        newest = self.curve(number).newest
        return {
            limit.figure: newest[limit.figure]
            for limit in self.sweep.file.constraints
            if limit.figure in GROWING_METRICS and limit.is_exceeded(newest.get(limit.figure, 0.0))
        }

    def falls_behind(self, number: int, rung: int) -> bool:
        """Return True for a trial that another dominates at a rung, with too many others before it."""
        mine, rivals = self.curve(number).losses(rung), self.rivals(number, rung)
        if not mine or not self.is_looked_at(number, rung):
            return False
        num_kept = len(rivals) // 2 + 1 if self.settings.name == "median" else (len(rivals) + 1) // HALVING
        place = order_by_dominance([mine, *rivals]).index(0)
        return place >= max(1, num_kept) and any(beats(rival, mine) for rival in rivals)

    def is_looked_at(self, number: int, rung: int) -> bool:
        """Return True for a rung at which the pruner may end a trial."""
        if self.settings.name == "median":
            return len(self.finished) >= self.settings.startup_trials and rung >= self.settings.warmup
        count = sum(1 for earlier in self.curve(number).rungs if earlier <= rung)
        return self.settings.name == "halving" and is_power(count, HALVING)

    def rivals(self, number: int, rung: int) -> list[Losses]:
        """Return the losses of other trials at a rung: for median, of those that finished."""
        others = self.finished if self.settings.name == "median" else self.curves.keys()
        points = (self.curves[other].losses(rung) for other in sorted(others) if other != number)
        return [point for point in points if point]


def is_power(count: int, base: int) -> bool:
    """Return True for 1, the base, its square and so on."""
    while count > 1 and count % base == 0:
        count //= base
    return count == 1
