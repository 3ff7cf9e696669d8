"""Journal of a study: a file of JSON lines that Optuna appends to, and a sweep checks before it goes on."""

import json
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from cosmos.config.disk_reading import exists, is_file, lexists
from cosmos.errors import CosmosError, DamagedDataError, convert_os_error
from cosmos.run.files import holding_lock, naming_disk_errors, sync_descriptor
from cosmos.run.records import parse_record

REMEDY = "`cosmos sweep` makes it anew from the records of the trials"


@dataclass(frozen=True)
class JournalLine:
    """Values that lines of a journal have, none all of them: Optuna takes any, and meets them later."""

    op_code: int
    worker_id: str
    study_id: int = 0
    study_name: str = ""
    directions: tuple[int, ...] = ()
    trial_id: int = 0
    state: int = 0
    value: float | None = None
    values: tuple[float, ...] | None = None
    step: int = 0
    intermediate_value: float = 0.0
    intermediate_values: dict[str, float] | None = None
    param_name: str = ""
    param_value_internal: float = 0.0
    params: dict[str, float] | None = None
    user_attr: dict[str, Any] | None = None
    user_attrs: dict[str, Any] | None = None
    system_attr: dict[str, Any] | None = None
    system_attrs: dict[str, Any] | None = None


class ProcessLock(JournalFileOpenLock):
    """Lock of a journal that ends with the process; Optuna's own outlives a killed one by half a minute."""

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self.path, self.held = journal.with_suffix(".lock"), ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock, and hold it."""
        self.held.enter_context(holding_lock(self.path))
        return True

    def release(self) -> None:
        """Give the lock back."""
        self.held.close()


class Journal(JournalFileBackend):
    """Journal file whose name is in the errors of its disk."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, ProcessLock(path)
        super().__init__(str(path), self.lock)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the lines from a number on. Raises DamagedDataError for one whose values have other types."""
        for line in super().read_logs(log_number_from):
            try:
                parse_record(json.dumps(line).encode(), JournalLine)
            except ValueError as error:
                raise journal_damage(self.path, str(error)) from None
            yield line

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, also on a file system without syncs, of which Optuna's own makes an error.

        Raises TransientError where the disk is full or fails; a line may then be cut.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with naming_disk_errors(self.path), holding_lock(self.lock.path), self.path.open("ab") as file:
            file.write(lines.encode())
            file.flush()
            sync_descriptor(file.fileno())


def open_journal(path: Path) -> JournalStorage:
    """Return the storage in a journal file, created if need be.

    Raises DamagedDataError for a file that is none, InputError and TransientError where it cannot be read.
    """
    try:
        return JournalStorage(Journal(path))
    except OSError as error:
        raise convert_os_error(
            error, f"{error.filename or path}: the study cannot be read ({error.strerror})"
        ) from None
    except CosmosError:
        raise
    except Exception as error:  # Optuna checks no line: a wrong one may raise anything
        raise journal_damage(path, repr(error)) from None


def journal_damage(path: Path, reason: str) -> DamagedDataError:
    """Return the error of a file that is no journal of a study."""
    return DamagedDataError(f"{path}: not the journal of a study ({reason}); {REMEDY}")


def check_journal(path: Path) -> None:
    """Raise DamagedDataError unless a journal is missing, or has nothing but whole lines.

    A reader may meet a line that is being written. Who appends to a journal may not: after a line that was
    cut, by a kill or a full disk, all further ones would be lost.
    """
    if lexists(path) and not is_file(path):
        raise DamagedDataError(f"{path}: no file, but in the place of a study's journal; {REMEDY}")
    try:
        with holding_lock(path.with_suffix(".lock")):  # no line is being written meanwhile
            lines = path.read_bytes().splitlines(keepends=True) if exists(path) else []
    except OSError as error:
        raise convert_os_error(
            error, f"{error.filename or path}: the study cannot be read ({error.strerror})"
        ) from None
    for number, line in enumerate(lines, 1):
        if not is_whole(line):
            raise DamagedDataError(f"{path}: line {number} is cut or damaged; {REMEDY}")


def is_whole(line: bytes) -> bool:
    """Return True for a line that ends, and is an object of JSON."""
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
