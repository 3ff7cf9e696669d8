"""Tars in webdataset's format (KEY.jpg beside KEY.json), written once, read at random by their indexes."""

import io
import json
import os
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from hashlib import file_digest
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from cosmos.config.machine import Machine
from cosmos.data.captions import captions_in
from cosmos.data.manifest import Manifest, ShardInfo
from cosmos.data.remote_shards import cached_copy, forget_copy, is_remote
from cosmos.data.sample import Sample
from cosmos.data.shard_index import (
    MAX_ANNOTATION_BYTES,
    MAX_IMAGE_BYTES,
    SampleLocation,
    ShardIndex,
    index_path,
)
from cosmos.errors import DamagedDataError, InputError
from cosmos.run.files import replacing

OPEN_SHARDS = 32

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)


class ShardedSamples:
    """The samples of a split in the order of its manifest, read at random.

    Safe to use from several threads, after a fork, and to pickle. It opens shards when they are first read
    and keeps the last OPEN_SHARDS of them open. Remote shards are copied whole (see `remote.cached_copy`).
    """

    def __init__(self, folder: Path, machine: Machine) -> None:
        """Reads the manifest in `folder`. ValueError when it is missing or broken."""
        self.manifest = Manifest.read(folder)
        self.shard_sizes: tuple[int, ...] = tuple(shard.num_samples for shard in self.manifest.shards)
        self._folder = folder
        self._machine = machine
        self._starts = list(accumulate(self.shard_sizes, initial=0))
        self._open = lru_cache(maxsize=OPEN_SHARDS)(partial(_OpenShard, folder, machine))

    def __len__(self) -> int:
        return self._starts[-1]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._folder, self._machine)

    def read(self, index: int) -> Sample:
        """Sample number `index` of the split.

        Raises IndexError outside of [0, len), DamagedDataError when its shard is missing or truncated, or
        its annotation is broken. Whether the image can be decoded is the reader's to find out.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self._folder}")
        shard = bisect_right(self._starts, index) - 1
        info = self.manifest.shards[shard]
        opened = self._open(info)
        located = opened.index[index - self._starts[shard]]
        where = f"{info.path}: sample {located.key}"
        image = opened.read(where, located.image_offset, located.image_size, MAX_IMAGE_BYTES)
        text = opened.read(where, located.annotation_offset, located.annotation_size, MAX_ANNOTATION_BYTES)
        return Sample(located.key, image, self._annotation(where, text, located.is_text))

    def _annotation(self, where: str, text: bytes, is_text: bool) -> dict[str, Any]:
        try:
            return captions_in(self.manifest.schema, parse_annotation(text, is_text))
        except ValueError as error:
            raise DamagedDataError(f"{where}: {error}") from None

    def damaged_shards(self) -> list[str]:
        """`path: what is wrong` of local shards that are missing or of another size than the manifest says.

        Quick: looks at no content, and not at remote shards.
        """
        local = [shard for shard in self.manifest.shards if not is_remote(shard.path)]
        return [
            f"{shard.path}: {problem}" for shard in local if (problem := size_problem(self._folder, shard))
        ]


class _OpenShard:
    """A shard that is open for reading; closed when nobody refers to it any more."""

    def __init__(self, folder: Path, machine: Machine, info: ShardInfo) -> None:
        self._descriptor = -1
        self.index = ShardIndex.read(index_path(folder, info.path))
        if len(self.index) != info.num_samples:
            raise DamagedDataError(f"{info.path}: its index is another's; run `cosmos prepare` again")
        self._descriptor = _open_descriptor(folder, machine, info)

    def read(self, where: str, offset: int, size: int, limit: int) -> bytes:
        """`size` bytes from `offset`."""
        if not 0 <= size <= limit:
            raise DamagedDataError(f"{where}: {size} bytes are more than the {limit} that are allowed")
        try:
            content = os.pread(self._descriptor, size, offset)
        except OSError as error:  # a disk or a network file system that fails
            raise DamagedDataError(f"{where}: cannot be read ({error.strerror})") from None
        if len(content) != size:
            raise DamagedDataError(f"{where}: the shard ends in the middle of it")
        return content

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _open_descriptor(folder: Path, machine: Machine, info: ShardInfo) -> int:
    for _ in range(2):  # another process may remove the copy before it is opened
        path = cached_copy(info.path, machine) if is_remote(info.path) else folder / info.path
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DamagedDataError(f"{info.path}: cannot be opened ({error.strerror})") from None
        size = os.fstat(descriptor).st_size
        if size == info.num_bytes:
            return descriptor
        os.close(descriptor)
        if is_remote(info.path):
            forget_copy(info.path, machine)
        raise DamagedDataError(f"{info.path}: has {size} bytes, the manifest says {info.num_bytes}")
    raise DamagedDataError(f"{info.path}: no such shard; run `cosmos prepare` again")


def size_problem(folder: Path, info: ShardInfo) -> str:
    """What is wrong with the file of a local shard, without a look into it; "" when nothing is."""
    try:
        size = (folder / info.path).stat().st_size
    except OSError as error:
        return error.strerror or "missing"
    return "" if size == info.num_bytes else f"has {size} bytes, not {info.num_bytes}"


def parse_annotation(text: bytes, is_text: bool) -> Any:
    """What an annotation's bytes hold: a caption (`is_text`) or a JSON value. ValueError when broken."""
    try:
        decoded = text.decode("utf-8-sig")
        return decoded if is_text else json.loads(decoded)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"broken {'text' if is_text else 'JSON'} ({error})") from None


def annotation_bytes(annotation: dict[str, Any]) -> bytes:
    """An annotation as it is written into a shard. ValueError when it is larger than what is read back."""
    text = json.dumps(annotation, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > MAX_ANNOTATION_BYTES:
        raise InputError(f"captions of {len(text)} bytes are more than the {MAX_ANNOTATION_BYTES} allowed")
    return text


def write_shard(path: Path, samples: Iterable[Sample]) -> ShardInfo:
    """Writes `samples` into the tar `path` and its index beside it, each atomically.

    Images keep their bytes. Equal samples give equal files, byte for byte. Keys must be `indexing.safe_key`s.
    ValueError when two are the same or an image is in no known format.
    """
    with replacing(path) as temporary:
        with (
            temporary.open("wb") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            index = ShardIndex.of(_added(tar, file, samples))
        info = describe_shard(temporary, path.name, len(index))
    index.write(index_path(path.parent, path.name))
    return info


def describe_shard(file: Path, path: str, num_samples: int) -> ShardInfo:
    """The manifest's line about the shard in `file`, which readers find at `path`."""
    with file.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    return ShardInfo(path, num_samples, file.stat().st_size, digest)


def _added(tar: tarfile.TarFile, file: BinaryIO, samples: Iterable[Sample]) -> Iterator[SampleLocation]:
    for sample in samples:
        annotation = annotation_bytes(sample.annotation)
        image_offset = _add(tar, file, f"{sample.key}.{image_extension(sample)}", sample.image)
        annotation_offset = _add(tar, file, f"{sample.key}.json", annotation)
        yield SampleLocation(sample.key, image_offset, len(sample.image), annotation_offset, len(annotation))


def _add(tar: tarfile.TarFile, file: BinaryIO, name: str, content: bytes) -> int:
    """Adds a file to the tar; the offset of its first byte. Its times, owner and mode are always the same."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    offset = file.tell() + tarfile.BLOCKSIZE
    tar.addfile(member, io.BytesIO(content))
    return offset


def image_extension(sample: Sample) -> str:
    """File extension of a sample's image, by its first bytes. DamagedDataError when they are unknown."""
    if sample.image[:4] == b"RIFF" and sample.image[8:12] == b"WEBP":
        return "webp"
    for signature, extension in _SIGNATURES:
        if sample.image.startswith(signature):
            return extension
    raise DamagedDataError(f"{sample.key}: not a JPEG, PNG, WebP, GIF, BMP or TIFF image")
