"""The lease of a run directory: the right of one process to write there, with a heartbeat for others to see.

A job that is started again elsewhere may have left processes behind, on a node that only seemed gone. Before
they write, they read the lease, find the token of another process in it, and stop.

The modification time of the lease's file is the holder's heartbeat: any machine that sees the file can tell
whether the run goes on, without asking a scheduler.
"""

import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

from filelock import lock_descriptor

from cosmos.config.disk_reading import path_status
from cosmos.errors import CosmosError, SupersededError
from cosmos.run import provenance
from cosmos.run.directory import RunDir
from cosmos.run.files import open_lock_file, write_json
from cosmos.run.records import read_record

logger = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
"""Seconds between heartbeats."""

ALIVE_SECONDS = 60.0
"""Seconds since the last heartbeat within which the holder counts as alive: six beats."""

LOCK_SECONDS = 10.0
"""Seconds that a process waits for another that writes by the lease; after these, that one has lost it."""


@dataclass(frozen=True)
class LeaseHolder:
    """Process that holds a lease, as its file names it."""

    token: str
    host: str
    pid: int
    since: str
    """UTC, in ISO format"""
    job: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def here(cls) -> Self:
        """Return this process, with a new token. Raises InputError for a wrong COSMOS_JOB."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(secrets.token_hex(8), socket.gethostname(), os.getpid(), since, provenance.current_job())

    def __str__(self) -> str:
        job = f" (job {self.job.get('id')}, requeues: {self.job.get('requeues')})" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"


@dataclass(frozen=True)
class Lease:
    """Right to write into `run`, until another process takes it."""

    run: RunDir
    token: str

    @classmethod
    def take(cls, run: RunDir) -> Self:
        """Make this process the one that writes; the one before it stops at its next check.

        Raises InputError for a wrong COSMOS_JOB, TransientError where the disk is full or fails.
        """
        holder = LeaseHolder.here()
        run.path.mkdir(parents=True, exist_ok=True)
        with holding_lock_of_lease(run):
            write_json(run.lease, asdict(holder))
        return cls(run, holder.token)

    def check(self) -> None:
        """Raise SupersededError, naming who took over, if this process may no longer write into the run.

        Raises DamagedDataError where the lease's file is damaged, TransientError where the disk fails.
        """
        try:
            holder = read_holder(self.run.lease)
        except (FileNotFoundError, NotADirectoryError):
            raise SupersededError(
                f"{self.run.lease} is gone: the run was deleted or moved, so this process stops; "
                "the same command starts or continues it"
            ) from None
        if holder.token != self.token:
            raise SupersededError(
                f"{self.run.lease}: {holder} took over this run at {holder.since}, "
                "so this process stops; nothing is lost, and the run goes on there"
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Check the lease, and keep others from taking it until the block has written into the run.

        Raises as `check` and `explaining_errors`.
        """
        with self.explaining_errors(), holding_lock_of_lease(self.run):
            self.check()
            yield

    @contextmanager
    def explaining_errors(self) -> Iterator[None]:
        """Raise the error of `check`, if there is one, in place of an error inside that follows from it."""
        try:
            yield
        except (CosmosError, OSError):
            with suppress(OSError):  # the disk fails: the first error says so
                self.check()
            raise

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Keep the lease's heartbeat going inside; reset it at the end, so that the run is seen to stop."""
        try:
            with heartbeat(lambda: self._touch(None)):
                yield
        finally:
            self._touch((0.0, 0.0))

    def _touch(self, times: tuple[float, float] | None) -> bool:
        """Set the times of the lease's file (None: now, by the file system's clock), unless another holds it.

        Returns False once another process holds it. Other errors cost a heartbeat, and never stop training.
        """
        try:
            self.check()
            os.utime(self.run.lease, times)
        except SupersededError:
            return False
        except (OSError, CosmosError) as error:
            logger.debug("%s: no heartbeat: %s", self.run.lease, error)
        return True


@contextmanager
def heartbeat(beat: Callable[[], bool]) -> Iterator[None]:
    """Call `beat` every BEAT_SECONDS inside, from a thread, until it returns False."""
    ended = Event()

    def keep_beating() -> None:
        while not ended.wait(BEAT_SECONDS) and beat():
            pass

    heart = Thread(target=keep_beating, name="heartbeat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()


def read_holder(path: Path) -> LeaseHolder:
    """Return the holder that the file of a lease names; errors as of `read_record`."""
    return read_record(path, LeaseHolder, "lease", "delete it, and give the same command again")


def seconds_silent(lease: str | Path) -> float:
    """Return the seconds since the last heartbeat of a lease's holder; inf where there never was one.

    Raises OSError where the disk fails: a run that is trained would seem to have stopped.
    """
    with suppress(PermissionError):
        if status := path_status(lease):
            return max(0.0, time.time() - status.st_mtime)
    return math.inf


@contextmanager
def holding_lock_of_lease(run: RunDir) -> Iterator[None]:
    """Hold the lock of a run's lease, so that nobody takes it between a check and what follows from that.

    File systems without locks do without, and so does a process whose run is gone.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = open_lock_file(run.lease_lock)
            stack.callback(os.close, descriptor)
            wait_for_lock(descriptor)
        yield


def wait_for_lock(descriptor: int) -> None:
    """Lock an open file, and wait LOCK_SECONDS at most for the process that holds it."""
    end = time.monotonic() + LOCK_SECONDS
    with suppress(OSError):  # a file system without locks
        while not lock_descriptor(descriptor, blocking=False) and time.monotonic() < end:
            time.sleep(0.02)
