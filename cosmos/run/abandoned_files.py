"""Temporary files and folders that killed processes left, known by their names, and their removal."""

import logging
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

from cosmos.config.disk_reading import is_dir, lexists
from cosmos.config.process_space import process_space

logger = logging.getLogger(__name__)

TEMPORARY = re.compile(r"\.(?P<target>.+)\.cosmos\.(?P<space>.+)\.(?P<pid>\d{1,9})\.(?P<kind>tmp|old)")
"""Pattern of the names of temporary files, and of folders renamed to be replaced (`old`)."""
ABANDONED_SECONDS = 2 * 24 * 3600
"""Age at which a temporary file is abandoned, whatever host and process its name has."""


def temporary_path(path: Path, kind: str = "tmp") -> Path:
    """Return a path beside `path` for this process alone, by which `remove_abandoned` knows it."""
    return path.with_name(f".{path.name}.cosmos.{process_space()}.{os.getpid()}.{kind}")


def discard(path: Path) -> None:
    """Remove a file or folder that nobody needs, if it is there; log a warning where that fails."""
    try:
        if is_dir(path) and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s: a remainder that cannot be removed (%s); remove it", path, error.strerror)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files and folders in a folder whose process was killed.

    Each is known by its process on this host, or else by its age. A folder that was to be replaced gets its
    name again where nothing has taken it.
    """
    for path in (*folder.glob(".*.tmp"), *folder.glob(".*.old")):
        if _is_abandoned(path):
            name = TEMPORARY.fullmatch(path.name)
            target = path.with_name(name["target"]) if name and name["kind"] == "old" else None
            if target and not lexists(target):
                path.rename(target)
            else:
                discard(path)


def _is_abandoned(path: Path) -> bool:
    """Return True for a temporary file or folder of a process that is gone, or of days ago."""
    name, host = TEMPORARY.fullmatch(path.name), re.escape(socket.gethostname())
    before = re.fullmatch(rf"\..+\.{host}\.(?P<pid>\d{{1,9}})\.tmp", path.name)  # of earlier versions
    if before and not _process_exists(int(before["pid"])):
        return True
    if name and name["space"] == process_space() and not _process_exists(int(name["pid"])):
        return True
    return bool(name) and is_unchanged_for(ABANDONED_SECONDS, path)


def is_unchanged_for(seconds: float, path: Path) -> bool:
    """Return True for a file that was last changed so long ago, by this host's clock and by its disk's.

    Hosts that share a disk may have clocks that are years apart: by one of them, live files seem old. A disk
    on which this user cannot write tells no time.
    """
    try:
        changed = path.lstat().st_mtime
        return time.time() - changed > seconds and _time_of_disk(path.parent) - changed > seconds
    except OSError:  # it was removed meanwhile
        return False


def _time_of_disk(folder: Path) -> float:
    """Return the time that a folder's disk gives to a new file: of a file server, by its own clock."""
    probe = temporary_path(folder / "clock")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _process_exists(pid: int) -> bool:
    """Return True for a process that runs; one that has ended counts as gone before its parent notes it."""
    with suppress(OSError):  # of another user, or no Linux
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        if state[:1] == [b"Z"]:
            return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
