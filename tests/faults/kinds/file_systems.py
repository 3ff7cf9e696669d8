"""File systems: those that lack what others have, and what systems leave there beside the files of others."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from tests.faults.kinds.together import BESIDE
from tests.faults.tries import Try
from tests.faults.works import draw_work

NUMBERS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""Error numbers by which a file system says that it cannot do something."""

ATTRIBUTES = b"\0\5\26\7\0\2\0\0Mac OS X        "
"""Beginning of the attributes that a Mac keeps beside a file on disks that know none."""

LITTERED = ("data", "runs", "photos", "experiments")
"""Folders of the world in which systems leave something."""

MARKS = ("._", ".DS_Store", ".nfs", "Thumbs.db", "lost+found", ".snapshot")
"""Parts of the names of all that is left in folders."""


def attempt(attempt: Try) -> None:
    """Give a command on a poor file system, or among what systems leave; it ends in the same bits."""
    attempt.rng.choice((lacking, littered))(attempt)


def lacking(attempt: Try) -> None:
    """Work on a file system that lacks one thing: locks, syncs, hard links, exchanges of names and so on."""
    work = draw_work(attempt)
    name, number = attempt.rng.choice(list(LACKS)), attempt.rng.choice(NUMBERS)
    attempt.tell(f"a file system without {name}: {errno.errorcode[number]}")
    work.finish(attempt, meddle=lambda: LACKS[name](refusing(number)))


def refusing(number: int) -> Callable[..., NoReturn]:
    """Return a function that raises an error of the operating system."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return refuse


def lack_locks(refuse: Callable[..., NoReturn]) -> None:
    """Have this process lock no file."""
    fcntl.flock = fcntl.lockf = refuse


def lack_syncs(refuse: Callable[..., NoReturn]) -> None:
    """Have this process sync no file, and no folder."""
    os.fsync = refuse


def lack_links(refuse: Callable[..., NoReturn]) -> None:
    """Have this process make no links."""
    os.link = os.symlink = refuse


def lack_times(refuse: Callable[..., NoReturn]) -> None:
    """Have this process set no times of files."""
    os.utime = refuse


def lack_exchanges(refuse: Callable[..., NoReturn]) -> None:
    """Have this process exchange the names of no folders at once."""
    from cosmos.run import files

    files._exchange = lambda folder, path: False


def lack_mappings(refuse: Callable[..., NoReturn]) -> None:
    """Have this process map no file of weights into its memory."""
    import torch

    def refuse_mapping(*_: Any) -> NoReturn:
        raise RuntimeError("unable to mmap 432 bytes from file <step.pt>: No such device (19)")

    patch.object(torch.UntypedStorage, "from_file", refuse_mapping).start()


LACKS: dict[str, Callable[[Callable[..., NoReturn]], None]] = {
    "locks": lack_locks,
    "syncs": lack_syncs,
    "links": lack_links,
    "times": lack_times,
    "exchanges": lack_exchanges,
    "mappings": lack_mappings,
}
"""What a file system may lack, and how a process is made to lack it."""


def littered(attempt: Try) -> None:
    """Work among what systems leave: none of it is taken for a file of ours, told of or deleted."""
    work = draw_work(attempt)
    before = [path for root in LITTERED for path in litter(attempt.place / root)]
    listed = attempt.succeeds(*attempt.rng.choice(BESIDE))
    ended = attempt.succeeds(*work.arguments)
    for answer in (listed, ended):
        told = [mark for mark in MARKS if mark in answer.output]
        assert not told, f"tells of {told}, which nobody made\n{answer.describe()}"
    work.check(attempt)
    gone = [str(path) for path in before if not path.exists()]
    assert not gone, f"deleted what is not ours: {gone}"


def litter(root: Path) -> list[Path]:
    """Leave something in each folder below `root`, and beside each file; return what was left."""
    left = list[Path]()
    for folder, _, names in list(os.walk(root)):
        for name in (".DS_Store", "Thumbs.db", *(f"._{name}" for name in names)):
            left.append(Path(folder) / name)
            left[-1].write_bytes(ATTRIBUTES)
        for name in names:
            left.append(Path(folder) / f".nfs{len(left):024x}")
            shutil.copyfile(Path(folder) / name, left[-1])
        left.append(Path(folder) / "lost+found")
        left[-1].mkdir()
    left.append(root / ".snapshot")
    shutil.copytree(root, left[-1] / "hourly.0", symlinks=True)
    return left
