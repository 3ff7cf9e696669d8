"""Write errors: a file cannot be written from some moment on; the message names it, and nothing is lost."""

import builtins
import errno
import io
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cosmos.search import trial_retries
from tests.faults.failing_calls import WRITING, check_failed_calls, draw_failures, watch_calls
from tests.faults.tries import Try, check_answer
from tests.faults.works import EVALUATE, EXPORT, PREPARE, PRETRAIN, RUNGS, SWEEP, WORKS, Work, draw_work

NUMBERS = (errno.ENOSPC, errno.ENOSPC, errno.EDQUOT, errno.EIO)
WRITTEN: dict[Work, tuple[str, ...]] = {
    PRETRAIN: (
        *("metrics.jsonl", "metrics.jsonl", "step-00000006.pt", "step-00000009.pt", "log.txt"),
        *("params.yaml", "provenance.json", "writer.json", "data.json"),
    ),
    EVALUATE: ("retrieval.json", "perception.json", "segmentation.md", "log.txt", ".npz"),
    PREPARE: ("shard-00001.tar", "shard-00000.idx.npz", "params.json", "manifest.json", "preview.png"),
    SWEEP: ("trial.json", "labels.json", "study.journal", "best.json", "metrics.jsonl", "step-00000012.pt"),
}
"""Works, and parts of the names of files that they write."""


class FullFile(io.FileIO):
    """File that is opened, and takes no byte."""

    number = errno.ENOSPC

    def write(self, content: Any) -> int:
        raise OSError(self.number, os.strerror(self.number))


def attempt(attempt: Try) -> None:
    """Give a command that cannot write a file, or change names and states; then give it again."""
    attempt.rng.choice((fail_files, fail_names))(attempt)


def fail_names(attempt: Try) -> None:
    """Give a command that cannot make, rename, sync, lock or remove some files; then give it again."""
    work = draw_work(attempt, (*WORKS, EXPORT, RUNGS))
    failures = draw_failures(attempt, WRITING, (*NUMBERS, errno.ESTALE, errno.EROFS))

    def meddle() -> None:
        wait_briefly()
        watch_calls(failures.meet)

    ended = attempt.cosmos(*work.arguments, meddle=meddle, data_wait_minutes="0.05")
    check_failed_calls(attempt, ended, failures)
    work.finish(attempt)


def wait_briefly() -> None:
    """Have this process wait for a moment before it tries a trial again."""
    patch.object(trial_retries, "RETRY_SECONDS", (0.1, 0.1)).start()


def fail_files(attempt: Try) -> None:
    """Give a command that cannot write a file from its n-th opening on; then give it again."""
    work = attempt.rng.choice(list(WRITTEN))
    name, number = attempt.rng.choice(WRITTEN[work]), attempt.rng.choice(NUMBERS)
    first, times = attempt.rng.choice([1, 1, 2, 5]), attempt.rng.choice([1, 1000])
    attempt.copy_world()
    work.begin(attempt)
    attempt.tell(f"{errno.errorcode[number]} as {name} is written, {times} times from opening {first} on")
    ended = attempt.cosmos(
        *work.arguments, meddle=lambda: fail_writing(name, number, first, times), data_wait_minutes="0.05"
    )
    attempt.tell(f"{work.name} ended in {ended.status}")
    check_answer(ended, [name])
    assert ended.status in (0, 74), f"a full disk may be mended: status 74\n{ended.describe()}"
    work.finish(attempt)


def fail_writing(name: str, number: int, first: int, times: int) -> None:
    """Have this process fail to write files with a part of a name, from an opening on, a number of times."""
    original, openings = io.open, 0
    wait_briefly()
    FullFile.number = number

    def open_or_fail(file: Any, mode: str = "r", buffering: int = -1, *arguments: Any, **options: Any) -> Any:
        nonlocal openings
        if (
            not isinstance(file, str | os.PathLike)
            or name not in Path(file).name
            or not set(mode) & set("wxa")
        ):
            return original(file, mode, buffering, *arguments, **options)
        openings += 1
        if not first <= openings < first + times:
            return original(file, mode, buffering, *arguments, **options)
        raw = io.BufferedWriter(FullFile(file, mode.replace("b", "").replace("t", "")))
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding="utf-8")

    builtins.open = open_or_fail
    io.open = open_or_fail
