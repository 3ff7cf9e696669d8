"""Parts of a training's steps on a rank, and the clock that counts the time that it spends in each.

A rank turns from part to part, and each turn takes a stamp: on a CPU the time, on a GPU an event in the
stream of its kernels, which the host does not wait for. The time between two stamps of a GPU is that of its
stream: a wait for data that its kernels hide takes none, and the parts add up to the time of the steps there,
too. Events are read once the GPU has passed them.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from cosmos.config.training_parts import PART_TITLES, TrainingPart
from cosmos.distributed.whereabouts import at_step, doing
from cosmos.training.part_times import PartTimes


class Stamps(Protocol):
    """Clock whose stamps may be read later than they are taken."""

    def take(self) -> Any:
        """Return a stamp of now."""

    def is_reached(self, stamp: Any) -> bool:
        """Return True when a stamp can be read without waiting."""

    def seconds_between(self, earlier: Any, later: Any) -> float:
        """Return the seconds between two stamps that are reached."""

    def reuse(self, stamp: Any) -> None:
        """Take back a stamp that is not needed any more."""


class HostStamps:
    """Clock of the process."""

    def take(self) -> float:
        """Return the time."""
        return time.perf_counter()

    def is_reached(self, stamp: float) -> bool:
        """Return True: a time can be read at once."""
        return True

    def seconds_between(self, earlier: float, later: float) -> float:
        """Return the difference of two times."""
        return later - earlier

    def reuse(self, stamp: float) -> None:
        """Do nothing."""


class DeviceStamps:
    """Clock of a GPU: events in its current stream."""

    def __init__(self) -> None:
        self._free: list[torch.cuda.Event] = []

    def take(self) -> torch.cuda.Event:
        """Return an event that the GPU reaches after all that it was given so far."""
        event = self._free.pop() if self._free else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def is_reached(self, stamp: torch.cuda.Event) -> bool:
        """Return True when the GPU has passed the event."""
        is_passed: bool = stamp.query()  # type: ignore[no-untyped-call]
        return is_passed

    def seconds_between(self, earlier: torch.cuda.Event, later: torch.cuda.Event) -> float:
        """Return the GPU's time between two events, which its clock counts in half microseconds."""
        milliseconds: float = earlier.elapsed_time(later)
        return milliseconds / 1000

    def reuse(self, stamp: torch.cuda.Event) -> None:
        """Keep the event for another stamp."""
        self._free.append(stamp)


def stamps_of(device: torch.device) -> Stamps:
    """Return the clock of a device; that of the process where a GPU is only traced, and not there."""
    return DeviceStamps() if device.type == "cuda" and torch.cuda.is_available() else HostStamps()


@dataclass(frozen=True)
class _Turn:
    """End of a stretch of time in a part."""

    part: TrainingPart
    stamp: Any
    ends_step: int = 0
    """step that ends with it; 0: none"""


class StepParts:
    """Clock of a rank's training, which its process turns from part to part."""

    def __init__(self, stamps: Stamps) -> None:
        self.stamps, self.times = stamps, PartTimes()
        self._gradients: Any = None
        """stamp of the last gradient of a backward pass under way"""
        self.step = 1
        """step under way"""
        self._turns: deque[_Turn] = deque()
        self._part: TrainingPart = "rest"
        self._read_to = stamps.take()

    def restart(self, steps: int) -> None:
        """Begin after so many steps, without the time until now."""
        self.step = steps + 1
        at_step(self.step)
        self._turns.clear()
        self._read_to = self.stamps.take()

    @contextmanager
    def timed(self, part: TrainingPart) -> Iterator[None]:
        """Count the time inside as that of a part, but for that of other parts in it."""
        outer = self._part
        self._turn_to(part)
        try:
            with doing(PART_TITLES[part]):
                yield
        finally:
            self._turn_to(outer)

    @contextmanager
    def timed_backward(self) -> Iterator[None]:
        """Count the time inside as that of the backward pass and, after `note_gradient`, of the exchange."""
        with self.timed("backward"):
            yield
            if self._gradients is not None:
                self._turns.append(_Turn("backward", self._gradients))
                self._gradients, self._part = None, "gradients"

    def note_gradient(self) -> None:
        """Note a gradient after which, if it is the last one, ranks only wait for others' gradients."""
        if self._gradients is not None:
            self.stamps.reuse(self._gradients)
        self._gradients = self.stamps.take()

    def end_step(self) -> None:
        """End the step under way."""
        self._turns.append(_Turn(self._part, self.stamps.take(), ends_step=self.step))
        self.step += 1
        at_step(self.step)
        self.read()

    def read(self) -> None:
        """Add the time up to the newest stamp that is reached to the times of its parts."""
        while self._turns and self.stamps.is_reached(self._turns[0].stamp):
            turn = self._turns.popleft()
            self.times.add(turn.part, self.stamps.seconds_between(self._read_to, turn.stamp))
            if turn.ends_step:
                self.times.end_step(turn.ends_step)
            self.stamps.reuse(self._read_to)
            self._read_to = turn.stamp

    def _turn_to(self, part: TrainingPart) -> None:
        self._turns.append(_Turn(self._part, self.stamps.take()))
        self._part = part
