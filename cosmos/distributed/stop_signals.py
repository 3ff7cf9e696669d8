"""Signals that ask a process to stop, from its first moment on; imports little, to be there early."""

import os
import signal
import sys
from types import FrameType

from cosmos.errors import Interrupted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""Signals that ask to stop, besides Ctrl-C; schedulers send one of the first before they take a job's nodes,
and a terminal that is closed sends the last."""

CONTINUING = frozenset({"prepare", "pretrain", "evaluate", "sweep"})
"""Commands that go on where they were stopped, given again."""

_noted: list[int] = []


class CtrlC(KeyboardInterrupt):
    """Ctrl-C. Python ends a process by SIGINT, whatever status it asks for, after some of its own class."""


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
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, raise_ctrl_c)


def raise_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Raise CtrlC, as the handler of SIGINT."""
    raise CtrlC


def was_stopped() -> bool:
    """Return True once a stop signal came: a library may have made another error of Interrupted."""
    return bool(_noted)


def ctrl_c_outcome() -> tuple[str, int]:
    """Return the message and the exit status of the command after Ctrl-C; "" where it does not go on."""
    if CONTINUING.intersection(sys.argv[1:2]):
        return "stopped by Ctrl-C; the same command continues", Interrupted.exit_status
    return "", 128 + signal.SIGINT
