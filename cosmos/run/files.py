"""Files that are either whole or not there, and JSON files read with an error that names them."""

import errno
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from cosmos.errors import CosmosError, DamagedDataError, TransientError

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE})
"""Error numbers of a disk that is full or fails; those of writing to an open file do not name it."""


@contextmanager
def naming_disk_errors(path: Path, *others: Path) -> Iterator[None]:
    """Raise TransientError, naming `path`, for an error of the disk with `path`, `others` or an open file."""
    try:
        yield
    except CosmosError:
        raise
    except OSError as error:
        if error.errno in DISK_ERRORS and error.filename in {None, *map(str, (path, *others))}:
            raise TransientError(
                f"{path}: {error.strerror}; free space or wait for the disk, then give the same command again"
            ) from error
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it to disk and rename it to `path`.

    A reader sees the old file or the new one, never half of either. On an error the temporary file is
    removed and the old one stays. Raises TransientError that names `path` where the disk is full or fails.
    """
    temporary = _temporary_path(path)
    with naming_disk_errors(path, temporary, path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success rename it to `path`, in place of what was there.

    On an error the new folder is removed, and what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def holding_lock(path: Path) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; it ends with the process. Others wait for it.

    File systems without locks do without.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        with suppress(OSError):
            lock_descriptor(file.fileno())
        yield


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in a folder that processes of this host left when they were killed."""
    suffix = f".{socket.gethostname()}."
    for path in folder.glob(".*.tmp"):
        name, _, pid = path.name.removesuffix(".tmp").rpartition(".")
        if f"{name}.".endswith(suffix) and pid.isdecimal() and not _process_exists(int(pid)):
            path.unlink(missing_ok=True)


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def replace_folder(folder: Path, path: Path) -> None:
    """Rename `folder` to `path`, in place of the folder that was there."""
    shutil.rmtree(path, ignore_errors=True)
    folder.rename(path)


def file_label(text: str) -> str:
    """Return a text, such as a checkpoint's reference, as a name for files and folders."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text.strip("/"))[-80:].strip("-.")


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to a file that is never written again, or a copy where links cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, atomically. Raises TransientError where the disk is full or fails."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically.

    Raises ValueError for NaN and infinities, TransientError where the disk is full or fails.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json_object(path: Path, kind: str, remedy: str, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises DamagedDataError ("PATH: not a KIND (reason); REMEDY") where the file holds no JSON object with
    `keys`, TransientError where the disk fails.
    """
    try:
        with naming_disk_errors(path):
            value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedDataError(f"{path}: not a {kind} ({error}); {remedy}") from None
    if not isinstance(value, dict) or any(key not in value for key in keys):
        expected = ", ".join(["an object", *keys])
        raise DamagedDataError(f"{path}: not a {kind} (no {expected}); {remedy}")
    return value
