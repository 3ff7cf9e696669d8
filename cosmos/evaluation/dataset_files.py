"""Files of datasets: checks that they are there, their keys, and the classes of errors in reading them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cosmos.config.disk_reading import is_dir, is_file
from cosmos.data.sources.caption_files import locate_below
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    InputError,
    TransientError,
    class_of_os_error,
    is_forbidden,
    is_permanent,
    summarize_error,
)
from cosmos.evaluation.fingerprint import fingerprint_strings

MAX_NAMED_FILES = 5
"""Missing files that an error names."""

PUBLISHED_REMEDY = "`cosmos datasets` shows what it expects"
"""Advice on a published dataset that is not there."""

DEMO_REMEDY = "`cosmos prepare` draws it where data.source is demo"
"""Advice on a set of the demo world that is not there."""


def convert_read_error(error: OSError, path: Path | str, problem: str = "cannot be read") -> CosmosError:
    """Return the error of ours to raise for `error`, met in reading `path`; its message names both.

    Its class is that of `class_of_os_error`; DamagedDataError where a library refuses its bytes (it gives no
    error number). A TransientError stays as it is.
    """
    if isinstance(error, TransientError):
        return error
    message = f"{path}: {problem}: {error.strerror or error}"
    is_of_library = error.errno is None and not is_permanent(error)
    return (DamagedDataError if is_of_library else class_of_os_error(error))(message)


def unreadable_dataset(folder: Path, error: Exception, remedy: str) -> CosmosError:
    """Return the error of ours for `error`, in which the reader of a published dataset in `folder` ended.

    TransientError where the disk failed, NotPermittedError where a file may not be read, or InputError.
    """
    if is_transient(error):
        return TransientError(f"{folder}: {error}")
    if isinstance(error, OSError) and is_forbidden(error):
        return convert_read_error(error, error.filename or folder)
    # the message of a RuntimeError is advice on torchvision's arguments
    reason = "files are missing or damaged" if isinstance(error, RuntimeError) else summarize_error(error)
    return InputError(f"{folder}: not the whole dataset ({reason}); {remedy}")


def is_transient(error: Exception) -> bool:
    """Return True for an error of the operating system after which the same read may succeed later.

    Libraries raise OSError for damaged bytes, too, but without an error number.
    """
    if isinstance(error, TransientError):
        return True
    return isinstance(error, OSError) and error.errno is not None and not is_permanent(error)


def file_key(path: Path, folder: Path) -> str:
    """Return a key of a file's content: its path below `folder`, its size and the time of its last change."""
    status = path.stat()
    return f"{path.relative_to(folder).as_posix()}:{status.st_size}:{status.st_mtime_ns}"


def listing_hash(keys: Iterable[str]) -> str:
    """Return a hash of the paths and sizes in keys of `file_key`, which is the same for a copy."""
    return fingerprint_strings(key.rpartition(":")[0] for key in keys)


def locate_images(
    listed_in: Path,
    folder: Path,
    names: Sequence[str],
    remedy: str,
    place: Callable[[Path, str], Path] = locate_below,
) -> list[Path]:
    """Return the files in `folder` that `listed_in` names; `place` maps folder and name to a path below it.

    Raises InputError for a missing folder, names that lead outside, and files that are missing: how many, and
    which.
    """
    if not is_dir(folder):
        raise InputError(f"{folder}: no such folder; {remedy}")
    try:
        paths = [place(folder, name) for name in names]
    except InputError as error:
        raise InputError(f"{listed_in}: {error}; correct the name") from None
    check_all_exist(listed_in, "images", list(dict.fromkeys(paths)), remedy)
    return paths


def check_file_exists(path: Path, remedy: str) -> None:
    """Raise InputError when there is no such file."""
    if not is_file(path):
        raise InputError(f"{path}: no such file; {remedy}")


def check_all_exist(listed_in: Path, kind: str, paths: Sequence[Path], remedy: str) -> None:
    """Raise InputError when files of a kind, such as images, are missing: how many, and which."""
    missing = [path for path in paths if not is_file(path)]
    if missing:
        named = ", ".join(map(str, missing[:MAX_NAMED_FILES])) + (", ..." * (len(missing) > MAX_NAMED_FILES))
        raise InputError(
            f"{listed_in}: {len(missing):,} of {len(paths):,} {kind} are missing: {named}; {remedy}"
        )
