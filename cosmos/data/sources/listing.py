"""Listing of a source: number, bytes and a digest of its files, which tell whether it has grown."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from cosmos.config.disk_reading import exists, is_dir, is_file
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.folders import walk_files
from cosmos.data.shards.existing import find_shards
from cosmos.data.shards.remote import is_remote
from cosmos.errors import CosmosError
from cosmos.run.files import write_json
from cosmos.run.records import read_record

logger = logging.getLogger(__name__)

LISTING_FILE = "source.json"

MODULUS = 2**128


@dataclass(frozen=True)
class SourceListing:
    """Files of a source: the same for the same names and sizes, wherever and whenever they are listed."""

    num_files: int
    num_bytes: int
    digest: str
    """digest of their names and sizes, in whatever order they come"""

    def write(self, folder: Path) -> None:
        """Write the listing into the folder of the dataset that is prepared from the source."""
        write_json(folder / LISTING_FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the listing of the source of the dataset in `folder`; None where none was recorded.

        Raises DamagedDataError for a broken one, TransientError when the disk fails.
        """
        path = folder / LISTING_FILE
        if not exists(path):
            return None
        return read_record(path, cls, "listing of a source", "delete it")


@dataclass(frozen=True)
class SourceState:
    """A source as it is now."""

    listing: SourceListing
    newest: float
    """time of the last change of a file, in seconds; times that are yet to come are passed over"""


def inspect_source(params: DataParams, machine: Machine, seconds: float) -> SourceState | None:
    """Return the state of a source; None where it has no local files, or listing takes more than `seconds`.

    Files that cannot be listed are left out: reading them will fail, and name them.
    """
    started, end = time.time(), time.monotonic() + seconds
    num_files, num_bytes, digest, newest = 0, 0, 0, 0.0
    try:
        for name, path in _files(params, machine):
            status = path.stat() if exists(path) else path.lstat()
            num_files, num_bytes = num_files + 1, num_bytes + status.st_size
            digest = (digest + _digest(f"{name}\0{status.st_size}")) % MODULUS
            newest = max(newest, status.st_mtime if status.st_mtime < started else 0)
            if time.monotonic() > end:
                logger.info("%s: not compared with its source, which takes longer to list", params.name)
                return None
    except (CosmosError, OSError):
        return None
    return SourceState(SourceListing(num_files, num_bytes, f"{digest:032x}"), newest) if num_files else None


def describe_difference(then: SourceListing, now: SourceListing) -> str:
    """Return the difference of two listings for people; "" where there is none."""
    if then == now:
        return ""
    if (then.num_files, then.num_bytes) == (now.num_files, now.num_bytes):
        return f"its {now.num_files:,} files have other names or sizes"
    sizes = (f"{listing.num_files:,} files of {listing.num_bytes:,} bytes" for listing in (now, then))
    return "{} now, {} then".format(*sizes)


def _files(params: DataParams, machine: Machine) -> Iterator[tuple[str, Path]]:
    """Yield (name, path) of the local files of a source; names do not depend on where the source lies."""
    if params.source == "shards" and not is_remote(params.annotations):
        yield from ((Path(shard).name, Path(shard)) for shard in find_shards(params.annotations, machine))
    elif params.source not in ("shards", "demo"):
        yield from _named("images", machine.source(params.images))
        yield from _named("annotations", machine.source(params.annotations) if params.annotations else None)


def _named(kind: str, place: Path | None) -> Iterable[tuple[str, Path]]:
    """Yield the files in a folder, or a file, with names that begin with `kind`."""
    if place is not None and is_dir(place):
        return ((f"{kind}/{path.relative_to(place).as_posix()}", path) for path in walk_files(place))
    return [(kind, place)] if place is not None and is_file(place) else []


def _digest(text: str) -> int:
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], "big")
