"""Retries of trials whose jobs a disk, the network or the scheduler ended: a bounded number, ever later."""

import logging
import time

logger = logging.getLogger(__name__)

RETRY_SECONDS = (10.0, 30.0, 120.0, 300.0, 600.0)
"""Seconds before each retry of a trial; after the last one it waits until the sweep is started again."""


class TrialRetries:
    """Retries of the trials of a controller."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.due: dict[str, float] = {}

    def waits(self, name: str) -> bool:
        """Return True while a trial waits for a retry that was scheduled."""
        return name in self.due

    def are_used_up(self, name: str) -> bool:
        """Return True when a trial was tried often enough."""
        return self.counts.get(name, 0) >= len(RETRY_SECONDS)

    def schedule(self, name: str, reason: str) -> None:
        """Schedule a retry of a trial."""
        count = self.counts.get(name, 0)
        logger.warning("%s: %s; submitted again in %g s", name, reason, RETRY_SECONDS[count])
        self.counts[name], self.due[name] = count + 1, time.monotonic() + RETRY_SECONDS[count]

    def take_due(self, name: str) -> bool:
        """Return True, once, when a scheduled retry of a trial is due."""
        if time.monotonic() < self.due[name]:
            return False
        del self.due[name]
        return True
