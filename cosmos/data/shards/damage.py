"""Damage of shards, as far as it shows without reading them, and of samples that were read."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cosmos.config.machine import Machine
from cosmos.data.manifest import ShardInfo
from cosmos.data.shards.index import index_path
from cosmos.data.shards.remote import copied_size, is_remote, listed_sizes, stored_size
from cosmos.errors import CosmosError, DamagedDataError, TransientError, convert_os_error, is_forbidden

NO_SUCH_SHARD = "no such file"

STORAGE_REQUESTS = 32
"""Requests to a storage, or to a disk in a network, at a time."""

FILES_PER_REQUEST = 32
"""Local shards that a thread looks at in turn: on a local disk, handing over each of them costs more."""


@dataclass(frozen=True)
class ShardDamage:
    """A shard whose file or index is missing, or whose size differs from the manifest's."""

    shard: ShardInfo
    problem: str

    def __str__(self) -> str:
        return f"{self.shard.path}: {self.problem}"


@dataclass(frozen=True)
class SampleDamage:
    """A sample that was read and cannot be used."""

    index: int
    """number in its split"""
    problem: str
    """names its shard, too"""


def shard_name(folder: Path, shard: str) -> str:
    """Return the whole path of a shard of the dataset in `folder`, or its URL, as errors name it."""
    return shard if is_remote(shard) else str(folder / shard)


def find_damage(shard: ShardInfo, file: Path | int, name: str = "") -> ShardDamage | None:
    """Return the damage of a shard in `file`, a path or a descriptor; None where there is none.

    `name`: of the file in errors, where it is a descriptor.
    Raises InputError for a file that this user may not read, TransientError when the disk fails.
    """
    try:
        size = os.stat(file).st_size  # noqa: PTH116, which knows no descriptors
    except (FileNotFoundError, NotADirectoryError):
        return ShardDamage(shard, NO_SUCH_SHARD)
    except OSError as error:
        raise unreadable_shard(name or str(file), error) from None
    return _size_damage(shard, size)


def find_local_damage(shard: ShardInfo, folder: Path) -> ShardDamage | None:
    """Return the damage of a shard of the dataset in `folder`, or of its index; None where there is none.

    Of a remote shard, the index alone is looked at. Raises as `find_damage`.
    """
    damage = None if is_remote(shard.path) else find_damage(shard, folder / shard.path)
    return damage or _find_index_damage(shard, index_path(folder, shard.path))


def _find_index_damage(shard: ShardInfo, index: Path) -> ShardDamage | None:
    try:
        is_empty = index.stat().st_size == 0
    except (FileNotFoundError, NotADirectoryError):
        return ShardDamage(shard, f"its index {index.name} is missing")
    except OSError as error:
        raise unreadable_shard(index, error) from None
    return ShardDamage(shard, f"its index {index.name} is empty") if is_empty else None


def find_remote_damage(shards: Iterable[ShardInfo], machine: Machine) -> list[ShardDamage]:
    """Return the damage of remote shards, as far as their storages know.

    No shard that is copied already is asked for, and none that a listing of its folder shows to be whole.
    Raises InputError for a wrong URL or refused access, TransientError when the storage fails.
    """
    needed = [shard for shard in shards if copied_size(shard.path, machine) != shard.num_bytes]
    sizes = listed_sizes((shard.path for shard in needed), machine)
    unsure = [shard for shard in needed if sizes.get(shard.path) != shard.num_bytes]
    return _find_in_threads(lambda shard: _find_stored_damage(shard, machine), unsure, 1)


def find_damaged_files(shards: Sequence[ShardInfo], folder: Path) -> list[ShardDamage]:
    """Return the damage of local shards of the dataset in `folder`, and of all indexes.

    Looks at several at a time, since disks in a network take their time for each. Raises as `find_damage`.
    """
    return _find_in_threads(lambda shard: find_local_damage(shard, folder), shards, FILES_PER_REQUEST)


def _find_in_threads(
    find: Callable[[ShardInfo], ShardDamage | None], shards: Sequence[ShardInfo], per_task: int
) -> list[ShardDamage]:
    """Return the damage that `find` finds, in order, of several shards at a time."""
    pool = ThreadPoolExecutor(STORAGE_REQUESTS)
    parts = [shards[first : first + per_task] for first in range(0, len(shards), per_task)]
    try:
        results = chain.from_iterable(pool.map(lambda part: [*map(find, part)], parts))
        return [damage for damage in results if damage]
    finally:
        pool.shutdown(cancel_futures=True)


def _find_stored_damage(shard: ShardInfo, machine: Machine) -> ShardDamage | None:
    try:
        size = stored_size(shard.path, machine)
    except DamagedDataError:
        return ShardDamage(shard, NO_SUCH_SHARD)
    return _size_damage(shard, shard.num_bytes if size is None else size)


def _size_damage(shard: ShardInfo, size: int) -> ShardDamage | None:
    if size == shard.num_bytes:
        return None
    return ShardDamage(shard, f"has {size} bytes, the manifest says {shard.num_bytes}")


def is_whole(shard: ShardInfo, folder: Path) -> bool:
    """Return True when a shard of the dataset in `folder` and its index exist. Raises as `find_damage`."""
    return find_local_damage(shard, folder) is None


def absent_shard(name: str, damage: ShardDamage) -> TransientError:
    """Return the error of a shard that was whole when its readers began, and may be so again."""
    return TransientError(f"{name}: {damage.problem}")


def unreadable_shard(name: str | Path, error: OSError) -> CosmosError:
    """Return the error of a shard or index that cannot be opened: of permissions, the disk, or damage."""
    message = f"{name}: cannot be opened ({error.strerror})"
    if is_forbidden(error):
        return convert_os_error(error, message)
    return convert_os_error(error, message, DamagedDataError, "run `cosmos prepare` again")
