"""Damage of a shard's file, as far as it shows without reading the file."""

import os
from dataclasses import dataclass
from pathlib import Path

from cosmos.data.manifest import ShardInfo
from cosmos.data.shards.index import index_path
from cosmos.data.shards.remote import is_remote
from cosmos.errors import CosmosError, DamagedDataError, InputError, convert_os_error

NO_SUCH_SHARD = "no such shard; run `cosmos prepare` again"


@dataclass(frozen=True)
class ShardDamage:
    """A shard whose file is missing, or of another size than the manifest says."""

    shard: ShardInfo
    problem: str

    def __str__(self) -> str:
        return f"{self.shard.path}: {self.problem}"


def find_damage(shard: ShardInfo, file: Path | int) -> ShardDamage | None:
    """Return the damage of a shard in `file`, a path or a descriptor; None where there is none.

    Raises InputError for a file that this user may not read, TransientError when the disk fails.
    """
    try:
        size = os.stat(file).st_size  # noqa: PTH116, which knows no descriptors
    except (FileNotFoundError, NotADirectoryError):
        return ShardDamage(shard, NO_SUCH_SHARD)
    except OSError as error:
        raise unreadable_shard(shard, error) from None
    if size != shard.num_bytes:
        return ShardDamage(shard, f"has {size} bytes, the manifest says {shard.num_bytes}")
    return None


def find_local_damage(shard: ShardInfo, folder: Path) -> ShardDamage | None:
    """Return the damage of a local shard of the dataset in `folder`; None for a remote shard.

    Raises as `find_damage`.
    """
    return None if is_remote(shard.path) else find_damage(shard, folder / shard.path)


def is_whole(shard: ShardInfo, folder: Path) -> bool:
    """Return True when a shard of the dataset in `folder` and its index exist. Raises as `find_damage`."""
    return find_local_damage(shard, folder) is None and index_path(folder, shard.path).is_file()


def unreadable_shard(shard: ShardInfo, error: OSError) -> CosmosError:
    """Return the error of a shard that cannot be opened: the user's, of the disk, or damage."""
    message = f"{shard.path}: cannot be opened ({error.strerror})"
    if isinstance(error, PermissionError):
        return InputError(f"{message}; let this user read it")
    return convert_os_error(error, message, DamagedDataError, "run `cosmos prepare` again")
