"""The sole writer of a folder: a process that holds a file there, while others wait and say for whom.

The file is locked, names its holder and has a heartbeat. Where the file system has no locks, or they end at
the host, the heartbeat alone tells that the holder is alive. A dead one on this host blocks nobody, one on
another host does for ALIVE_SECONDS.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import lock_descriptor

from cosmos.config.disk_reading import exists, open_regular
from cosmos.config.process_space import host_of_space, process_space
from cosmos.run.files import naming_disk_errors
from cosmos.run.lease import ALIVE_SECONDS, heartbeat
from cosmos.run.records import parse_record

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Seconds between attempts to become the holder."""

SETTLING_SECONDS = 1.0
"""Seconds after which a file is read again where there are no locks: of two holders, the last one stays."""

MAX_HOLDER_BYTES = 10_000


@dataclass(frozen=True)
class Holder:
    """Process that holds a file."""

    host: str
    """space of the process: its host, and which of that name"""
    pid: int

    @classmethod
    def here(cls) -> "Holder":
        """Return this process."""
        return cls(process_space(), os.getpid())

    def __str__(self) -> str:
        return f"process {self.pid} on {host_of_space(self.host)}"


@contextmanager
def sole_writer(path: Path, activity: str) -> Iterator[None]:
    """Hold the file `path`; where another process does, warn that it is at `activity`, and wait for it.

    The file is removed at the end, and its folder where that is empty. Raises TransientError where the disk
    is full or fails.
    """
    with naming_disk_errors(path):
        descriptor = _wait_for(path, activity)
    try:
        with heartbeat(lambda: _beat(descriptor)):
            yield
    finally:
        _let_go(path, descriptor)


def _wait_for(path: Path, activity: str) -> int:
    """Return the descriptor of the file, once this process holds it."""
    waited_for: Holder | None = None
    beats: dict[float, float] = {}
    while (descriptor := _take(path, beats)) < 0:
        holder = _holder_of(path)
        if holder not in (None, waited_for):
            logger.warning("%s by %s; waiting for it", activity, holder)
            waited_for = holder
        time.sleep(POLL_SECONDS)
    return descriptor


def _take(path: Path, beats: dict[float, float]) -> int:
    """Return the descriptor of the file if this process holds it now; -1 where another one does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:  # its folder was removed by the holder before
        return -1
    try:
        if _is_free(path, descriptor, beats):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return -1


def _is_free(path: Path, descriptor: int, beats: dict[float, float]) -> bool:
    """Lock and sign the file if no other process holds it; return True when this one does then."""
    has_locks = True
    try:
        if not lock_descriptor(descriptor, blocking=False):
            return False
    except OSError:  # a file system without locks
        has_locks = False
    holder, me = _holder_of(path), Holder.here()
    is_left = has_locks and holder is not None and holder.host == me.host
    if not _is_at(path, descriptor) or (holder and not is_left and _is_alive(holder, descriptor, beats)):
        return False
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(me)).encode(), 0)
    if not has_locks:
        time.sleep(SETTLING_SECONDS)
    return _holder_of(path) == me


def _holder_of(path: Path) -> Holder | None:
    """Return the process that signed the file; None where it is not signed, or not by us."""
    with suppress(FileNotFoundError, ValueError), open_regular(path) as file:
        return parse_record(file.read(MAX_HOLDER_BYTES), Holder)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Return True when the open file is still the one at `path`, and was not removed by the holder before."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_alive(holder: Holder, descriptor: int, beats: dict[float, float]) -> bool:
    """Return True while the holder's heart beats; `beats`: time of the file -> when it was first seen so.

    A clock that was set back makes old beats seem new, or to come: one that stays the same is the last.
    """
    if holder.host == process_space() and not exists(Path(f"/proc/{holder.pid}")):
        return False
    beat, now = os.fstat(descriptor).st_mtime, time.monotonic()
    return max(time.time() - beat, now - beats.setdefault(beat, now)) < ALIVE_SECONDS


def _beat(descriptor: int) -> bool:
    """Renew the file's time; a disk that fails costs a beat."""
    with suppress(OSError):
        os.utime(descriptor)
    return True


def _let_go(path: Path, descriptor: int) -> None:
    with suppress(OSError):
        if _is_at(path, descriptor):
            path.unlink()
        path.parent.rmdir()
    os.close(descriptor)
