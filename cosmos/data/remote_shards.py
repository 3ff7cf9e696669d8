"""Shards in object storage: copied whole, a bounded number of them kept."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec

from cosmos.config.machine import Machine
from cosmos.errors import DamagedDataError, InputError

ABANDONED_SECONDS = 3600.0


def is_remote(path: str) -> bool:
    """Whether `path` is a URL, such as s3://bucket/00000.tar."""
    return "://" in path


def file_system(url: str, machine: Machine) -> tuple[Any, str]:
    """The fsspec file system of `url`, and the path on it. ValueError says what is not installed."""
    try:
        file_system, path = fsspec.core.url_to_fs(url, **machine.storage_options)
    except ImportError as error:
        raise InputError(
            f"{url}: {error}; for s3:// install this package with the extra `s3`, else the fsspec "
            "package of this storage"
        ) from None
    except ValueError as error:
        raise InputError(f"{url}: {error}; correct the URL") from None
    return file_system, path


def cached_copy(url: str, machine: Machine) -> Path:
    """A local copy of the shard at `url`, made when there is none.

    Of all copies in `machine.cache_root`, the `machine.cached_shards` used last are kept. Raises
    DamagedDataError when the shard cannot be copied.
    """
    copy = _copy_path(url, machine)
    try:
        os.utime(copy)  # the time of its last use
    except FileNotFoundError:
        with temporary_copy(url, machine) as temporary:
            temporary.rename(copy)
        _evict(copy.parent, machine.cached_shards)
    return copy


def forget_copy(url: str, machine: Machine) -> None:
    """Removes the local copy of `url`, so that the next use copies it again."""
    _copy_path(url, machine).unlink(missing_ok=True)


@contextmanager
def temporary_copy(url: str, machine: Machine) -> Iterator[Path]:
    """A local copy of the shard at `url` that nobody else knows of, removed in the end unless it was renamed.

    Raises DamagedDataError when the shard cannot be copied.
    """
    source, path = file_system(url, machine)
    folder = _copy_path(url, machine).parent
    folder.mkdir(parents=True, exist_ok=True)
    # No other thread, process, or host that shares the folder, has this name.
    handle, name = tempfile.mkstemp(suffix=".part", dir=folder)
    os.close(handle)
    try:
        try:
            source.get_file(path, name)
        except Exception as error:  # every storage has errors of its own
            reason = f"{type(error).__name__}: {error}"
            raise DamagedDataError(f"{url}: cannot be copied ({reason})") from None
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _copy_path(url: str, machine: Machine) -> Path:
    return machine.cache_root / "shards" / f"{sha256(url.encode()).hexdigest()[:32]}.tar"


def _evict(folder: Path, keep: int) -> None:
    """Removes all but the `keep` copies used last, and what killed processes left half copied."""
    copies = sorted(folder.glob("*.tar"), key=_last_use, reverse=True)
    abandoned = (part for part in folder.glob("*.part") if _last_use(part) < time.time() - ABANDONED_SECONDS)
    for path in (*copies[keep:], *abandoned):
        path.unlink(missing_ok=True)


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process removed it
        return 0.0
