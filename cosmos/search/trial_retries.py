"""Retries of trials whose jobs a disk, the network or the scheduler ended: a bounded number, ever later."""

import logging
import time

from cosmos.errors import TransientError

logger = logging.getLogger(__name__)

RETRY_SECONDS = (10.0, 30.0, 120.0, 300.0, 600.0)
"""Seconds before each retry of a trial; after the last one the sweep stops, until it is started again."""


class TrialRetries:
    """Retries of the trials of a controller."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.due: dict[str, float] = {}

    def waits(self, name: str) -> bool:
        """Return True while a trial waits for a retry that was scheduled."""
        return name in self.due

    def schedule(self, name: str, reason: str) -> None:
        """Schedule a retry of a trial. Raises TransientError where it was tried often enough."""
        count = self.counts.get(name, 0)
        if count == len(RETRY_SECONDS):
            raise TransientError(
                f"{name}: {reason}\nit was tried again {count} times; it goes on from its save with the same "
                "command, and the jobs of other trials go on meanwhile"
            )
        logger.warning("%s: %s; submitted again in %g s", name, reason, RETRY_SECONDS[count])
        self.counts[name], self.due[name] = count + 1, time.monotonic() + RETRY_SECONDS[count]

    def take_due(self, name: str) -> bool:
        """Return True, once, when a scheduled retry of a trial is due."""
        if time.monotonic() < self.due[name]:
            return False
        del self.due[name]
        return True
