"""Failures of a sweep's trials, which decide whether it is of use to begin further ones."""

import logging

from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    InputError,
    OutOfMemoryError,
    TransientError,
)

logger = logging.getLogger(__name__)

MIN_FAILURES_TO_STOP = 3
"""Failed trials after which a sweep stops: most of all, or in a row by a cause that they share."""

FAILURE_REMEDY = "once the cause is mended, the same command goes on with others in their place"


class TrialFailures:
    """Failures that a controller has met, and the trials that it leaves to the next one."""

    def __init__(self) -> None:
        self.in_a_row: list[type[CosmosError]] = []
        self.num_trained = self.num_failed = 0
        self.parked: dict[str, str] = {}
        """reasons by the name of the trial that waits for the next controller"""

    def count_success(self) -> None:
        """Count a trial that ended without a failure, or trained as far as it was to."""
        self.in_a_row.clear()
        self.num_trained += 1

    def count_failure(self, reason: str, error: type[CosmosError]) -> None:
        """Count a trial that failed for good. Raises the errors of `check`."""
        self.in_a_row.append(error)
        self.num_trained += 1
        self.num_failed += 1
        self.check(reason)

    def check(self, reason: str) -> None:
        """Raise an error where it would be no use to begin further trials.

        InputError where the last few trials all failed by what is no parameter of theirs: a file that is
        missing or damaged. CosmosError where most trials of this controller failed.
        """
        newest = self.in_a_row[-MIN_FAILURES_TO_STOP:]
        if len(newest) == MIN_FAILURES_TO_STOP and all(map(is_common_cause, newest)):
            message = f"the last {len(newest)} trials failed, the last one so: {reason}\n{FAILURE_REMEDY}"
            raise InputError(message)
        if self.num_failed >= MIN_FAILURES_TO_STOP and 2 * self.num_failed > self.num_trained:
            counts = f"{self.num_failed} of {self.num_trained} trials failed"
            raise CosmosError(f"{counts}, the last one so: {reason}\n{FAILURE_REMEDY}")

    def park(self, name: str, reason: str) -> None:
        """Leave a trial to the next controller. Raises TransientError where that happens to all."""
        logger.warning("%s: %s; it waits until this command is given again", name, reason)
        self.parked[name] = reason
        self.in_a_row.append(TransientError)
        newest = self.in_a_row[-MIN_FAILURES_TO_STOP:]
        if newest == [TransientError] * MIN_FAILURES_TO_STOP:
            self.check_parked(MIN_FAILURES_TO_STOP)

    def check_parked(self, limit: int) -> None:
        """Raise TransientError where at least `limit` trials wait for the next controller."""
        if len(self.parked) >= limit:
            name, reason = list(self.parked.items())[-1]
            raise TransientError(
                f"{name}: {reason}\ntrials that wait until this is mended: {', '.join(self.parked)}; the "
                "same command goes on from what is saved, and jobs of other trials go on meanwhile"
            )


def is_common_cause(error: type[CosmosError]) -> bool:
    """Return True for an error of what trials share, rather than of the values that one of them tries."""
    return issubclass(error, (InputError, DamagedDataError)) and not issubclass(error, OutOfMemoryError)
