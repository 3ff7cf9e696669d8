"""Times of a rank by part: sums since the line of metrics before, and those of the newest steps."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cosmos.config.training_parts import STEP_PARTS, TRAINING_PARTS, TrainingPart

NEWEST_STEPS = 512
"""Number of steps of which a rank keeps the times."""

QUANTILES = (50, 95)
"""Percentiles of a part's times in the newest steps."""


@dataclass(frozen=True)
class SlowStep:
    """Slowest step of a stretch on a rank, and the part that took most of it."""

    step: int = 0
    """0: no step has ended"""
    seconds: float = 0.0
    part: TrainingPart = "rest"
    part_seconds: float = 0.0

    @classmethod
    def of(cls, step: int, times: Sequence[float]) -> Self:
        """Return a step with its times by part, in the order of TRAINING_PARTS."""
        by_part = dict(zip(TRAINING_PARTS, times, strict=True))
        part = max(STEP_PARTS, key=lambda name: by_part[name])
        return cls(step, sum(by_part[name] for name in STEP_PARTS), part, by_part[part])


@dataclass(frozen=True)
class RankTimes:
    """Times of a rank in the stretch since the line of metrics before; lists by part, as TRAINING_PARTS."""

    sums: Sequence[float]
    medians: Sequence[float]
    """medians of the newest steps"""
    p95s: Sequence[float]
    """95th percentiles of these"""
    slowest: SlowStep

    def as_row(self) -> list[float]:
        """Return the times as numbers, which ranks exchange."""
        slow = self.slowest
        place = TRAINING_PARTS.index(slow.part)
        return [*self.sums, *self.medians, *self.p95s, slow.step, slow.seconds, place, slow.part_seconds]

    @classmethod
    def of_row(cls, row: Sequence[float]) -> Self:
        """Return the times that `as_row` gave these numbers."""
        size = len(TRAINING_PARTS)
        step, seconds, place, part_seconds = row[3 * size :]
        slowest = SlowStep(int(step), seconds, TRAINING_PARTS[int(place)], part_seconds)
        return cls(row[:size], row[size : 2 * size], row[2 * size : 3 * size], slowest)


class PartTimes:
    """Times of a rank by part, which grow by no more than NEWEST_STEPS."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(TRAINING_PARTS, 0.0)
        self._step = dict(self._sums)
        self._newest: deque[list[float]] = deque(maxlen=NEWEST_STEPS)
        self._slowest = SlowStep()

    def add(self, part: TrainingPart, seconds: float) -> None:
        """Add time in a part."""
        self._sums[part] += seconds
        self._step[part] += seconds

    def end_step(self, step: int) -> None:
        """End a step: the time since the end of the one before is its own."""
        times = list(self._step.values())
        self._step = dict.fromkeys(TRAINING_PARTS, 0.0)
        self._newest.append(times)
        self._slowest = max(self._slowest, SlowStep.of(step, times), key=lambda slow: slow.seconds)

    def newest_steps(self) -> list[dict[TrainingPart, float]]:
        """Return the times of the newest steps by part, the oldest first."""
        return [dict(zip(TRAINING_PARTS, times, strict=True)) for times in self._newest]

    def finish_stretch(self) -> RankTimes:
        """Return the times of the stretch up to now, and begin the next one."""
        steps = np.array(list(self._newest) or [[0.0] * len(TRAINING_PARTS)])
        medians, p95s = np.percentile(steps, QUANTILES, axis=0).tolist()
        times = RankTimes(list(self._sums.values()), medians, p95s, self._slowest)
        self._sums, self._slowest = dict.fromkeys(TRAINING_PARTS, 0.0), SlowStep()
        return times
