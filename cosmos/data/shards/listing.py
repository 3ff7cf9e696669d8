"""Files of a split by the names in their folders: no shard is opened, and no storage is asked."""

from collections.abc import Iterator
from pathlib import Path

from cosmos.config.disk_reading import list_folder
from cosmos.data.manifest import Manifest
from cosmos.data.shards.index import index_path
from cosmos.data.shards.remote import is_remote


def find_missing_files(folder: Path, manifest: Manifest) -> list[Path]:
    """Return the local shards, and the indexes of all, that the folders they should lie in do not list.

    A folder is listed once, however many shards it has. Raises as `list_folder`.
    """
    files = list(_local_files(folder, manifest))
    names = {
        parent: frozenset(list_folder(parent)) for parent in dict.fromkeys(file.parent for file in files)
    }
    return [file for file in files if file.name not in names[file.parent]]


def _local_files(folder: Path, manifest: Manifest) -> Iterator[Path]:
    for shard in manifest.shards:
        if not is_remote(shard.path):
            yield folder / shard.path
        yield index_path(folder, shard.path)
