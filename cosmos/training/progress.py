"""Progress of a training: the steps that it plans, those that it has taken, and their time."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from cosmos.data.shards.damage import SampleDamage


@dataclass(frozen=True)
class StepPlan:
    """Number of optimisation steps of a run, in total, per epoch and up to the end of a session."""

    steps_per_epoch: int
    total_steps: int
    """steps of the run, by which its schedules go"""
    last_step: int
    """step after which this session ends: the run's last, or that of a rung at which a trial is paused"""

    @classmethod
    def of(cls, steps_per_epoch: int, epochs: int, until: int = 0) -> Self:
        """Return the plan of a run of `epochs`, and of a session that ends after `until` of them; 0: all."""
        total = steps_per_epoch * epochs
        return cls(steps_per_epoch, total, min(total, steps_per_epoch * until) or total)

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
    """time in the loop, from the first request for data on, without evaluations and writing checkpoints"""
    device_seconds: float = 0.0
    """the same, each second times the processes that trained then"""
    replaced_samples: int = 0
    """times that another sample was read in place of a damaged one, summed over all ranks"""
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    damaged_samples: int = 0
    """damaged samples met so far, each counted once, whatever the number of epochs and ranks"""


@dataclass
class TrainingState:
    """Steps that a run has taken, and its running totals."""

    step: int = 0
    counters: Counters = field(default_factory=Counters)
    damaged: frozenset[int] = frozenset()
    """damaged samples met so far, by their numbers in the split"""

    def count_damage(self, damage: Iterable[SampleDamage]) -> None:
        """Count the damaged samples of a step."""
        self.damaged |= {item.index for item in damage}
        self.counters.damaged_samples = len(self.damaged)

    def count_step(self, num_replaced: int, is_finite: bool) -> None:
        """Count a step, on `num_replaced` replaced samples over all ranks; skipped unless it `is_finite`."""
        self.step += 1
        self.counters.replaced_samples += num_replaced
        self.counters.skipped_steps += not is_finite
        self.counters.skipped_in_a_row = 0 if is_finite else self.counters.skipped_in_a_row + 1


@dataclass
class Lap:
    """Stretch of the training loop between two lines of metrics, without what its stopwatch paused for."""

    seconds: float = 0.0
    waited: float = 0.0
    """seconds of these that were spent waiting for data"""
    num_batches: int = 0
    flops: int = 0
    """floating-point operations of this rank's parts of these"""


class Stopwatch:
    """Clock of a training loop, which adds each second once to the counters and to the lap."""

    def __init__(self, counters: Counters, num_ranks: int) -> None:
        self.counters, self.num_ranks = counters, num_ranks
        self.lap, self.read_at = Lap(), time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as a wait for data."""
        asked = time.perf_counter()
        try:
            yield
        finally:
            self.lap.waited += time.perf_counter() - asked

    def read(self) -> None:
        """Add the time since the last reading to the counters and to the lap."""
        now = time.perf_counter()
        passed, self.read_at = now - self.read_at, now
        self.counters.seconds += passed
        self.counters.device_seconds += passed * self.num_ranks
        self.lap.seconds += passed

    def restart(self) -> None:
        """Skip the time since the last reading."""
        self.read_at = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count the time so far, and none of that inside."""
        self.read()
        try:
            yield
        finally:
            self.restart()

    def finish_lap(self) -> Lap:
        """Return the lap up to now, and begin the next one."""
        self.read()
        lap, self.lap = self.lap, Lap()
        return lap
