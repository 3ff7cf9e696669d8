"""Retries of trials whose jobs a disk, the network or the scheduler ended: a bounded number, ever later."""

import logging
import time
from collections import Counter

from cosmos.errors import CosmosError, PreemptedError

logger = logging.getLogger(__name__)

RETRY_SECONDS = (10.0, 30.0, 120.0, 300.0, 600.0)
"""Seconds before each retry of a trial; after the last one it waits until the sweep is started again."""


class TrialRetries:
    """Retries of the trials of a controller: at once of one that was preempted, so many times at most."""

    def __init__(self, max_preemptions: int) -> None:
        self.preempted = (0.0,) * max_preemptions
        self.counts = Counter[tuple[str, bool]]()
        self.due: dict[str, float] = {}

    def waits(self, name: str) -> bool:
        """Return True while a trial waits for a retry that was scheduled."""
        return name in self.due

    def schedule(self, name: str, reason: str, error: type[CosmosError]) -> bool:
        """Schedule a retry of a trial that `error` ended; return False where it had enough of them."""
        is_preempted = issubclass(error, PreemptedError)
        delays = self.preempted if is_preempted else RETRY_SECONDS
        count = self.counts[name, is_preempted]
        if count >= len(delays):
            return False
        logger.warning("%s: %s; submitted again in %g s", name, reason, delays[count])
        self.counts[name, is_preempted] += 1
        self.due[name] = time.monotonic() + delays[count]
        return True

    def take_due(self, name: str) -> bool:
        """Return True, once, when a scheduled retry of a trial is due."""
        if time.monotonic() < self.due[name]:
            return False
        del self.due[name]
        return True
