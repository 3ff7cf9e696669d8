"""Crash points: a call is killed before each of its file operations in turn, and its files are looked at."""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OPERATIONS = {
    "open": (0, 2),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "os.chmod": (0,),
}
"""Audit events of operations that change files, with the places of the paths among their arguments."""

READING = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
"""Flags of opened files that are only read."""

KILLED = 137
"""Exit status of a child that was killed at a crash point; of a shell, too, for SIGKILL."""


def killed_at_each_operation(call: Callable[[], object], folder: Path) -> Iterator[int]:
    """Run `call` in a child that is killed before its n-th change of a file below `folder`, for n = 1, 2, ...

    Yields n after each kill, for the caller to look at what is left and to go on from there; ends when a call
    came through all its operations. The caller puts the folder back before it asks for the next one. Fails
    where a call that was not killed ends in an error.
    """
    number = 1
    while (status := _status_of_child(call, folder, number)) == KILLED:
        yield number
        number += 1
    assert status == 0, f"the call that was not killed ended with {status}"
    assert number > 1, "the call changed no file: nothing was tested"


def _status_of_child(call: Callable[[], object], folder: Path, number: int) -> int:
    """Return the exit status of a child that makes the call, and is killed before its operation `number`."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            _kill_before_operation(number, os.path.realpath(folder))
            call()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_before_operation(number: int, folder: str) -> None:
    operations = itertools.count(1)  # of all threads: `next` is not interrupted by another

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if event in OPERATIONS and _changes(event, arguments, folder) and next(operations) == number:
            os._exit(KILLED)

    sys.addaudithook(count)


def _changes(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Return True for an operation on a path below `folder` that changes something there."""
    if event == "open":
        path, flags = arguments[0], arguments[2]
        return flags & ~READING != 0 and _is_below(path, folder)
    return any(_is_below(arguments[place], folder) for place in OPERATIONS[event])


def _is_below(path: object, folder: str) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False  # a file descriptor: its opening counted
    return str(Path.cwd() / os.fsdecode(path)).startswith(folder + os.sep)
