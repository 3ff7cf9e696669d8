"""Children of the campaign: forked processes, which end by themselves and never go on in its place."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

STOPPING = {signal.SIGINT, signal.SIGTERM}
"""Signals that ask the campaign to stop; a child ends by them, without a word."""


def fork_child(call: Callable[[], int]) -> int:
    """Return the id of a child that makes a call, and exits with its value; with 1 after an exception.

    Signals wait until the child has its own handlers: none makes it go on as the campaign.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child
    try:
        for number in STOPPING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _exit_with(call)
    finally:  # a signal came as it ended
        os._exit(1)


def _exit_with(call: Callable[[], int]) -> NoReturn:
    """Make a call, and end the process with its value; with 1 after an exception, which is printed."""
    status = 1
    try:
        status = call()
    except BaseException:
        traceback.print_exc()
    with suppress(OSError, ValueError):  # of an output that is closed, or cannot be written
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def processes_below(place: Path) -> list[int]:
    """Return the ids of the processes, but for this one, that work in a folder."""
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                folder = (entry / "cwd").readlink()
            except OSError:  # it has ended, or is another user's
                continue
            if folder == place or place in folder.parents:
                processes.append(int(entry.name))
    return processes


def end_processes_below(place: Path) -> None:
    """Kill the processes that work in a folder: jobs that a try left."""
    for process in processes_below(place):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
