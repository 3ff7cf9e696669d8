"""Moments of a command: its n-th change of a file, or a time after its start."""

import itertools
import os
import sys
import time
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.faults.commands import Running, changed_paths
from tests.faults.works import Work

OPERATIONS_OF = {"prepare": 60, "pretrain": 90, "evaluate": 60, "sweep": 120, "promote": 40, "export": 50}
"""Changes of files that a command makes, about."""


@dataclass(frozen=True)
class Moment:
    """Moment of a command: before its change of a file number `operation`, or after `seconds`."""

    operation: int = 0
    seconds: float = 0.0

    def arm(self, number: int) -> None:
        """Have this process, a command's, send itself the signal at its operation."""
        if not self.operation:
            return
        operations = itertools.count(1)  # of all threads

        def send(event: str, arguments: tuple[Any, ...]) -> None:
            if changed_paths(event, arguments) and next(operations) == self.operation:
                os.kill(os.getpid(), number)

        sys.addaudithook(send)

    def await_in(self, running: Running, number: int) -> None:
        """Send the signal to a command after its time."""
        if self.operation:
            return
        time.sleep(self.seconds)
        running.kill(number)  # not waited for yet: one that has ended is still there to take it


def draw_moment(work: Work, rng: Random) -> Moment:
    """Return a moment of a work: as often an operation as a time."""
    if rng.random() < 0.5:
        return Moment(operation=rng.randint(1, OPERATIONS_OF[work.name]))
    return Moment(seconds=rng.uniform(0, 1.5 * work.seconds))
