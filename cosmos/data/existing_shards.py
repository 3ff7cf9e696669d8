"""Shards that exist already, here or in object storage: found by a pattern, indexed where they are."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic
from itertools import islice
from pathlib import Path
from typing import Any

from cosmos.config.machine import Machine
from cosmos.data.captions import caption_form, captions_in
from cosmos.data.image_verification import verify_image
from cosmos.data.img2dataset import image_span
from cosmos.data.inputs import NUM_PROBED, ByteSpan
from cosmos.data.manifest import CaptionSchema, ShardInfo, Skipped
from cosmos.data.remote_shards import file_system, is_remote, temporary_copy
from cosmos.data.shard_index import (
    MAX_ANNOTATION_BYTES,
    MAX_IMAGE_BYTES,
    SampleLocation,
    ShardIndex,
    TarEntry,
    index_path,
    scan_tar,
    unique_keys,
)
from cosmos.data.shards import describe_shard, parse_annotation
from cosmos.errors import DamagedDataError, InputError

MAX_SHARDS = 1_000_000

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def find_shards(pattern: str, machine: Machine) -> list[str]:
    """The shards that `pattern` names: absolute local paths, or URLs, each once, in the order of the pattern.

    `{00000..00009}` and `{a,b}` stand for each of their values, `*`, `?` and `[...]` for the files that there
    are. A local pattern starts from the machine's source_root. ValueError when no shard is found.
    """
    if not is_remote(pattern):
        pattern = str(machine.source(pattern).absolute())
    shards = list(dict.fromkeys(path for part in expand_braces(pattern) for path in _glob(part, machine)))
    if not shards:
        raise InputError(f"{pattern}: no such shards; correct data.annotations")
    return shards


def expand_braces(pattern: str) -> list[str]:
    """The names that a pattern with `{first..last}` and `{a,b,...}` stands for; leading zeros are kept.

    ValueError when they are more than MAX_SHARDS, or braces hold something else.
    """
    names = list(islice(_expanded(pattern), MAX_SHARDS + 1))
    if len(names) > MAX_SHARDS:
        raise InputError(f"{pattern}: stands for more than {MAX_SHARDS} shards")
    return names


def _expanded(pattern: str) -> Iterator[str]:
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    for value in _brace_values(pattern, match[1]):
        yield from _expanded(pattern[: match.start()] + value + pattern[match.end() :])


def _brace_values(pattern: str, content: str) -> Iterator[str]:
    if match := _RANGE.fullmatch(content):
        first, last = int(match[1]), int(match[2])
        if first > last:
            raise InputError(f"{pattern}: the range {content} runs backwards")
        return (str(number).zfill(len(match[1])) for number in range(first, last + 1))
    if "," not in content:
        raise InputError(f"{pattern}: braces hold a range such as 00..09, or names with commas between them")
    return iter(content.split(","))


def _glob(pattern: str, machine: Machine) -> list[str]:
    if not has_magic(pattern):
        return [pattern]
    if not is_remote(pattern):
        return sorted(map(str, Path("/").glob(pattern.removeprefix("/"))))
    storage, path = file_system(pattern, machine)
    return sorted(str(storage.unstrip_protocol(name)) for name in storage.glob(path))


@contextmanager
def _local(shard: str, machine: Machine) -> Iterator[Path]:
    """The file of a shard while it is needed. ValueError when there is none."""
    if is_remote(shard):
        with temporary_copy(shard, machine) as copy:
            yield copy
    elif not Path(shard).is_file():
        raise InputError(f"{shard}: no such shard; correct data.annotations")
    else:
        yield Path(shard)


def shards_schema(shard: str, machine: Machine) -> CaptionSchema:
    """The schema of the first usable captions among the first NUM_PROBED samples of a shard.

    ValueError when there are none.
    """
    problem = "no samples"
    with _local(shard, machine) as path:
        for entry in islice(scan_tar(path), NUM_PROBED):
            for part, is_text in _annotation_parts(entry):
                try:
                    return caption_form(_parsed(path, part, is_text))[0]
                except ValueError as error:
                    problem = f"{entry.key}: {error}"
    raise InputError(f"{shard}: found no sample with captions ({problem}); is data.source right?")


def index_shard(
    shard: str, number: int, folder: Path, machine: Machine, schema: CaptionSchema, max_pixels: int
) -> tuple[ShardInfo, tuple[Skipped, ...]]:
    """Writes the index of the shard at `shard` into `folder`, without the samples that cannot be used.

    Returns the manifest's line about the shard, and what is not in the index. Keys begin with the shard's
    `number`, since shards of different origin may use the same ones. ValueError when the shard cannot be had.
    """
    samples: list[SampleLocation] = []
    skipped: list[Skipped] = []
    with _local(shard, machine) as path:
        try:
            for entry in scan_tar(path):
                try:
                    samples += _located(path, entry, schema, max_pixels)
                except DamagedDataError as error:
                    skipped.append(Skipped(f"{shard}: {entry.key}", str(error)))
        except DamagedDataError as error:
            skipped.append(Skipped(shard, str(error)))
        keys = unique_keys(f"{number:05d}-{sample.key}" for sample in samples)
        index = ShardIndex.of(sample._replace(key=key) for sample, key in zip(samples, keys, strict=True))
        info = describe_shard(path, shard, len(index))
    index.write(index_path(folder, shard))
    return info, tuple(skipped)


def _located(path: Path, entry: TarEntry, schema: CaptionSchema, max_pixels: int) -> list[SampleLocation]:
    """The sample in `entry`, or nothing if its members have nothing to do with images and captions.

    DamagedDataError when the sample cannot be used.
    """
    image = image_span(entry)
    if image is None and not _annotation_parts(entry):
        return []
    if image is None:
        raise DamagedDataError(f"{entry.key}: no image")
    annotation, is_text = _usable_annotation(path, entry, schema)
    verify_image(entry.key, ByteSpan(str(path), *image).read(MAX_IMAGE_BYTES), max_pixels)
    return [SampleLocation(entry.key, *image, *annotation, is_text)]


def _usable_annotation(path: Path, entry: TarEntry, schema: CaptionSchema) -> tuple[tuple[int, int], bool]:
    problem = "no .json or .txt"
    for part, is_text in _annotation_parts(entry):
        try:
            captions_in(schema, _parsed(path, part, is_text))
            return part, is_text
        except ValueError as error:
            problem = str(error)
    raise DamagedDataError(f"{entry.key}: {problem}")


def _annotation_parts(entry: TarEntry) -> list[tuple[tuple[int, int], bool]]:
    """((offset, size), is_text) of the members that may hold captions; JSON goes first."""
    parts = entry.parts
    return [(parts[name], is_text) for name, is_text in (("json", False), ("txt", True)) if name in parts]


def _parsed(path: Path, part: tuple[int, int], is_text: bool) -> Any:
    return parse_annotation(ByteSpan(str(path), *part).read(MAX_ANNOTATION_BYTES), is_text)
