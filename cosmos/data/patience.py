"""Patience with a disk, a network or a shard that is away for a while: reads again, with growing pauses."""

import logging
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from cosmos.distributed.environment import exported_rank
from cosmos.distributed.whereabouts import moved
from cosmos.errors import CosmosError, TransientError

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 10.0
"""Pause before the first repetition, which doubles from one to the next, and the longest one."""

Content = TypeVar("Content")


def read_patiently(
    read: Callable[[], Content | CosmosError], failure: TransientError, minutes: float
) -> Content | CosmosError:
    """Read again after `failure`, for so many minutes; return what was read, or the error that remains.

    `failure` may be an old one, of a batch that was made ahead: nothing is said if it can be read at once.
    Pauses are in this thread: a handler of signals that raises ends them at once.
    """
    content = read()
    if not isinstance(content, TransientError):
        return content
    started, pause = time.monotonic(), FIRST_PAUSE_SECONDS
    place = f"rank {exported_rank()} on {socket.gethostname()}"
    logger.warning("%s waits for data, up to %g minutes: %s", place, minutes, failure)
    while (left := started + 60 * minutes - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        moved()
        pause = min(2 * pause, MAX_PAUSE_SECONDS)
        content = read()
        if not isinstance(content, TransientError):
            logger.warning("%s goes on after %.0f s", place, time.monotonic() - started)
            return content
        failure = content
    return TransientError(
        f"{failure}; {place} has waited {minutes:g} minutes for it (COSMOS_DATA_WAIT_MINUTES);"
        " when it can be read, the same command goes on"
    )


def wait_while_transient(read: Callable[[], Content], minutes: float) -> Content:
    """Return what `read` returns, called again for so many minutes while it raises TransientError.

    Raises what it raises otherwise, and TransientError when the wait is over.
    """

    def attempt() -> Content | TransientError:
        try:
            return read()
        except TransientError as error:
            return error

    content: Content | CosmosError = attempt()
    if isinstance(content, TransientError):
        content = read_patiently(attempt, content, minutes)
    if isinstance(content, CosmosError):
        raise content
    return content
