"""Files and folders that are either whole or not there, with errors that name them."""

import ctypes
import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor, unlock_descriptor

from cosmos.config.disk_reading import exists, is_dir, is_left_by_system, lexists, refuse_pipe
from cosmos.errors import CosmosError, InputError, TransientError, describe_os_error, is_permanent
from cosmos.run.abandoned_files import discard, remove_abandoned, temporary_path

logger = logging.getLogger(__name__)

SURROGATE = re.compile("[\ud800-\udfff]")
"""Pattern of the characters that UTF-8 cannot encode."""

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE})
"""Error numbers of a disk that is full or fails; those of writing to an open file do not name it."""

NETWORK_DISK_ERRORS = frozenset(
    {
        errno.EREMOTEIO,
        errno.ETIMEDOUT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
    }
)
"""Error numbers of a disk behind a network that fails."""

MAX_LABEL_BYTES = 80
"""Bytes of a label: with what is put before and after it, it fits the 255 that a file system allows."""

UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Error numbers of what a file system cannot do: FUSE and SMB may sync no folders, for one."""

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Arguments of renameat2. Source: linux/fcntl.h, linux/fs.h"""

_cleaned_folders: set[Path] = set()


class DiskError(TransientError):
    """A disk is full or fails; the message names the file, which a caller that renames it replaces."""

    number = 0
    """error number of the operating system"""
    reason = ""
    """text of the number"""
    file = ""
    """path of the file; "" where it is for the message alone"""


@contextmanager
def naming_disk_errors(path: Path) -> Iterator[None]:
    """Raise TransientError, naming `path`, for an error of the disk with it, its folder or an open file."""
    with _naming_target(path, path):
        yield


@contextmanager
def _naming_target(path: Path, temporary: Path) -> Iterator[None]:
    """Raise errors about `temporary`, or what is in it, as errors about what it becomes: `path`.

    One of a disk that is full or fails becomes a TransientError with the remedy; others keep their class, and
    get the name where they have none.
    """
    try:
        yield
    except OSError as error:
        if (named := _with_target(error, path, temporary)) is error:
            raise
        raise named from error


def _with_target(error: OSError, path: Path, temporary: Path) -> OSError:
    """Return an error as one about the target; itself where it names the target, or other files, already."""
    if isinstance(error, DiskError) and error.file:
        return disk_error(error.number, error.reason, _target_name(error.file, path, temporary))
    if isinstance(error, CosmosError):
        return error
    given = [name for name in (error.filename, error.filename2) if isinstance(name, str)]
    names = list(dict.fromkeys(_target_name(name, path, temporary) for name in given))
    ours = [name for name in names if Path(name).is_relative_to(path)]
    is_about_target = ours or not given or any(path.is_relative_to(name) for name in names)
    if error.errno in DISK_ERRORS | NETWORK_DISK_ERRORS and is_about_target:
        return disk_error(error.errno, error.strerror or "", ours[-1] if ours else str(path))
    if not given and is_permanent(error):  # of an open file on a disk that can only be read by now
        return OSError(error.errno, error.strerror, str(path))
    return error if names == given else OSError(error.errno, error.strerror, *_as_arguments(names))


def _target_name(name: str, path: Path, temporary: Path) -> str:
    """Return the name that a file at or below `temporary` has in the end; that of any other as it is."""
    return str(path / Path(name).relative_to(temporary)) if Path(name).is_relative_to(temporary) else name


def _as_arguments(names: list[str]) -> list[str | None]:
    """Return one or two names of files in the form that OSError takes them."""
    return [*names] if len(names) == 1 else [names[0], None, names[1]]


def disk_error(number: int, reason: str, file: str) -> DiskError:
    """Return the error of a disk, by its number and reason, with the file and the remedy."""
    error = DiskError(describe_os_error(OSError(number, reason, file)))
    error.number, error.reason, error.file = number, reason, file
    return error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it to disk and rename it to `path`.

    A reader sees the old file or the new one, never half of either, also after a loss of power. On an error
    the temporary file is removed and the old one stays. Raises TransientError that names `path` where the
    disk is full or fails; no error names the temporary file.
    """
    temporary = temporary_path(path)
    with _naming_target(path, temporary):
        _prepare_folder(path.parent)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        finally:
            with suppress(OSError):  # of a disk that failed already
                temporary.unlink()
        _sync_name(path)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success rename it to `path`, in place of what was there.

    On an error the new folder is removed, and what was there stays. Raises errors as `replacing`, and
    InputError where `path` is a file or holds the folder worked in.
    """
    _refuse_to_replace(path)
    path = path.resolve() if path.is_symlink() else path  # the disk that somebody chose stays
    temporary = temporary_path(path)
    with _naming_target(path, temporary):
        _prepare_folder(path.parent)
        discard(temporary)
        temporary.mkdir()
        try:
            yield temporary
            for inside in (*temporary.rglob("*"), temporary):
                _sync(inside.resolve())
            replace_folder(temporary, path)
        finally:
            discard(temporary)


def _refuse_to_replace(path: Path) -> None:
    """Raise InputError for a path that no folder may take the place of."""
    if exists(path) and not is_dir(path):
        raise InputError(f"{path}: a file; name a folder")
    if Path.cwd().is_relative_to(path.resolve()):
        raise InputError(f"{path}: holds the folder worked in; name a folder of its own")


def require_own_folder(folder: Path, is_ours: Callable[[str], bool]) -> None:
    """Raise InputError for a folder to replace that holds more than an earlier output of the same kind.

    `is_ours`: returns True for the names of files and folders that such an output holds.
    """
    if folder.is_mount():
        raise InputError(f"{folder}: a mount, in whose place no other folder can be; name a folder in it")
    for path in sorted(folder.iterdir()) if is_dir(folder) else ():
        if not is_ours(path.name) and not is_left_by_system(path.name):
            remedy = "name an empty folder, or one of an earlier output"
            raise InputError(f"{path}: would be deleted, since {folder} is replaced; {remedy}")


def replace_folder(folder: Path, path: Path) -> None:
    """Rename `folder` to `path`, in place of the folder that was there, which is never missing meanwhile.

    A file system that cannot exchange names has it missing between two renames; `remove_abandoned` gives a
    folder of a process that was killed between them its name again.
    """
    replaced = folder
    if not _take_free_name(folder, path) and not _exchange(folder, path):
        replaced = temporary_path(path, "old")
        _move_aside(path, replaced)
        try:
            folder.rename(path)
        except OSError:
            replaced.rename(path)
            raise
    _sync_name(path)
    discard(replaced)


def _move_aside(path: Path, aside: Path) -> None:
    """Rename a folder to be replaced. Raises InputError for a mount, and a folder of a container's image."""
    try:
        path.rename(aside)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        reason = f"cannot be renamed to make room ({error.strerror}), as a mount cannot"
        raise InputError(f"{path}: {reason}; name a folder in it, or another place") from None


def _take_free_name(folder: Path, path: Path) -> bool:
    """Rename `folder` to `path`; return False where something has the name, if only since a moment ago."""
    if lexists(path):
        return False
    try:
        folder.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _exchange(folder: Path, path: Path) -> bool:
    """Exchange the names of two folders at once; return False where the file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(folder), os.fsencode(path)
    return rename is not None and rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0


def remove_folder(folder: Path) -> None:
    """Remove a folder, which others see whole until it is gone; log a warning where that fails."""
    aside = temporary_path(folder)
    try:
        folder.rename(aside)
    except OSError:
        aside = folder
    discard(aside)


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def sync_descriptor(descriptor: int) -> None:
    """Have what an open file holds written to the disk, where its file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _sync_name(path: Path) -> None:
    """Have the name of a file written to the disk, where its file system can."""
    with suppress(OSError):
        _sync(path.parent)


def open_to_append(path: Path) -> IO[str]:
    """Return a text file that is open for appending. Raises InputError for a pipe, and does not open it."""
    refuse_pipe(path)
    return path.open("a", encoding="utf-8")


@contextmanager
def holding_lock(path: Path) -> Iterator[None]:
    """Hold the lock that the file `path` stands for; it ends with the process. Others wait for it.

    File systems without locks do without. Raises TransientError where the disk is full or fails, InputError
    for a pipe.
    """
    with naming_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_pipe(path)
        descriptor = open_lock_file(path)
    try:
        with suppress(OSError):
            lock_descriptor(descriptor)
        yield
    finally:
        with suppress(OSError):  # closing does not suffice where a process was forked meanwhile
            unlock_descriptor(descriptor)
        os.close(descriptor)


def open_lock_file(path: Path) -> int:
    """Return a descriptor of a lock's file, which is made if need be.

    Of another user's file it is one that only reads: that suffices for a lock, though not everywhere.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError as error:  # whatever its permissions, where anybody can write into its folder
        with suppress(OSError):
            return os.open(path, os.O_RDONLY)
        raise error


def make_temporary_file(path: Path) -> Path:
    """Make an empty file beside `path`, under a name that no other thread, process or host has; return it.

    `remove_abandoned` knows it once its process was killed. Who may read it is by the umask: it becomes a
    file that others use.
    """
    temporary = temporary_path(path.with_name(f"{path.name}.{secrets.token_hex(4)}"))
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


def _prepare_folder(folder: Path) -> None:
    """Make a folder to write into, and clean it once in the life of this process."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.absolute() not in _cleaned_folders:
        _cleaned_folders.add(folder.absolute())
        with suppress(OSError):
            remove_abandoned(folder)


def file_label(text: str) -> str:
    """Return a text, such as a checkpoint's reference, as a name for files and folders.

    Of a long text it is the end, after a hash of the whole: others may end alike.
    """
    label = _with_dashes(text)
    return label.strip("-.") if len(label.encode()) <= MAX_LABEL_BYTES else hashed_label(text)


def hashed_label(text: str) -> str:
    """Return a label that no other text has, also of those that have one `file_label`, as a/b and a-b."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    end = _with_dashes(text).encode()[len(digest) + 1 - MAX_LABEL_BYTES :].decode(errors="ignore")
    return f"{digest}-{end.strip('-.')}"


def _with_dashes(text: str) -> str:
    """Return a text with dashes in the place of what names of files had better not have."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text.strip("/"))


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to a file that is never written again, or a copy where links cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, atomically. Raises TransientError where the disk is full or fails.

    What UTF-8 cannot encode, such as a file's name of other bytes, is written as escapes.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically.

    Texts are written as by `write_text`, their escapes as texts: readers of JSON differ about others.
    Raises ValueError for NaN and infinities, TransientError where the disk is full or fails.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, SURROGATE.sub(lambda match: rf"\\u{ord(match[0]):04x}", text) + "\n")
