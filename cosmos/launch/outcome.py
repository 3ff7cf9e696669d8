"""Files that a job leaves in its folder: of each call the attempts, and its value or its failures.

Calls of a submission are numbered from 0. For call 3:

    attempts-3.jsonl     a line for every start: job id, requeues before it, host, log
    value-3.pkl          what the call returned, from rank 0
    failure-3-0-1.json   the error that stopped rank 1 after 0 requeues
    failure-3-0-1.room   room for it, in case that the disk is full
    rendezvous-3-0.json  address and port at which rank 0 meets the others, after 0 requeues
"""

import json
import pickle
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from cosmos.errors import CosmosError
from cosmos.run.files import replacing, write_json

RESERVED_BYTES = 4096
"""Bytes that are reserved for the failure of a rank."""


@dataclass(frozen=True)
class Attempt:
    """Start of a call."""

    job_id: str
    requeues: int
    """times that the job was requeued before this start"""
    host: str
    log: Path
    """file of what rank 0 prints"""
    time: float
    """seconds since the epoch"""


@dataclass(frozen=True)
class RankFailure:
    """Error that stopped a rank."""

    rank: int
    requeues: int
    """times that the job was requeued before"""
    host: str
    error: str
    """name of the exception"""
    traceback: str
    time: float
    """seconds since the epoch"""
    kind: str = ""
    """name of the class in errors.py that decides what follows, by `error_kind`; "" for none"""
    summary: str = ""
    """the error in words for a person, without a traceback"""


@dataclass(frozen=True)
class CallFiles:
    """Files of one call in its submission's folder."""

    folder: Path
    index: int

    def rendezvous(self, requeues: int) -> Path:
        """Return the file in which rank 0 leaves its address and port."""
        return self.folder / f"rendezvous-{self.index}-{requeues}.json"

    @property
    def requeues(self) -> Path:
        """File of the number of times that a job without a scheduler was started again."""
        return self.folder / f"requeues-{self.index}.json"

    @property
    def _attempts(self) -> Path:
        return self.folder / f"attempts-{self.index}.jsonl"

    @property
    def _value(self) -> Path:
        return self.folder / f"value-{self.index}.pkl"

    def begin(self, attempt: Attempt) -> None:
        """Add a start to the attempts."""
        with self._attempts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(attempt), default=str) + "\n")

    def attempts(self) -> list[Attempt]:
        """Return the starts so far, oldest first. A line that was cut short is left out."""
        if not self._attempts.exists():
            return []
        attempts = []
        for line in self._attempts.read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
            except json.JSONDecodeError:
                continue
            attempts.append(Attempt(**{**values, "log": Path(values["log"])}))
        return attempts

    def write_value(self, value: Any) -> None:
        """Write what the call returned."""
        with replacing(self._value) as temporary:
            temporary.write_bytes(pickle.dumps(value))

    def has_value(self) -> bool:
        """Return True when the call returned; False, too, where its folder was deleted."""
        # the folder is listed, since NFS remembers that a file was not there
        return self.folder.is_dir() and any(path == self._value for path in self.folder.iterdir())

    def value(self) -> Any:
        """Return what the call returned.

        The file is our own job's, in a folder that only its owner may write: unpickling it is safe.
        """
        return pickle.loads(self._value.read_bytes())

    def reserve_room(self, rank: int, requeues: int) -> None:
        """Reserve room on the disk for the failure of a rank, which may be that the disk is full."""
        self.failure_room(rank, requeues).write_bytes(b" " * RESERVED_BYTES)

    def failure_room(self, rank: int, requeues: int) -> Path:
        """Return the file of the room for the failure of a rank."""
        return self.failure_file(rank, requeues).with_suffix(".room")

    def failure_file(self, rank: int, requeues: int) -> Path:
        """Return the file of the failure of a rank."""
        return self.folder / f"failure-{self.index}-{requeues}-{rank}.json"

    def write_failure(self, failure: RankFailure) -> None:
        """Write the error that stopped a rank: on a full disk without its traceback, in the reserved room."""
        file = self.failure_file(failure.rank, failure.requeues)
        room = self.failure_room(failure.rank, failure.requeues)
        try:
            write_json(file, asdict(failure))
            room.unlink(missing_ok=True)
        except OSError:
            short = replace(failure, traceback="", summary=failure.summary[: RESERVED_BYTES // 16])
            with room.open("r+b") as reserved:
                reserved.write(json.dumps(asdict(short)).encode())  # the spaces after it are JSON, too
            room.rename(file)

    def first_failure(self) -> RankFailure | None:
        """Return the failure that came first in the last start: the other ranks mostly lost a peer."""
        failures = [
            RankFailure(**json.loads(path.read_text(encoding="utf-8")))
            for path in self.folder.glob(f"failure-{self.index}-*.json")
        ]
        starts = [
            *(attempt.requeues for attempt in self.attempts()),
            *(failure.requeues for failure in failures),
        ]
        last = (failure for failure in failures if failure.requeues == max(starts))
        return min(last, key=lambda failure: failure.time, default=None)


@dataclass(frozen=True)
class CallFailure:
    """Reason why a call has no value."""

    job_id: str
    cause: str
    """in one line: failed, out of memory, node failure, cancelled, ..."""
    exit_status: str
    """as the scheduler reports it; "" where it does not"""
    rank: RankFailure | None
    """failure of the rank that failed first; None where no rank left one"""
    log: Path
    error: type[CosmosError] = CosmosError
    """class of errors that decides what follows"""

    @property
    def summary(self) -> str:
        """The failing rank's error, or else the cause, in words for a person, with job and log."""
        if not self.rank or not self.rank.summary:
            return f"job {self.job_id}: {self.cause}; log: {self.log}"
        return f"{self.rank.summary} (job {self.job_id}; log: {self.log})"

    def exception(self) -> CosmosError:
        """Return the error to raise for whoever waits for the call."""
        return self.error(str(self))

    def __str__(self) -> str:
        """Return cause, traceback, exit status and log, for a person."""
        lines = [f"job {self.job_id}: {self.cause}"]
        if self.rank:
            lines += [
                f"rank {self.rank.rank} on {self.rank.host} failed first:",
                self.rank.traceback.rstrip(),
            ]
        status = [f"exit status {self.exit_status}"] if self.exit_status else []
        return "\n".join([*lines, ", ".join([*status, f"log: {self.log}"])])


@dataclass(frozen=True)
class CallOutcome:
    """Outcome of a call: a value, or a failure."""

    value: Any
    failure: CallFailure | None

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the outcome of a call that returned."""
        return cls(value, None)

    @classmethod
    def failed(cls, failure: CallFailure) -> Self:
        """Return the outcome of a call that failed."""
        return cls(None, failure)

    def result(self) -> Any:
        """Return the value. Raises the failure's error, of the failing rank's class, where there is none."""
        if self.failure:
            raise self.failure.exception()
        return self.value


def last_log_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log; [] where there is none."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64_000))
        return file.read().decode(errors="replace").splitlines()[-count:]
