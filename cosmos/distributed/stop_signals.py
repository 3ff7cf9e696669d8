"""Signals that ask a process to stop, from its first moment on; imports little, to be there early."""

import os
import signal
from types import FrameType

from cosmos.errors import Interrupted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that ask to stop, besides Ctrl-C; schedulers send one of them before they take a job's nodes."""

_noted: list[int] = []


def heed_stop_signals() -> None:
    """Have Interrupted raised at once on a stop signal; training has handlers of its own, which save first.

    An ignored signal stays ignored. In a forked child a stop signal does what it does by default.
    """
    process = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        _noted.append(number)
        raise Interrupted(f"stopped by {signal.Signals(number).name}", number)

    for number in STOP_SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, interrupt)


def was_stopped() -> bool:
    """Return True once a stop signal came: a library may have made another error of Interrupted."""
    return bool(_noted)
