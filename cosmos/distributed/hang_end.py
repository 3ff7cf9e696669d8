"""End of a process whose thread cannot end it, as it waits inside of a library; imports no torch."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import NoReturn

from cosmos.errors import HangError

logger = logging.getLogger(__name__)

FAREWELL_SECONDS = 30.0
"""Seconds in which a process that ends tells why; a disk or a log that hangs must not keep it longer."""

SHOW_CURSOR = "\033[?25h"
"""Sequence that shows a terminal's cursor again, which a progress bar has hidden."""

_farewells: list[Callable[[HangError], None]] = []


@contextmanager
def at_hang(farewell: Callable[[HangError], None]) -> Iterator[None]:
    """Have `farewell` called, from another thread, before a hang in the block ends this process."""
    _farewells.append(farewell)
    try:
        yield
    finally:
        _farewells.remove(farewell)


def limit_end(seconds: float) -> None:
    """End this process after the time of its end, whatever that waits for then."""

    def end() -> NoReturn:
        Event().wait(seconds)
        os._exit(HangError.exit_status)

    Thread(target=end, name="end", daemon=True).start()


def tell_hang(error: HangError) -> None:
    """Log the error that ends this process, and do what its launcher wants done before that."""
    with suppress(Exception):
        logger.error("%s", error)
    for farewell in list(_farewells):
        with suppress(Exception):
            farewell(error)


def leave_process() -> NoReturn:
    """End this process from any thread, with the status of a hang."""
    with suppress(Exception):
        sys.stderr.write(SHOW_CURSOR if sys.stderr.isatty() else "")
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(HangError.exit_status)
