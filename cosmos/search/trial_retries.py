"""Retries of trials whose jobs a disk, the network or the scheduler ended: a bounded number, ever later."""

import logging
import time
from collections import Counter

from cosmos.errors import PreemptedError
from cosmos.search.trial_jobs import TrialJobState

logger = logging.getLogger(__name__)

RETRY_SECONDS = (10.0, 30.0, 120.0, 300.0, 600.0)
"""Seconds before each retry of a trial; after the last one it waits until the sweep is started again."""


class TrialRetries:
    """Retries of a controller's trials: at once of one that was preempted, as often as its job allows."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.due: dict[str, float] = {}

    def waits(self, name: str) -> bool:
        """Return True while a trial waits for a retry that was scheduled."""
        return name in self.due

    def schedule(self, name: str, state: TrialJobState) -> bool:
        """Schedule a retry of a trial that died; return False where it had enough, or none is of use."""
        is_preempted = issubclass(state.error, PreemptedError)
        delays = (0.0,) * state.requeues_left if is_preempted else RETRY_SECONDS[self.counts[name] :]
        if not delays or state.is_forbidden:  # which a person mends
            return False
        logger.warning("%s: %s; submitted again in %g s", name, state.reason, delays[0])
        self.counts[name] += not is_preempted
        self.due[name] = time.monotonic() + delays[0]
        return True

    def take_due(self, name: str) -> bool:
        """Return True, once, when a scheduled retry of a trial is due."""
        if time.monotonic() < self.due[name]:
            return False
        del self.due[name]
        return True
