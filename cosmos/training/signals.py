"""Requests to stop: a signal is noted, and obeyed at the next step's boundary."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cosmos.distributed.stop_signals import STOP_SIGNALS
from cosmos.errors import Interrupted

SIGNALS = (*STOP_SIGNALS, signal.SIGINT)
"""Signals that ask a training to stop."""


class StopRequest:
    """The signal that has asked to stop, if any."""

    def __init__(self) -> None:
        self.signal = 0
        """number of the signal, of several the largest, as among ranks; 0: none"""
        self._message = ""

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, as its handler. Ctrl-C after another request interrupts at once."""
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = max(self.signal, number)
        message, self._message = self._message, ""  # a second signal must not interrupt what the first began
        if message:
            raise Interrupted(message, self.signal)

    @contextmanager
    def obeyed_at_once(self, message: str) -> Iterator[None]:
        """Raise Interrupted(message) at once for a signal before or in the block, where all is saved."""
        self._message = message
        try:
            if self.signal:
                raise Interrupted(message, self.signal)
            yield
        finally:
            self._message = ""


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Note stop signals and Ctrl-C for the duration of the block.

    An ignored signal stays ignored: a launcher may shield its job from the terminal's Ctrl-C.
    """
    request = StopRequest()
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    handlers = {number: signal.signal(number, request.note) for number in heeded}
    try:
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
