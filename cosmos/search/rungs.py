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
from cosmos.search.objectives import intermediate_value

logger = logging.getLogger(__name__)

EVALUATION_SECONDS = 120.0
"""Seconds by which the evaluation at a rung may be seen after the end of its trial's job, on shared disks."""

RungPlace = tuple[float, int]
"""Key by which trials at a rung are sorted: a loss, and the trial's number among equal ones."""


class Rungs:
    """Standings of a sweep's trials at its rungs, and the next of them to go on."""

    def __init__(self, sweep: Sweep, records: Iterable[TrialRecord]) -> None:
        self.sweep = sweep
        self.records = dict[int, TrialRecord]()
        for record in records:
            self.update(record)

    def update(self, record: TrialRecord) -> None:
        """Take over the record of a trial as it is now; repetitions stand at no rung."""
        if not record.seed:
            self.records[record.number] = record

    @property
    def paused(self) -> list[TrialRecord]:
        """Trials that are paused: those at the furthest rung first, and of a rung the best first."""
        waiting = [record for record in self.records.values() if record.state == "paused"]
        return sorted(waiting, key=lambda r: (-r.epochs_reached, self.place(r, r.epochs_reached)))

    def place(self, record: TrialRecord, epochs: int) -> RungPlace:
        """Return the sort key of a trial at the rung after so many epochs, infinite without a value."""
        objective = self.sweep.file.objectives[0]
        values = (result.values.get(objective.figure) for result in record.rungs if result.epochs == epochs)
        value = next(values, None)
        if value is None:
            return math.inf, record.number
        return -value if objective.goal == "maximize" else value, record.number

    def next_promotion(self) -> TrialRecord | None:
        """Return the paused trial that goes on next; None where all of them must wait."""
        return next(filter(self.is_promotable, self.paused), None)

    def is_promotable(self, record: TrialRecord) -> bool:
        """Return True for a paused trial among the best of its rung, or whose rung the sweep has no more."""
        pruner, epochs = self.sweep.file.pruner, record.epochs_reached
        if epochs not in pruner.rungs:
            return True
        rivals = [other for other in self.records.values() if has_reached(other, epochs)]
        num_kept = int(pruner.keep * len(rivals) + 1e-9)  # 0.1 of 30 is 3
        place = self.place(record, epochs)
        num_ahead = sum(self.place(other, epochs) < place for other in rivals)
        return num_ahead < num_kept and math.isfinite(place[0])

    def final_promotion(self, num_running: int) -> TrialRecord | None:
        """Return the paused trial to go on where no other trial may begin; None where enough of them finish.

        As many train to their end as are to be repeated, and at least one: those that came furthest.
        """
        num_finished = sum(record.state == "finished" for record in self.records.values())
        if num_finished + num_running >= max(1, self.sweep.file.repeats.best):
            return None
        return next((r for r in self.paused if math.isfinite(self.place(r, r.epochs_reached)[0])), None)


def has_reached(record: TrialRecord, epochs: int) -> bool:
    """Return True for a trial that has paused after so many epochs, and has not failed since."""
    return record.state != "failed" and any(result.epochs == epochs for result in record.rungs)


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
