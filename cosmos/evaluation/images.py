"""Images as suites see them, whatever form they have on disk. They stay there until they are needed."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from cosmos.data.caption_files import path_below
from cosmos.data.image_crops import decode_image
from cosmos.data.shard_index import MAX_IMAGE_BYTES
from cosmos.data.shards import ShardedSamples
from cosmos.errors import DamagedDataError, InputError

MAX_NAMED = 5
"""Missing files that an error names."""

PUBLISHED_REMEDY = "`cosmos datasets` shows what it expects"
"""What to do about a published dataset that is not there."""

DEMO_REMEDY = "`cosmos prepare` draws it where data.source is demo"
"""What to do about a set of the demo world that is not there."""


class Images(Protocol):
    """Images by index, read and decoded when asked for. Worker processes get copies."""

    @property
    def collection(self) -> str:
        """What they are part of: cached embeddings of one collection are kept together."""

    def __len__(self) -> int:
        """How many there are."""

    def key(self, index: int) -> str:
        """What tells an image from every other of its collection, and from what it was before a change."""

    def read(self, index: int) -> Image.Image:
        """The RGB image. DamagedDataError names it and says why it cannot be read."""


@dataclass(frozen=True)
class ImageFiles:
    """Images in files of their own, below one folder."""

    folder: Path
    paths: tuple[Path, ...]
    max_pixels: int

    @property
    def collection(self) -> str:
        """The folder."""
        return str(self.folder.resolve())

    def __len__(self) -> int:
        return len(self.paths)

    def key(self, index: int) -> str:
        """Path below the folder, size and time of the last change."""
        return file_key(self.paths[index], self.folder)

    def read(self, index: int) -> Image.Image:
        """The RGB image. Raises DamagedDataError that names the file."""
        path = self.paths[index]
        try:
            if path.stat().st_size > MAX_IMAGE_BYTES:
                raise DamagedDataError(f"more than {MAX_IMAGE_BYTES} bytes")
            return decode_image(path.read_bytes(), self.max_pixels)
        except (OSError, DamagedDataError) as error:
            raise DamagedDataError(f"{path}: {error}") from None


@dataclass(frozen=True)
class ShardImages:
    """Images of a prepared split."""

    samples: ShardedSamples
    version: str
    """hash of the split's manifest"""
    max_pixels: int

    @property
    def collection(self) -> str:
        """The split, as its manifest has it."""
        return self.version

    def __len__(self) -> int:
        return len(self.samples)

    def key(self, index: int) -> str:
        """The place in the split."""
        return str(index)

    def read(self, index: int) -> Image.Image:
        """The RGB image. Raises DamagedDataError that names the sample."""
        sample = self.samples.read(index)
        try:
            return decode_image(sample.image, self.max_pixels)
        except DamagedDataError as error:
            raise DamagedDataError(f"sample {sample.key}: {error}") from None


def file_key(path: Path, folder: Path) -> str:
    """A file's path below `folder`, size and time of the last change: another key once it is another file."""
    status = path.stat()
    return f"{path.relative_to(folder).as_posix()}:{status.st_size}:{status.st_mtime_ns}"


def digest(parts: Iterable[str]) -> str:
    """Sixteen hex digits that tell one list of strings from another."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return whole.hexdigest()[:16]


def locate(
    listed_in: Path,
    folder: Path,
    names: Sequence[str],
    remedy: str,
    place: Callable[[Path, str], Path] = path_below,
) -> list[Path]:
    """Files in `folder` that `listed_in` names; `place` says where a name is, hopefully below the folder.

    ValueError for a missing folder, names that lead outside, and files that are missing: how many, and which.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {remedy}")
    try:
        paths = [place(folder, name) for name in names]
    except ValueError as error:
        raise InputError(f"{listed_in}: {error}; correct the name") from None
    check_present(listed_in, "images", list(dict.fromkeys(paths)), remedy)
    return paths


def check_file(path: Path, remedy: str) -> None:
    """ValueError when there is no such file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; {remedy}")


def check_present(where: Path, what: str, paths: Sequence[Path], remedy: str) -> None:
    """ValueError says how many of the files that `where` names or should hold are missing, and which."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        named = ", ".join(map(str, missing[:MAX_NAMED])) + (", ..." if len(missing) > MAX_NAMED else "")
        raise InputError(f"{where}: {len(missing):,} of {len(paths):,} {what} are missing: {named}; {remedy}")
