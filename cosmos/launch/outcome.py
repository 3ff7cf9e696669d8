"""Files that a job leaves in its folder: of each call the attempts, and its value or its failures.

Calls of a submission are numbered from 0. For call 3:

    attempts-3.jsonl     a line for every start: job id, requeues before it, host, log
    value-3.json         what the call returned, from rank 0
    failure-3-0-1.json   the error that stopped rank 1 after 0 requeues
    failure-3-0-1.room   room for it, in case that the disk is full
    rendezvous-3-0.json  address and port at which rank 0 meets the others, after 0 requeues
"""

import json
import pickle
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field

from cosmos.config.disk_reading import exists, find_paths, is_dir, open_regular
from cosmos.errors import CosmosError, DamagedDataError, StoppedError
from cosmos.run.files import naming_disk_errors, write_json, write_text
from cosmos.run.records import parse_record, read_record

Shape = TypeVar("Shape")

VALUE_REMEDY = "delete the file, and the same command submits the job again"

FOLDER_REMEDY = "delete the folder, and the same command submits the job again"

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
    log_start: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """bytes that earlier starts have left in the log; 0 in older records"""


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
        return self.folder / f"value-{self.index}.json"

    @property
    def _pickled_value(self) -> Path:
        """File of the value of a job of version 0.1."""
        return self._value.with_suffix(".pkl")

    def begin(self, attempt: Attempt) -> None:
        """Add a start to the attempts."""
        with naming_disk_errors(self._attempts), self._attempts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(attempt), default=str) + "\n")

    def attempts(self) -> list[Attempt]:
        """Return the starts so far, oldest first. A line that is damaged is left out.

        Their logs are looked for in this folder, wherever it has been moved.
        """
        content, attempts = b"", []
        with suppress(FileNotFoundError), open_regular(self._attempts) as file:
            content = file.read()
        for line in content.splitlines():
            with suppress(ValueError):
                attempt = parse_record(line, Attempt)
                attempts.append(replace(attempt, log=self.folder / attempt.log.name))
        return attempts

    def write_value(self, value: Any) -> None:
        """Write what the call returned. Raises TypeError for a value that is no JSON."""
        write_text(self._value, json.dumps(value))

    def has_value(self) -> bool:
        """Return True when the call returned; False, too, where its folder was deleted."""
        # the folder is listed, since NFS remembers that a file was not there
        values = {self._value, self._pickled_value}
        return is_dir(self.folder) and not values.isdisjoint(self.folder.iterdir())

    def value(self) -> Any:
        """Return what the call returned, which is data: nothing in the file is executed.

        Raises DamagedDataError for a file that holds none.
        """
        if exists(self._value):
            return read_record(self._value, Any, "value of a job", VALUE_REMEDY)
        return read_plain_pickle(self._pickled_value)

    def reserve_room(self, rank: int, requeues: int) -> None:
        """Reserve room on the disk for the failure of a rank, which may be that the disk is full."""
        room = self.failure_room(rank, requeues)
        with naming_disk_errors(room):
            room.write_bytes(b" " * RESERVED_BYTES)

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
        failures = list(map(read_failure, find_paths(self.folder, f"failure-{self.index}-*.json")))
        starts = [
            *(attempt.requeues for attempt in self.attempts()),
            *(failure.requeues for failure in failures),
        ]
        last = (failure for failure in failures if failure.requeues == max(starts))
        return min(last, key=lambda failure: failure.time, default=None)


def read_failure(file: Path) -> RankFailure:
    """Return the failure of a rank; a damaged file says so in place of the error that it had."""
    try:
        return read_record(file, RankFailure, "failure of a rank", "the job's log says more")
    except DamagedDataError as error:
        numbers = [int(number) for number in re.findall(r"\d{1,9}", file.stem)[-2:]]
        requeues, rank = numbers if len(numbers) == 2 else (0, 0)
        return RankFailure(rank, requeues, "", "", str(error), file.stat().st_mtime, "", str(error))


class _PlainUnpickler(pickle.Unpickler):
    """Reader of pickles of plain data: numbers, texts, lists, dictionaries. It refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_plain_pickle(file: Path) -> Any:
    """Return the plain data that a job of version 0.1 pickled. Raises DamagedDataError for anything else."""
    try:
        with open_regular(file) as stream:
            return _PlainUnpickler(stream).load()
    except Exception as error:  # damaged ones raise errors of any type
        raise DamagedDataError(f"{file}: not a value of a job ({error}); {VALUE_REMEDY}") from None


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
    token: str = ""
    """token of the submission"""
    requeues_left: int = 0
    """times that the scheduler might have started the job again"""

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
        """Return cause, error, exit status and log, for a person; an error of no class has its traceback."""
        lines = [f"job {self.job_id}: {self.cause}"]
        if self.rank and self.error is not StoppedError:
            told = "" if self.rank.kind else self.rank.traceback.rstrip()
            lines += [
                f"rank {self.rank.rank} on {self.rank.host} failed first:",
                told or self.rank.summary,
            ]
        status = [f"exit status {self.exit_status}"] if self.exit_status else []
        return "\n".join([*lines, ", ".join([*status, f"log: {self.log}"])])


@dataclass(frozen=True)
class CallOutcome:
    """Outcome of a call: a value, or a failure."""

    value: Any
    failure: CallFailure | None
    folder: Path = Path()
    """folder of the submission, which has the file of the value"""

    @classmethod
    def of(cls, value: Any, folder: Path = Path()) -> Self:
        """Return the outcome of a call that returned."""
        return cls(value, None, folder)

    @classmethod
    def failed(cls, failure: CallFailure) -> Self:
        """Return the outcome of a call that failed."""
        return cls(None, failure)

    def result(self) -> Any:
        """Return the value. Raises the failure's error, of the failing rank's class, where there is none."""
        if self.failure:
            raise self.failure.exception()
        return self.value

    def result_as(self, shape: type[Shape]) -> Shape:
        """Return the value as a `shape`, as `read_record`. Raises as `result`, and DamagedDataError."""
        try:
            return parse_record(json.dumps(self.result()).encode(), shape)
        except CosmosError:
            raise
        except ValueError as error:
            message = f"{self.folder}: the value of the job is damaged ({error}); {FOLDER_REMEDY}"
            raise DamagedDataError(message) from None


def last_log_lines(path: Path, count: int, start: int = 0) -> list[str]:
    """Return the last lines of a log, of those from byte `start` on; [] where there is none."""
    if not exists(path):
        return []
    with open_regular(path) as file:
        file.seek(max(start, path.stat().st_size - 64_000))
        return file.read().decode(errors="replace").splitlines()[-count:]
