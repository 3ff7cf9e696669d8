"""Progress of a training: the steps that it has taken, and their time."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cosmos.config.number_text import count_of, format_duration, format_number
from cosmos.config.training_parts import TrainingPart
from cosmos.data.shards.damage import SampleDamage
from cosmos.training.step_parts import StepParts

MEASURED_STEPS, MEASURED_SECONDS, FEWEST_STEPS = 20, 30.0, 3
"""Steps, without a session's first one, by which the time that is left is estimated; or seconds, of a few."""


class PaceEstimate:
    """Estimate of the time that a session takes, from its first steps, but for the very first one."""

    def __init__(self) -> None:
        self.seconds_per_step = 0.0
        """0 until enough steps have ended"""
        self._ends: list[float] = []

    @property
    def is_known(self) -> bool:
        """True once enough steps have ended."""
        return self.seconds_per_step > 0

    def add_step(self, seconds: float) -> None:
        """Take in a step that ended after so many seconds of training."""
        self._ends.append(seconds)
        number, passed = len(self._ends) - 1, seconds - self._ends[0]
        if number >= MEASURED_STEPS or (number >= FEWEST_STEPS and passed >= MEASURED_SECONDS):
            self.seconds_per_step = passed / number

    def describe(self, num_steps: int) -> str:
        """Return a line on the time that a number of further steps takes."""
        time_left = format_duration(num_steps * self.seconds_per_step)
        pace = format_number(self.seconds_per_step)
        return f"about {time_left} left: {count_of(num_steps, 'step')} at {pace} s each, without evaluations"


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
    num_batches: int = 0
    flops: int = 0
    """floating-point operations of this rank's parts of these"""


class Stopwatch:
    """Clock of a training loop, which adds each second once to the counters and to the lap."""

    def __init__(self, counters: Counters, num_ranks: int, parts: StepParts) -> None:
        self.counters, self.num_ranks, self.parts = counters, num_ranks, parts
        self.lap, self.read_at = Lap(), time.perf_counter()
        self.pace = PaceEstimate()

    def measure_pace(self) -> bool:
        """Count a step that has ended towards the pace; return True for the one that makes it known."""
        if self.pace.is_known:
            return False
        self.read()
        self.pace.add_step(self.counters.seconds)
        return self.pace.is_known

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
    def paused(self, part: TrainingPart) -> Iterator[None]:
        """Count the time so far, and that inside as one of OUTSIDE_PARTS alone."""
        self.read()
        try:
            with self.parts.timed(part):
                yield
        finally:
            self.restart()

    def finish_lap(self) -> Lap:
        """Return the lap up to now, and begin the next one."""
        self.read()
        lap, self.lap = self.lap, Lap()
        return lap
