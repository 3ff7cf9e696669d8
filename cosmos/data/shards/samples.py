"""Tars in webdataset's format (KEY.jpg beside KEY.json), written once, read at random by their indexes."""

import io
import json
import os
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import file_digest
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Self

from cosmos.config.machine import Machine
from cosmos.data.captions import captions_in
from cosmos.data.manifest import MANIFEST_FILE, Manifest, ShardInfo
from cosmos.data.sample import Sample
from cosmos.data.shards.damage import (
    NO_SUCH_SHARD,
    ShardDamage,
    absent_shard,
    find_damage,
    find_damaged_files,
    find_local_damage,
    find_remote_damage,
    shard_name,
    unreadable_shard,
)
from cosmos.data.shards.index import (
    MAX_ANNOTATION_BYTES,
    MAX_IMAGE_BYTES,
    SampleLocation,
    ShardIndex,
    index_path,
    sample_checksum,
)
from cosmos.data.shards.remote import cached_copy, forget_copy, is_remote
from cosmos.errors import DamagedDataError, TransientError, convert_os_error
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
    """Samples of a split in the order of its manifest, read at random.

    Safe to use from several threads, after a fork, and to pickle. It opens shards when they are first read
    and keeps the last OPEN_SHARDS of them open. Remote shards are copied whole (`remote.cached_copy`).
    """

    def __init__(self, folder: Path, machine: Machine) -> None:
        """Read the manifest in `folder`. Raises as `Manifest.read`."""
        self.manifest = Manifest.read(folder)
        self.shard_sizes: tuple[int, ...] = tuple(shard.num_samples for shard in self.manifest.shards)
        self.folder = folder
        self._machine = machine
        self._starts = list(accumulate(self.shard_sizes, initial=0))
        self._copied_again: set[str] = set()
        self._open = lru_cache(maxsize=OPEN_SHARDS)(partial(OpenShard.find, folder, machine))

    def __len__(self) -> int:
        return self._starts[-1]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self._machine)

    def read(self, index: int) -> Sample:
        """Return sample number `index` of the split; its image is not decoded.

        Raises IndexError outside of [0, len); DamagedDataError when the sample is broken; InputError when the
        shard may not be read; TransientError when a disk or the network fails, and when a shard is not there
        or of another size: readers begin with `damaged_shards`, so that it was whole then.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.folder}")
        shard = bisect_right(self._starts, index) - 1
        info = self.manifest.shards[shard]
        try:
            return self.read_from(self._open(info), info, index - self._starts[shard])
        except TransientError:
            self._open.cache_clear()  # a stale handle, or one of a file that was replaced, never recovers
            raise
        except DamagedDataError:
            if not is_remote(info.path) or info.path in self._copied_again:
                raise
        self._copy_again(info)
        return self.read(index)

    def _copy_again(self, info: ShardInfo) -> None:
        """Forget the copy of a remote shard, once: it may be damaged where the storage's file is whole."""
        self._copied_again.add(info.path)
        forget_copy(info.path, self._machine)
        self._open.cache_clear()

    def read_from(self, opened: "OpenShard", info: ShardInfo, position: int) -> Sample:
        """Return the sample at a position of a shard. Raises as `read` for an open shard."""
        location = opened.index[position]
        where = f"{opened.name}: sample {location.key}"
        image = opened.read(where, location.image_offset, location.image_size, MAX_IMAGE_BYTES)
        text = opened.read(where, location.annotation_offset, location.annotation_size, MAX_ANNOTATION_BYTES)
        if location.checksum not in (None, sample_checksum(image, text)):
            raise DamagedDataError(f"{where}: its bytes are not those that were prepared")
        return Sample(location.key, image, self._annotation(where, text, location.is_text))

    def _annotation(self, where: str, text: bytes, is_text: bool) -> dict[str, Any]:
        try:
            return captions_in(self.manifest.schema, parse_annotation(text, is_text))
        except DamagedDataError as error:
            raise DamagedDataError(f"{where}: {error}") from None

    def locate(self, index: int, key: str) -> str:
        """Return the shard and key of sample number `index`, as errors of it begin."""
        shard = self.manifest.shards[bisect_right(self._starts, index) - 1]
        return f"{shard_name(self.folder, shard.path)}: sample {key}"

    def damaged_shards(self) -> tuple[ShardDamage, ...]:
        """Return the damage of shards and indexes, without reading them.

        Raises as `damage.find_damage` and `damage.find_remote_damage`.
        """
        remote = (shard for shard in self.manifest.shards if is_remote(shard.path))
        damage = (*find_remote_damage(remote, self._machine), *self.damaged_files())
        by_path = {item.shard.path: item for item in damage}
        paths = (shard.path for shard in self.manifest.shards)
        return tuple(by_path[path] for path in paths if path in by_path)

    def damaged_files(self) -> tuple[ShardDamage, ...]:
        """Return the damage of local shards and of all indexes. Raises as `damage.find_damage`."""
        return tuple(find_damaged_files(self.manifest.shards, self.folder))


class OpenShard:
    """A shard that is open for reading; closed when nobody refers to it any more."""

    def __init__(self, info: ShardInfo, name: str, index: ShardIndex, descriptor: int) -> None:
        self.name, self.index = name, index
        self._descriptor = descriptor
        self._info = info

    @classmethod
    def find(cls, folder: Path, machine: Machine, info: ShardInfo) -> Self:
        """Open a shard of the dataset in `folder`. Raises as `ShardedSamples.read`."""
        name = shard_name(folder, info.path)
        if damage := find_local_damage(info, folder):
            raise absent_shard(name, damage)
        index = read_index(info, folder)
        descriptor = _open_copy(info, machine) if is_remote(info.path) else _open_file(info, name)
        return cls(info, name, index, descriptor)

    def read(self, where: str, offset: int, size: int, limit: int) -> bytes:
        """Return `size` bytes from `offset`. Raises errors that begin with `where`."""
        if not 0 <= size <= limit:
            raise DamagedDataError(f"{where}: {size} bytes are more than the {limit} that are allowed")
        try:
            content = os.pread(self._descriptor, size, offset)
        except OSError as error:
            message = f"{where}: cannot be read ({error.strerror})"
            raise convert_os_error(error, message, DamagedDataError) from None
        if len(content) != size:
            if damage := find_damage(self._info, self._descriptor, self.name):
                raise absent_shard(self.name, damage)
            raise DamagedDataError(f"{where}: the shard ends in the middle of it")
        return content

    def __del__(self) -> None:
        os.close(self._descriptor)


def read_index(shard: ShardInfo, folder: Path) -> ShardIndex:
    """Return the index of a shard of the dataset in `folder`.

    Raises as `ShardIndex.read`, and DamagedDataError for the index of another shard.
    """
    path = index_path(folder, shard.path)
    index = ShardIndex.read(path)
    if len(index) != shard.num_samples or index.shard not in ("", shard.sha256):
        raise DamagedDataError(
            f"{path}: is the index of another shard than the {shard.path} of {folder / MANIFEST_FILE};"
            " delete it and run `cosmos prepare` again"
        )
    return index


def _open_file(info: ShardInfo, path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        raise absent_shard(path, ShardDamage(info, NO_SUCH_SHARD)) from None
    except OSError as error:
        raise unreadable_shard(path, error) from None
    if damage := find_damage(info, descriptor, path):
        os.close(descriptor)
        raise absent_shard(path, damage)
    return descriptor


def _open_copy(info: ShardInfo, machine: Machine) -> int:
    """Open the local copy of a remote shard, which is copied again where the copy is damaged."""
    problem = f"{info.path}: its copy was removed at once; raise the machine's cached_shards"
    for _ in range(2):  # another process may remove the copy before it is opened
        try:
            descriptor = os.open(cached_copy(info.path, machine), os.O_RDONLY)
        except FileNotFoundError:
            continue
        except DamagedDataError as error:
            raise TransientError(str(error)) from None
        except OSError as error:
            raise unreadable_shard(info.path, error) from None
        damage = find_damage(info, descriptor, info.path)
        if damage is None:
            return descriptor
        os.close(descriptor)
        forget_copy(info.path, machine)
        problem = str(damage)
    raise TransientError(problem)


def parse_annotation(text: bytes, is_text: bool) -> Any:
    """Return the caption (`is_text`) or JSON value of an annotation. Raises DamagedDataError when broken."""
    try:
        decoded = text.decode("utf-8-sig")
        return decoded if is_text else json.loads(decoded)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are a plain ValueError
        raise DamagedDataError(f"broken {'text' if is_text else 'JSON'} ({error})") from None


def annotation_bytes(annotation: dict[str, Any]) -> bytes:
    """Return an annotation as it is written into a shard.

    Raises DamagedDataError when it is larger than what is read back.
    """
    text = json.dumps(annotation, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > MAX_ANNOTATION_BYTES:
        raise DamagedDataError(
            f"captions of {len(text)} bytes are more than the {MAX_ANNOTATION_BYTES} allowed"
        )
    return text


def write_shard(path: Path, samples: Iterable[Sample]) -> ShardInfo:
    """Write `samples` into the tar `path` and its index beside it, each atomically.

    Images keep their bytes. Equal samples give equal files, byte for byte. Keys must come from
    `index.safe_key`. Raises InputError when two are the same, DamagedDataError when an image is in no
    known format.
    """
    with replacing(path) as temporary:
        with (
            temporary.open("wb") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            index = ShardIndex.of(_added(tar, file, samples))
        info = describe_shard(temporary, path.name, len(index))
    write_index(index, path.parent, info)
    return info


def write_index(index: ShardIndex, folder: Path, shard: ShardInfo) -> None:
    """Write the index of a shard into the folder of its manifest."""
    replace(index, shard=shard.sha256).write(index_path(folder, shard.path))


def describe_shard(file: Path, path: str, num_samples: int) -> ShardInfo:
    """Return the manifest's entry for the shard in `file`, which readers find at `path`."""
    with file.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    return ShardInfo(path, num_samples, file.stat().st_size, digest)


def _added(tar: tarfile.TarFile, file: BinaryIO, samples: Iterable[Sample]) -> Iterator[SampleLocation]:
    for sample in samples:
        annotation = annotation_bytes(sample.annotation)
        image_offset = _add(tar, file, f"{sample.key}.{image_extension(sample)}", sample.image)
        annotation_offset = _add(tar, file, f"{sample.key}.json", annotation)
        places = image_offset, len(sample.image), annotation_offset, len(annotation)
        yield SampleLocation(sample.key, *places, checksum=sample_checksum(sample.image, annotation))


def _add(tar: tarfile.TarFile, file: BinaryIO, name: str, content: bytes) -> int:
    """Add a file to the tar and return the offset of its first byte.

    Its times, owner and mode are always the same.
    """
    member = tarfile.TarInfo(name)
    member.size = len(content)
    offset = file.tell() + tarfile.BLOCKSIZE
    tar.addfile(member, io.BytesIO(content))
    return offset


def image_extension(sample: Sample) -> str:
    """Return the extension of an image by its first bytes. Raises DamagedDataError for unknown ones."""
    if sample.image[:4] == b"RIFF" and sample.image[8:12] == b"WEBP":
        return "webp"
    for signature, extension in _SIGNATURES:
        if sample.image.startswith(signature):
            return extension
    raise DamagedDataError(f"{sample.key}: not a JPEG, PNG, WebP, GIF, BMP or TIFF image")
