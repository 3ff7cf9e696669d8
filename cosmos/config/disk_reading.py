"""Files and folders as others left them: pipes are not waited for, and errors not taken for absence."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import filter as matching
from pathlib import Path
from typing import BinaryIO

from cosmos.errors import CosmosError, InputError, convert_os_error

NO_FILE = "a pipe or a device, not a file"

SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        ".ds_store",
        "thumbs.db",
        "desktop.ini",
        "@eadir",
        "@recycle",
        "#recycle",
        "#snapshot",
        "~snapshot",
        "$recycle.bin",
        "lost+found",
        "system volume information",
    }
)
"""Names, in lower case, of what operating systems and storages leave in folders of other files."""

SYSTEM_PREFIXES = ("._", ".nfs", ".fuse_hidden")
"""Beginnings of such names: a Mac's attributes of a file, and files that were removed while open."""


class IrregularFileError(OSError):
    """A pipe, a socket or a device in the place of a file, which may never answer."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


ABSENCE_NUMBERS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Error numbers of paths that lead nowhere."""


def exists(path: str | Path) -> bool:
    """Return True where a path leads to something; raise OSError where that cannot be told.

    Unlike `os.path.exists`, and `Path.exists` since Python 3.14, which take a disk that fails for absence, as
    do their other functions: what is there would be made anew, or begun again.
    """
    return path_status(path) is not None


def lexists(path: str | Path) -> bool:
    """Return True where a path is there, if only as a link to nothing; raise OSError as `exists`."""
    return path_status(path, follow_symlinks=False) is not None


def is_file(path: str | Path) -> bool:
    """Return True where a path leads to a file; raise OSError as `exists`."""
    status = path_status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_dir(path: str | Path) -> bool:
    """Return True where a path leads to a folder; raise OSError as `exists`."""
    status = path_status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def path_status(path: str | Path, follow_symlinks: bool = True) -> os.stat_result | None:
    """Return the status of what a path leads to; None where nothing is there. Raises OSError as `exists`."""
    try:
        return os.stat(path, follow_symlinks=follow_symlinks)  # noqa: PTH116 - half the time of pathlib's
    except ValueError:  # a character that no name can have
        return None
    except OSError as error:
        if error.errno in ABSENCE_NUMBERS:
            return None
        raise


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; the error of a disk that fails while it is read names it, too.

    Raises IrregularFileError for a pipe or a device, and does not open it.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise IrregularFileError(errno.EINVAL, NO_FILE, str(path))
    with path.open("rb") as file:
        try:
            yield file
        except OSError as error:
            if error.errno and error.filename is None:
                error.filename = str(path)
            raise


def refuse_pipe(path: Path) -> None:
    """Raise InputError for a pipe or a socket in the place of a file to write, which may never be read."""
    status = path_status(path)
    if status and (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)):
        raise InputError(f"{path}: a pipe or a socket, not a file; move it away, then give the command again")


def is_broken_link(path: Path) -> bool:
    """Return True for a link to a file or folder that is not there."""
    return path.is_symlink() and not exists(path)


def is_left_by_system(name: str) -> bool:
    """Return True for the name of a file or folder that a system or storage left, and nobody asked for."""
    return name.startswith(SYSTEM_PREFIXES) or name.lower() in SYSTEM_NAMES


def is_hidden(name: str) -> bool:
    """Return True for a name that begins with a dot, or that systems give; such files are no inputs."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in SYSTEM_NAMES


def list_names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted, without hidden ones; none where there is no such folder.

    Raises as `list_folder`.
    """
    return [name for name in list_folder(folder) if not is_hidden(name)]


def list_folder(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; none where there is no such folder.

    Raises InputError for a folder that this user may not list, TransientError when the disk fails.
    """
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - no paths needed
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise listing_error(error, folder) from None


def find_paths(folder: Path, pattern: str) -> list[Path]:
    """Return the paths below a folder that match a pattern such as `*/job.json`, sorted.

    A wildcard stands for no hidden name: a Mac leaves `._job.json` beside `job.json`. Raises as `list_folder`
    for each folder on the way: pathlib's `glob` leaves out what it may not list.
    """
    first, *others = pattern.split("/")
    paths = [folder / name for name in _names_like(first, folder)]
    for part in others:
        folders = [path for path in paths if not is_broken_link(path)]
        paths = [path / name for path in folders for name in _names_like(part, path)]
    return paths


def _names_like(pattern: str, folder: Path) -> list[str]:
    if set("*?[") & set(pattern):
        return matching(list_names(folder), pattern)
    try:
        os.lstat(folder / pattern)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise listing_error(error, folder) from None
    return [pattern]


def listing_error(error: OSError, folder: Path | str) -> CosmosError:
    """Return the error of a folder that cannot be listed: the user's, or of the disk."""
    message = f"{folder}: cannot be listed ({error.strerror})"
    return convert_os_error(error, message)


def folders_with(root: Path, name: str) -> list[Path]:
    """Return the folders in `root` that hold something of this name, or pattern as of `find_paths`, in order.

    Hidden folders, such as snapshots of the file system, are left out, and so are those that this user may
    not enter, which are another's. Raises as `list_folder` for `root`, and TransientError when a disk fails.
    """
    folders: list[Path] = []
    for folder in (root / child for child in list_names(root)):
        with suppress(InputError):
            if find_paths(folder, name):
                folders.append(folder)
    return folders
