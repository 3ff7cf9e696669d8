"""The lease of a run directory: the right of one process to write there, with a heartbeat for others to see.

A job that is started again elsewhere may have left processes behind, on a node that only seemed gone. Before
they write, they read the lease, find the token of another process in it, and stop.

The modification time of the lease's file is the holder's heartbeat: any machine that sees the file can tell
whether the run goes on, without asking a scheduler.
"""

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any, Self

from cosmos.errors import DamagedDataError, SupersededError
from cosmos.run import provenance
from cosmos.run.directory import RunDir
from cosmos.run.files import read_json_object, write_json

logger = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
"""Seconds between heartbeats."""

ALIVE_SECONDS = 60.0
"""Seconds since the last heartbeat within which the holder counts as alive: six beats."""

HOLDER_KEYS = ("token", "host", "pid", "since", "job")


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
        lease = cls(run, secrets.token_hex(8))
        holder = {
            "token": lease.token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "job": provenance.current_job(),
        }
        write_json(run.lease, holder)
        return lease

    def check(self) -> None:
        """Raise SupersededError, naming who took over, if this process may no longer write into the run.

        Raises DamagedDataError where the lease's file is damaged, TransientError where the disk fails.
        """
        try:
            holder = read_json_object(
                self.run.lease, "lease", "delete it, and give the same command again", HOLDER_KEYS
            )
        except FileNotFoundError:
            raise SupersededError(
                f"{self.run.lease} is gone: the run was deleted or moved, so this process stops; "
                "the same command starts or continues it"
            ) from None
        if holder["token"] != self.token:
            raise SupersededError(
                f"{self.run.lease}: {describe_holder(holder)} took over this run at {holder['since']}, "
                "so this process stops; nothing is lost, and the run goes on there"
            )

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Keep the lease's heartbeat going inside; reset it at the end, so that the run is seen to stop."""
        ended = Event()
        heart = Thread(target=self._beat_until, args=(ended,), name="heartbeat", daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()
            self._touch((0.0, 0.0))

    def _beat_until(self, ended: Event) -> None:
        while not ended.wait(BEAT_SECONDS) and self._touch(None):
            pass

    def _touch(self, times: tuple[float, float] | None) -> bool:
        """Set the times of the lease's file (None: now, by the file system's clock), unless another holds it.

        Returns False once another process holds it. Other errors cost a heartbeat, and never stop training.
        """
        try:
            self.check()
            os.utime(self.run.lease, times)
        except SupersededError:
            return False
        except (OSError, DamagedDataError) as error:
            logger.debug("%s: no heartbeat: %s", self.run.lease, error)
        return True


def describe_holder(holder: dict[str, Any]) -> str:
    """Return the process, host and job that hold a lease, as part of a message."""
    job = holder["job"]
    of_job = f" (job {job['id']}, requeues: {job['requeues']})" if job else ""
    return f"process {holder['pid']} on {holder['host']}{of_job}"
