"""Who may write into a run directory: the process that took it last.

A job that is started again elsewhere may have left processes behind, on a node that only seemed gone. They
find another's token in the run's lease before they write, and stop.
"""

import json
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from cosmos import provenance
from cosmos.files import write_json
from cosmos.rundir import RunDir


class Superseded(ValueError):  # noqa: N818 - no error: the run goes on elsewhere
    """Another process has taken over the run."""


@dataclass(frozen=True)
class Lease:
    """The right to write into `run`, until another process takes it."""

    run: RunDir
    token: str

    @classmethod
    def take(cls, run: RunDir) -> Self:
        """Makes this process the one that writes; the one before it stops when it next looks."""
        lease = cls(run, secrets.token_hex(8))
        holder = {
            "token": lease.token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "job": provenance.job(),
        }
        write_json(run.lease, holder)
        return lease

    def check(self) -> None:
        """Raises Superseded, naming who took over, where the run is no longer this process's to write."""
        try:
            holder = json.loads(self.run.lease.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise Superseded(
                f"{self.run.lease} is gone: the run was deleted or moved, so this process stops; "
                "the same command starts or continues it"
            ) from None
        if holder["token"] != self.token:
            raise Superseded(
                f"{self.run.lease}: {in_words(holder)} took over this run at {holder['since']}, so this "
                "process stops; nothing is lost, and the run goes on there"
            )


def in_words(holder: dict[str, Any]) -> str:
    """A process, for a person."""
    job = holder["job"]
    whose = f" (job {job['id']}, requeues: {job['requeues']})" if job else ""
    return f"process {holder['pid']} on {holder['host']}{whose}"
