"""Controller of a local job: submitit's, which loses no request to stop, however early it comes.

`python -m cosmos.launch.local_controller FOLDER` is started with SIGTERM blocked, and so are its tasks: the
signal waits, in each process, until that can act on it.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from submitit.local.local import Controller

HELD = {signal.SIGTERM}
"""Signals that wait for a handler; they are the ones that end a process without one."""


@contextmanager
def holding_signals() -> Iterator[None]:
    """Have HELD signals wait until the end of the block, and for ever in processes that are started in it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_held_signals() -> None:
    """Have this process act on HELD signals, now that it has handlers for them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


class _HoldingController(Controller):
    """submitit's controller, which takes signals only while there are tasks to hand them to."""

    def wait(self, freq: int = 24) -> Sequence[int | None]:
        heed_held_signals()
        try:
            return super().wait(freq)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


if __name__ == "__main__":
    _HoldingController(Path(sys.argv[1])).run()
