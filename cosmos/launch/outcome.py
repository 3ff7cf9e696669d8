"""What a job leaves in its folder: of each call the attempts, and its value or its failures.

Calls of a submission are numbered from 0. For call 3:

    attempts-3.jsonl     a line for every start: job id, requeues before it, host, log
    value-3.pkl          what the call returned, from rank 0
    failure-3-0-1.json   what stopped rank 1 after 0 requeues
    rendezvous-3-0.json  where rank 0 waits for the others, after 0 requeues
"""

import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cosmos.run.files import replacing, write_json


@dataclass(frozen=True)
class Attempt:
    """One start of a call."""

    job_id: str
    requeues: int
    """times that the job was requeued before this start"""
    host: str
    log: Path
    """what rank 0 prints"""
    time: float
    """seconds since the epoch"""


@dataclass(frozen=True)
class RankFailure:
    """What stopped a rank."""

    rank: int
    requeues: int
    """times that the job was requeued before"""
    host: str
    error: str
    """name of the exception"""
    traceback: str
    time: float
    """seconds since the epoch"""


@dataclass(frozen=True)
class CallFiles:
    """The files of one call in its submission's folder."""

    folder: Path
    index: int

    def rendezvous(self, requeues: int) -> Path:
        """Where rank 0 says how it is reached."""
        return self.folder / f"rendezvous-{self.index}-{requeues}.json"

    @property
    def requeues(self) -> Path:
        """Times that a job without a scheduler was started again."""
        return self.folder / f"requeues-{self.index}.json"

    @property
    def _attempts(self) -> Path:
        return self.folder / f"attempts-{self.index}.jsonl"

    @property
    def _value(self) -> Path:
        return self.folder / f"value-{self.index}.pkl"

    def begin(self, attempt: Attempt) -> None:
        """Notes a start."""
        with self._attempts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(attempt), default=str) + "\n")

    def attempts(self) -> list[Attempt]:
        """The starts so far, oldest first. A line that was cut short is left out."""
        if not self._attempts.exists():
            return []
        found = []
        for line in self._attempts.read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
            except json.JSONDecodeError:
                continue
            found.append(Attempt(**{**values, "log": Path(values["log"])}))
        return found

    def write_value(self, value: Any) -> None:
        """Delivers what the call returned."""
        with replacing(self._value) as temporary:
            temporary.write_bytes(pickle.dumps(value))

    def has_value(self) -> bool:
        """Whether the call returned. The folder is listed: NFS remembers that a file was not there."""
        return any(path == self._value for path in self.folder.iterdir())

    def value(self) -> Any:
        """What the call returned. The file is our own job's, in a folder that only its owner may write."""
        return pickle.loads(self._value.read_bytes())

    def write_failure(self, failure: RankFailure) -> None:
        """Notes what stopped a rank."""
        name = f"failure-{self.index}-{failure.requeues}-{failure.rank}.json"
        write_json(self.folder / name, asdict(failure))

    def first_failure(self) -> RankFailure | None:
        """What went wrong first in the last start: the other ranks mostly lost a peer."""
        found = [
            RankFailure(**json.loads(path.read_text(encoding="utf-8")))
            for path in self.folder.glob(f"failure-{self.index}-*.json")
        ]
        starts = [
            *(attempt.requeues for attempt in self.attempts()),
            *(failure.requeues for failure in found),
        ]
        last = (failure for failure in found if failure.requeues == max(starts))
        return min(last, key=lambda failure: failure.time, default=None)


@dataclass(frozen=True)
class Failure:
    """Why a call has no value."""

    job_id: str
    cause: str
    """in one line: failed, out of memory, node failure, cancelled, ..."""
    exit_status: str
    """as the scheduler tells it; "" where it does not"""
    rank: RankFailure | None
    """the rank that failed first, where one could still say so"""
    log: Path

    def __str__(self) -> str:
        """For a person: cause, traceback, exit status, log."""
        lines = [f"job {self.job_id}: {self.cause}"]
        if self.rank:
            lines += [
                f"rank {self.rank.rank} on {self.rank.host} failed first:",
                self.rank.traceback.rstrip(),
            ]
        status = [f"exit status {self.exit_status}"] if self.exit_status else []
        return "\n".join([*lines, ", ".join([*status, f"log: {self.log}"])])


@dataclass(frozen=True)
class Outcome:
    """How a call ended: with a value, or with a failure."""

    value: Any
    failure: Failure | None

    @classmethod
    def of(cls, value: Any) -> Self:
        """The outcome of a call that returned."""
        return cls(value, None)

    @classmethod
    def failed(cls, failure: Failure) -> Self:
        """The outcome of a call that did not."""
        return cls(None, failure)


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log; [] where there is none."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64_000))
        return file.read().decode(errors="replace").splitlines()[-count:]
