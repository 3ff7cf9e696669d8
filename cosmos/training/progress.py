"""Progress of a training: the steps that it plans, those that it has taken, and their time."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from cosmos.data.batch import Batch


@dataclass(frozen=True)
class StepPlan:
    """Number of optimisation steps of a run, in total and per epoch."""

    steps_per_epoch: int
    total_steps: int

    @classmethod
    def of(cls, steps_per_epoch: int, epochs: int) -> Self:
        """Return the plan of a run of `epochs`."""
        return cls(steps_per_epoch, steps_per_epoch * epochs)

    def ends_epoch(self, step: int) -> bool:
        """Return True when an epoch is complete after `step` steps."""
        return step % self.steps_per_epoch == 0

    def epoch(self, step: int) -> int:
        """Return the number of epochs that are complete after `step` steps."""
        return step // self.steps_per_epoch

    def is_evaluation_due(self, step: int, every_epochs: int) -> bool:
        """Return True when `step` ends an epoch after which models are evaluated; 0 epochs: never."""
        is_due = every_epochs > 0 and self.ends_epoch(step) and self.epoch(step) % every_epochs == 0
        return step > 0 and is_due


@dataclass
class Counters:
    """Running totals of a training; a resumed run adds to those of its checkpoint."""

    seconds: float = 0.0
    """spent in the loop so far"""
    replaced_samples: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0


@dataclass
class TrainingState:
    """Steps that a run has taken, and its running totals."""

    step: int = 0
    counters: Counters = field(default_factory=Counters)

    def count_step(self, num_replaced: int, is_finite: bool) -> None:
        """Count a step on `num_replaced` replaced samples; it was skipped unless its loss `is_finite`."""
        self.step += 1
        self.counters.replaced_samples += num_replaced
        self.counters.skipped_steps += not is_finite
        self.counters.skipped_in_a_row = 0 if is_finite else self.counters.skipped_in_a_row + 1


@dataclass(frozen=True)
class Lap:
    """Stretch of the training loop between two readings of its stopwatch."""

    seconds: float
    waited: float
    """seconds of these that were spent waiting for data"""
    num_batches: int


class Stopwatch:
    """Time in the loop, the part of it that waited for data, and batches, since the last reading."""

    def __init__(self) -> None:
        self.started, self.waited, self.num_batches = time.perf_counter(), 0.0, 0

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, and count the wait for each."""
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(iterator, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            self.num_batches += 1
            yield batch

    def restart(self) -> Lap:
        """Return the lap since the last reading, and start the next one."""
        now = time.perf_counter()
        lap = Lap(now - self.started, self.waited, self.num_batches)
        self.started, self.waited, self.num_batches = now, 0.0, 0
        return lap
