"""Read errors for a while: waited for, or told by the status; never taken for damage, nor for absence."""

import builtins
import errno
import io
import os
import time
from pathlib import Path
from typing import Any

from tests.faults.failing_calls import READING, check_failed_calls, draw_failures, watch_calls
from tests.faults.tries import TINY_RUN, Try, check_answer, check_trained_alike, draw_file
from tests.faults.works import EVALUATE, EXPORT, PREPARE, PRETRAIN, SWEEP, WORKS, Work, draw_work

NUMBERS = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENETDOWN)
RESUME = Work(
    ("pretrain", *TINY_RUN, "half"),
    (),
    lambda attempt: check_trained_alike(attempt, "half"),
    ("runs",),
    1.0,
    1,
)
READ: tuple[tuple[Work, str], ...] = (
    (RESUME, "data/demo/train/*"),
    (RESUME, "data/demo/heldout/*"),
    (RESUME, "runs/half/checkpoints/*"),
    (RESUME, "runs/half/*"),
    (PRETRAIN, "data/demo/*/*"),
    (PRETRAIN, "experiments/tiny.yaml"),
    (EVALUATE, "data/demo/**/*"),
    (EVALUATE, "runs/mine/checkpoints/*"),
    (EVALUATE, "runs/mine/*"),
    (SWEEP, "runs/small-*/**/*"),
    (SWEEP, "data/demo/*/*"),
    (PREPARE, "photos/*"),
)
"""Works, and the files whose reading fails."""

LISTS = {
    ("runs", "list"): ("whole", "half", "mine", "trial-0000", "trial-0001"),
    ("runs", "list", "--json"): ("whole", "half", "mine", "trial-0000", "trial-0001"),
    ("jobs",): ("mine", "trial-0000", "trial-0001"),
    ("datasets",): ("retrieval", "classification", "segmentation", "perception", "demo"),
    ("compare", "whole", "half"): ("whole", "half"),
    ("verify", "demo"): ("whole",),
    ("verify", "half"): ("whole",),
}
"""Commands that only read, and what their answers have."""


class FailingFile(io.FileIO):
    """File that is there, and whose bytes cannot be read for now."""

    number = errno.EIO

    def readinto(self, buffer: Any) -> int:
        raise OSError(self.number, os.strerror(self.number))

    def readall(self) -> bytes:
        raise OSError(self.number, os.strerror(self.number))

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(self.number, os.strerror(self.number))


def attempt(attempt: Try) -> None:
    """Give a command while a file, or names and states, cannot be read; then give it again."""
    attempt.rng.choice((fail_files, fail_files, fail_names, fail_lists))(attempt)


def fail_files(attempt: Try) -> None:
    """Give a command while a file cannot be read, for some openings or some time; then give it again."""
    work, pattern = attempt.rng.choice(READ)
    attempt.copy_world()
    work.begin(attempt)
    files = [path for path in attempt.place.glob(pattern) if path.is_file() and path.stat().st_size]
    path, number = draw_file(files, attempt.rng), attempt.rng.choice(NUMBERS)
    times, at_open = attempt.rng.choice([1, 1, 2, 3, 1000]), attempt.rng.random() < 0.4
    where = "opening" if at_open else "reading"
    attempt.tell(f"{errno.errorcode[number]} at {where} {path.relative_to(attempt.place)}, {times} times")
    ended = attempt.cosmos(
        *work.arguments, meddle=lambda: fail_reading(path, number, times, at_open), data_wait_minutes="0.05"
    )
    check_answer(ended, [path.name, path.name.split(".")[0] + ".tar"])
    assert ended.status in (0, 74), f"a failing disk may be mended: status 74\n{ended.describe()}"
    if ended.status == 0:
        work.check(attempt)
    work.finish(attempt)


def fail_names(attempt: Try) -> None:
    """Give a command while it cannot see some names, or what they are; then give it again."""
    work = draw_work(attempt, (*WORKS, EXPORT, RESUME))
    failures = draw_failures(attempt, READING, NUMBERS)
    ended = attempt.cosmos(
        *work.arguments, meddle=lambda: watch_calls(failures.meet), data_wait_minutes="0.05"
    )
    check_failed_calls(attempt, ended, failures)
    if ended.status == 0:
        work.check(attempt)
    work.finish(attempt)


def fail_lists(attempt: Try) -> None:
    """Give a command that lists while it cannot see some names, or what they are: nothing is left out."""
    attempt.copy_world()
    arguments, names = attempt.rng.choice(list(LISTS.items()))
    failures = draw_failures(attempt, READING, NUMBERS)
    ended = attempt.cosmos(*arguments, meddle=lambda: watch_calls(failures.meet))
    check_failed_calls(attempt, ended, failures)
    for answer in (ended, attempt.succeeds(*arguments)):
        missing = [name for name in names if answer.status == 0 and name not in answer.output]
        assert not missing, f"{missing} are left out\n{answer.describe()}"


def fail_reading(path: Path, number: int, times: int, at_open: bool) -> None:
    """Have this process fail to open, or to read, a file a number of times, for two seconds at most."""
    original, left, until = io.open, times, time.monotonic() + 2
    FailingFile.number = number

    def open_or_fail(file: Any, mode: str = "r", buffering: int = -1, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        is_read = isinstance(file, str | os.PathLike) and not set(mode) & set("wax+")
        if is_read and left and time.monotonic() < until and Path.cwd() / os.fsdecode(file) == path:
            left -= 1
            if at_open:
                raise OSError(number, os.strerror(number), os.fsdecode(file))
            raw = io.BufferedReader(FailingFile(file))
            return raw if "b" in mode else io.TextIOWrapper(raw)
        return original(file, mode, buffering, *arguments, **options)

    builtins.open = open_or_fail
    io.open = open_or_fail
