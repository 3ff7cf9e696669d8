"""Rungs of a sweep: the epochs after which its trials pause, and from which the best of them go on.

This is asynchronous successive halving (https://arxiv.org/abs/1810.05934) by trials that wait, and do not
end: a paused trial goes on from its checkpoint once enough others have come to its rung, and done worse.
"""

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cosmos.config.sweep import Objective, Sweep
from cosmos.run.directory import RunDir
from cosmos.run.metrics import read_metrics
from cosmos.run.sweep_directory import RungResult, TrialRecord
from cosmos.search.dominance import order_by_dominance
from cosmos.search.objectives import intermediate_value

logger = logging.getLogger(__name__)

EVALUATION_SECONDS = 120.0
"""Seconds by which the evaluation at a rung may be seen after the end of its trial's job, on shared disks."""


class Rungs:
    """Standings of a sweep's trials at its rungs, and the next of them to go on."""

    def __init__(self, sweep: Sweep, records: Iterable[TrialRecord]) -> None:
        self.sweep = sweep
        self.records = dict[int, TrialRecord]()
        self._places = dict[int, dict[int, int]]()
        """places by rung, until a record changes: they are asked for at each poll, of each paused trial"""
        for record in records:
            self.update(record)

    def update(self, record: TrialRecord) -> None:
        """Take over the record of a trial as it is now; repetitions stand at no rung."""
        if not record.seed:
            self.records[record.number] = record
            self._places.clear()

    @property
    def paused(self) -> list[TrialRecord]:
        """Trials that are paused: those at the furthest rung first, and of a rung the best first."""
        waiting = [record for record in self.records.values() if record.state == "paused"]
        places = {epochs: self.places(epochs) for epochs in {record.epochs_reached for record in waiting}}
        return sorted(waiting, key=lambda r: (-r.epochs_reached, places[r.epochs_reached].get(r.number, -1)))

    def places(self, epochs: int) -> dict[int, int]:
        """Return the place of each trial at the rung after so many epochs, from 0 on, by number.

        Trials are in order of dominance; equal ones in that of their numbers.
        """
        if epochs not in self._places:
            rivals = [record for _, record in sorted(self.records.items()) if has_reached(record, epochs)]
            order = order_by_dominance([self.losses(record, epochs) for record in rivals])
            self._places[epochs] = {rivals[index].number: place for place, index in enumerate(order)}
        return self._places[epochs]

    def losses(self, record: TrialRecord, epochs: int) -> list[float]:
        """Return the objectives of a trial at a rung, of each of which less is better; NaN for no value."""
        values = next((result.values for result in record.rungs if result.epochs == epochs), {})
        return [loss_of(objective, values) for objective in self.sweep.file.objectives]

    def has_value(self, record: TrialRecord) -> bool:
        """Return True for a trial with a finite value of the first objective at its rung."""
        return math.isfinite(self.losses(record, record.epochs_reached)[0])

    def next_promotion(self) -> TrialRecord | None:
        """Return the paused trial that goes on next; None where all of them must wait."""
        return next(filter(self.is_promotable, self.paused), None)

    def is_promotable(self, record: TrialRecord) -> bool:
        """Return True for a paused trial among the best of its rung, or whose rung the sweep has no more."""
        pruner, epochs = self.sweep.file.pruner, record.epochs_reached
        if epochs not in pruner.rungs:
            return True
        places = self.places(epochs)
        num_kept = int(pruner.keep * len(places) + 1e-9)  # 0.1 of 30 is 3
        return places[record.number] < num_kept and self.has_value(record)

    def final_promotion(self, num_running: int) -> TrialRecord | None:
        """Return the paused trial to go on where no other trial may begin; None where enough of them finish.

        As many train to their end within the constraints as are to be repeated, and at least one: those that
        came furthest first.
        """
        finished = [record for record in self.records.values() if record.state == "finished"]
        num_eligible = sum(not record.breaches for record in finished)
        if num_eligible + num_running >= max(1, self.sweep.file.repeats.best):
            return None
        return next(filter(self.has_value, self.paused), None)


def has_reached(record: TrialRecord, epochs: int) -> bool:
    """Return True for a trial that has paused after so many epochs, and may win as far as is known."""
    may_win = record.state != "failed" and not record.breaches
    return may_win and any(result.epochs == epochs for result in record.rungs)


def loss_of(objective: Objective, values: Mapping[str, float | None]) -> float:
    """Return an objective among values, of which less is better; NaN where it has none."""
    value = values.get(objective.figure)
    return math.nan if value is None else objective.loss(value)


class RungReader:
    """Reader of the objectives of trials at rungs, which waits for evaluations beside the training."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.deadlines = dict[str, float]()
        """by name of the trial whose evaluation is waited for: the end of the wait, by the monotonic clock"""

    def read(self, record: TrialRecord, run: RunDir) -> RungResult | None:
        """Return the result of a trial whose job has ended at a rung; None while it is waited for."""
        lines = read_metrics(run.metrics)
        measured = {
            objective.figure: values_up_to(objective, lines, record.until)
            for objective in self.sweep.file.objectives
        }
        missing = [figure for figure, values in measured.items() if not values]
        if missing and self.waits(record, missing[0]):
            return None
        self.deadlines.pop(record.name, None)
        total = self.sweep.params(record.asked, 0).pretrain.epochs
        latest = {figure: values[-1] if values else None for figure, values in measured.items()}
        return RungResult(record.until, total, latest)

    def waits(self, record: TrialRecord, figure: str) -> bool:
        """Return True while a figure that is missing at a rung may still come; log that once, and the end."""
        place = f"{record.name}: {figure} at epoch {record.until}"
        if record.name not in self.deadlines:
            wait = EVALUATION_SECONDS if "/" in figure else 0.0  # lines of training come before its end
            self.deadlines[record.name] = time.monotonic() + wait
            if wait:
                logger.info("%s: not measured yet; waited for, %g s at most", place, wait)
        if time.monotonic() < self.deadlines[record.name]:
            return True
        logger.warning("%s: not measured; the trial falls behind all others there", place)
        return False


def values_up_to(objective: Objective, lines: Sequence[Mapping[str, Any]], epochs: int) -> list[float | None]:
    """Return the values of an objective in lines of metrics.jsonl up to a rung, in order.

    Of suites, those that were measured right there. None stands for a value of training that is not finite.
    """
    if not objective.suite:
        earlier = (line for line in lines if (line.get("epoch") or 0) <= epochs)
        return [line[objective.figure] for line in earlier if objective.figure in line]
    reports = (intermediate_value(objective, line) for line in lines if line.get("epoch") == epochs)
    return [report[1] for report in reports if report]
