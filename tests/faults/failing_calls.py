"""Failing calls: calls of the operating system on names and states that end in an error for a while."""

import errno
import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import local
from typing import Any

from cosmos.run.abandoned_files import TEMPORARY
from tests.faults.commands import Ended
from tests.faults.tries import Try, check_answer, role

READING: Mapping[str, tuple[int, ...]] = dict.fromkeys(
    ("stat", "lstat", "fstat", "listdir", "scandir", "entries", "open", "pread"), (0,)
)
"""Calls that read names, states and shards, with the places of paths and descriptors among their arguments.

`entries` is the reading of a folder in its middle; `open` and `pread` are those of descriptors.
"""

WRITING: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("open", "write", "pwrite", "fsync", "truncate", "ftruncate", "flock"), (0,)),
    **dict.fromkeys(("mkdir", "rmdir", "unlink", "remove", "utime", "chmod"), (0,)),
    **dict.fromkeys(("rename", "replace", "link"), (0, 1)),
    "symlink": (1,),
}
"""Calls that change files, names and states; those that open and write are of descriptors."""

Meet = Callable[[str, list[str], list[Any]], None]
"""Function that is called before a call: with its name, its absolute paths, and the names in its errors."""


@dataclass
class Failures:
    """Errors that calls on some roles of paths below a folder meet: from a call on, some times."""

    calls: Mapping[str, tuple[int, ...]]
    folder: Path
    report: Path
    """file that gets the calls that failed, a line each"""
    draw: str
    """text that decides, with a call and a role, whether it fails"""
    share: float
    """share of the roles that fail"""
    number: int
    """number of the error"""
    first: int
    times: int
    _met: Counter[tuple[str, str]] = field(default_factory=Counter)
    _until: dict[tuple[str, str], float] = field(default_factory=dict)
    _reporting: local = field(default_factory=local)
    """threads that write the report, whose own calls do not fail"""

    def meet(self, call: str, paths: list[str], names: list[Any]) -> None:
        """Raise the error, where it is this call's turn."""
        ours = [path for path in paths if path.startswith(f"{self.folder}/")]
        if call not in self.calls or not ours or vars(self._reporting):
            return
        if not self._is_turn(call, self._role(ours[-1])):
            return
        self._reporting.call = call
        with self.report.open("a") as report:
            report.write(f"{call} {ours[-1]}\n")
        del self._reporting.call
        raise OSError(self.number, os.strerror(self.number), *names)

    def _role(self, path: str) -> str:
        """Return a path without its numbers and hashes; all files of a copy of the code are one."""
        before, code, _ = path.removeprefix(str(self.folder)).partition("/code/")
        return f"{role(Path(before))}{code}"

    def _is_turn(self, call: str, path: str) -> bool:
        if Random(f"{self.draw} {call} {path}").random() >= self.share:
            return False
        self._met[call, path] += 1
        if not self.first <= self._met[call, path] < self.first + self.times:
            return False
        return time.monotonic() < self._until.setdefault((call, path), time.monotonic() + SECONDS)

    def failed(self) -> list[str]:
        """Return the calls that failed, with their paths."""
        return self.report.read_text().splitlines() if self.report.exists() else []


SECONDS = 2.0
"""Time after its first failure in which a call may fail again."""


def names_of_call(failed: str) -> list[str]:
    """Return the names by which a message may tell of a call that failed: of its file, or of the folder."""
    path = Path(failed.partition(" ")[2])
    matches = {name: TEMPORARY.fullmatch(name) for name in (path.name, path.parent.name)}
    return [match["target"] if match else name for name, match in matches.items()]


@dataclass
class FailingEntries:
    """Iterator over the entries of a folder, which may fail in its middle."""

    entries: Any
    meet: Callable[[], None]

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        entry = next(self.entries)
        self.meet()
        return entry

    def __enter__(self) -> "FailingEntries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration."""
        self.entries.close()


def watch_calls(meet: Meet) -> None:
    """Have `meet` called before each call of READING and WRITING by this process."""
    for name, places in {**READING, **WRITING}.items():
        module = fcntl if name == "flock" else os
        original = getattr(module, name, None)
        if original is None:
            continue
        watched = watched_call(name, original, places, meet)
        setattr(module, name, watched)
        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if original in able:
                able.add(watched)


def watched_call(
    name: str, original: Callable[..., Any], places: tuple[int, ...], meet: Meet
) -> Callable[..., Any]:
    """Return a function that calls `meet`, then the original."""

    def call(*arguments: Any, **options: Any) -> Any:
        given = arguments or (options.get("path", "."),)
        about = [given[place] for place in places]
        paths = [path_of(value, options.get("dir_fd")) for value in about]
        names = [os.fspath(value) for value in about if not isinstance(value, int | None)]
        meet(name, paths, [names[0], None, names[1]] if names[1:] else names)
        result = original(*arguments, **options)
        return FailingEntries(result, lambda: meet("entries", paths, names)) if name == "scandir" else result

    return call


def path_of(given: Any, folder: int | None) -> str:
    """Return the absolute path that an argument of a call names, or that its descriptor was opened by."""
    if isinstance(given, int):
        return path_of_descriptor(given)
    start = os.getcwd() if folder is None else path_of_descriptor(folder)  # noqa: PTH109 - called often
    path = os.path.join(start, os.fsdecode("." if given is None else given))  # noqa: PTH118
    return os.path.normpath(path)


def path_of_descriptor(descriptor: int) -> str:
    """Return the path of an open file; "" for one that has none any more."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - called often
    except OSError:
        return ""


def draw_failures(
    attempt: Try, calls: Mapping[str, tuple[int, ...]], numbers: Sequence[int], share: float = 0.02
) -> Failures:
    """Return errors of a try, with one of the numbers; tell of them."""
    rng, report = attempt.rng, attempt.place / "tmp" / "failed-calls.txt"
    number, first, times = rng.choice(numbers), rng.choice([1, 1, 2, 5]), rng.choice([1, 1, 2, 1000])
    attempt.tell(f"{errno.errorcode[number]} at some calls, {times} times from the call {first} on")
    return Failures(calls, attempt.place, report, rng.random().hex(), share, number, first, times)


def check_failed_calls(attempt: Try, ended: Ended, failures: Failures) -> None:
    """Raise AssertionError unless a command succeeded, or ended in status 74 with the name of what failed.

    A disk that can only be read is its user's to mend: status 2, or 1 where a part was measured.
    """
    failed = failures.failed()
    attempt.tell(f"failed: {failed[:20]}; ended in {ended.status}")
    check_answer(ended, [name for call in failed for name in names_of_call(call)])
    statuses = {0, 1, 2, 74} if failures.number == errno.EROFS else {0, 74}
    assert ended.status in statuses, f"a failing disk may be mended: status 74\n{ended.describe()}"
