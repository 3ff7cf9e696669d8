"""Index of a shard: names of its samples and their places in the tar, so that any is one read away."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from cosmos.config.disk_reading import open_regular
from cosmos.data.array_archive import read_arrays
from cosmos.errors import DamagedDataError, InputError, convert_os_error, is_forbidden
from cosmos.run.files import replacing

MAX_IMAGE_BYTES = 256 * 2**20
MAX_ANNOTATION_BYTES = 2**20
MAX_KEY_CHARACTERS = 80

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


class SampleLocation(NamedTuple):
    """A sample's name, and offset and size of its image and annotation in a tar."""

    key: str
    image_offset: int
    image_size: int
    annotation_offset: int
    annotation_size: int
    is_text: bool = False
    """the annotation is a caption in plain text, not JSON"""
    checksum: int | None = None
    """`sample_checksum` of its bytes; None in an index of an earlier version"""


def sample_checksum(image: bytes, annotation: bytes) -> int:
    """Return the CRC-32 of a sample's bytes; it takes less than a hundredth of the time of decoding them."""
    return crc32(annotation, crc32(image))


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """Locations of a shard's N samples, in order.

    Its file is a zip archive, whose checksums show any damage of it when it is read.
    """

    keys: NDArray[np.bytes_]
    """(N,) names in ASCII"""
    spans: NDArray[np.int64]
    """(N, 4): offset and size of the image, offset and size of the annotation, in bytes"""
    is_text: NDArray[np.bool_]
    """(N,): the annotation is a caption in plain text, not JSON"""
    checksums: NDArray[np.uint32] | None = None
    """(N,): checksums of the samples' bytes; None in an index of an earlier version"""
    shard: str = ""
    """SHA-256 of the shard; "" in an index of an earlier version"""

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, position: int) -> SampleLocation:
        image_offset, image_size, annotation_offset, annotation_size = self.spans[position].tolist()
        key, is_text = self.keys[position].decode(), bool(self.is_text[position])
        checksum = None if self.checksums is None else int(self.checksums[position])
        place = image_offset, image_size, annotation_offset, annotation_size
        return SampleLocation(key, *place, is_text, checksum)

    @classmethod
    def of(cls, samples: Iterable[SampleLocation]) -> Self:
        """Return the index that lists `samples`. Raises InputError that names a key that is there twice."""
        rows = list(samples)
        seen: set[str] = set()
        for row in rows:
            if row.key in seen:
                raise InputError(f"two samples of a shard have the key {row.key!r}; keys must be unique")
            seen.add(row.key)
        return cls(
            np.array([row.key.encode("ascii") for row in rows], dtype=np.bytes_),
            np.array([row[1:5] for row in rows], dtype=np.int64).reshape(-1, 4),
            np.array([row.is_text for row in rows], dtype=np.bool_),
            _checksums(rows),
        )

    def write(self, path: Path) -> None:
        """Write the index to `path`, atomically; equal indexes give equal files."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **self._arrays())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the index in the file `path`.

        Raises DamagedDataError when it is missing or broken, NotPermittedError when this user may not read
        it, TransientError when the disk fails.
        """
        try:
            with open_regular(path) as file:
                content = file.read()
        except OSError as error:
            if is_forbidden(error):
                raise convert_os_error(error, f"{path}: cannot be read ({error.strerror})") from None
            message = _broken_index(path, error.strerror or error)
            raise convert_os_error(error, message, DamagedDataError) from None
        try:
            index = cls._from_arrays(read_arrays(content))
            problem = index._problem()
        except (ValueError, TypeError, AttributeError) as error:
            raise DamagedDataError(_broken_index(path, error)) from None
        if problem:
            raise DamagedDataError(_broken_index(path, problem))
        return index

    def _arrays(self) -> dict[str, Any]:
        """Return the arrays of its file, those first that an earlier version lacks.

        Whatever cuts the archive's list of arrays, which no checksum protects, loses others with them.
        """
        arrays = {"keys": self.keys, "spans": self.spans, "is_text": self.is_text}
        if self.checksums is not None:
            arrays = {"checksums": self.checksums, **arrays}
        return {"shard": np.array(self.shard), **arrays} if self.shard else arrays

    @classmethod
    def _from_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Return the index of a file's arrays. Raises TypeError for arrays that are missing or unknown."""
        shard = str(arrays.pop("shard", ""))
        return cls(**arrays, shard=shard)

    def _problem(self) -> str:
        """Return the reason why `of` cannot have made these arrays; "" for none."""
        rows = self.keys.size
        checksums = np.zeros(rows, np.uint32) if self.checksums is None else self.checksums
        shapes = (self.keys.shape, self.is_text.shape, checksums.shape, self.spans.shape)
        if shapes != ((rows,), (rows,), (rows,), (rows, 4)):
            return "its arrays are of different lengths"
        types = [array.dtype.str[1:] for array in (self.spans, self.is_text, checksums)]
        if self.keys.dtype.kind != "S" or types != ["i8", "b1", "u4"]:
            return "its arrays are of other types"
        if not self.keys.tobytes().isascii() or (self.spans < 0).any():
            return "it holds keys or places that cannot be"
        return ""


def _checksums(rows: Sequence[SampleLocation]) -> NDArray[np.uint32] | None:
    checksums = [row.checksum for row in rows if row.checksum is not None]
    return np.array(checksums, np.uint32) if len(checksums) == len(rows) else None


def _broken_index(path: Path, problem: object) -> str:
    return f"{path}: not an index ({problem}); delete it and run `cosmos prepare` again"


def index_path(folder: Path, shard: str) -> Path:
    """Return the path of a shard's index; `shard` is a file name in `folder`, or a path or URL elsewhere."""
    return folder / f"{shard_stem(shard)}.idx.npz"


def shard_stem(shard: str) -> str:
    """Return the stem of names of files about a shard; it differs for shards of one name in two folders."""
    stem = PurePosixPath(shard).stem
    return stem if "/" not in shard else f"{safe_key(stem)}-{_digest(shard)}"


def safe_key(name: str) -> str:
    """Return `name` as a sample's key: letters, digits, `_` and `-`, at most MAX_KEY_CHARACTERS.

    A name that is too long, or has letters of other scripts than the Latin one, gets a digest at its end.
    """
    key = _UNSAFE.sub("_", name) or "_"
    if len(key) <= MAX_KEY_CHARACTERS and (name.isascii() or _is_latin(name)):
        return key
    return f"{key[: MAX_KEY_CHARACTERS - 13]}-{_digest(name)}"


def _is_latin(name: str) -> bool:
    """Return True for a name whose letters are Latin ones, with or without accents, if it has any."""
    letters = [letter for letter in name if letter.isalpha()]
    others = (
        letter for letter in letters if letter >= "\u0370" and "LATIN" not in unicodedata.name(letter, "")
    )
    return bool(letters or re.search("[0-9]", name)) and next(others, None) is None


def unique_keys(names: Iterable[str]) -> Iterator[str]:
    """Yield a key for each name, in order; names whose keys would be the same get a number behind it."""
    used: set[str] = set()
    numbers = Counter[str]()
    for name in names:
        base = key = safe_key(name)
        while key in used:
            numbers[base] += 1
            key = f"{base}-{numbers[base] + 1}"
        used.add(key)
        yield key


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
