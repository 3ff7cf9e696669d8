"""Shards that exist already, here or in object storage: found by a pattern, indexed where they lie."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import islice
from pathlib import Path

from braceexpand import braceexpand

from cosmos.config.disk_reading import exists, is_dir, is_file, list_names
from cosmos.config.machine import Machine
from cosmos.config.printable_text import encodable_text
from cosmos.data.captions import caption_form, captions_in
from cosmos.data.folders import check_utf8, walk_files
from cosmos.data.image_decoding import IMAGE_SUFFIXES, UNREAD_SUFFIXES, verify_image
from cosmos.data.manifest import CaptionSchema, ShardInfo, Skipped
from cosmos.data.shards.index import (
    MAX_ANNOTATION_BYTES,
    MAX_IMAGE_BYTES,
    SampleLocation,
    ShardIndex,
    sample_checksum,
    unique_keys,
)
from cosmos.data.shards.remote import is_remote, list_files, temporary_copy
from cosmos.data.shards.samples import describe_shard, parse_annotation, write_index
from cosmos.data.shards.tar_entries import TarEntry, list_extensions, scan_tar
from cosmos.data.sources.img2dataset import image_span
from cosmos.data.sources.inputs import NUM_PROBED, ByteSpan
from cosmos.errors import DamagedDataError, InputError

MAX_SHARDS = 1_000_000

REMEDY = "correct data.annotations"

MEMBERS_REMEDY = (
    "an image KEY.jpg and its captions KEY.json or KEY.txt must follow each other, as `tar --sort=name` packs"
    " them, with no dot in KEY"
)
"""Advice on members of a shard that make no sample."""

LINKS_REMEDY = "pack the files that they point to, as `tar --dereference` does"

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def find_shards(pattern: str, machine: Machine) -> list[str]:
    """Return the shards that `pattern` names: absolute local paths or URLs, each once, in its order.

    `{00000..00009}` and `{a,b}` stand for each of their values, `*`, `?` and `[...]` for the files that there
    are, without hidden ones. A local pattern starts from the machine's source_root. Raises InputError when no
    shard is found, TransientError when the storage fails.
    """
    if not is_remote(pattern):
        pattern = str(machine.source(pattern).absolute())
    shards = list(dict.fromkeys(path for part in expand_braces(pattern) for path in _glob(part, machine)))
    if not shards:
        raise InputError(f"{pattern}: no such shards; {REMEDY}")
    for shard in shards:
        check_utf8(encodable_text(pattern), shard)
    return shards


def expand_braces(pattern: str) -> list[str]:
    """Return the names that a pattern with `{first..last}` and `{a,b,...}` stands for, with leading zeros.

    Raises InputError when they are more than MAX_SHARDS, or braces hold something else.
    """
    for content in _BRACES.findall(pattern):
        _check_braces(pattern, content)
    try:
        names = list(islice(braceexpand(pattern, escape=False), MAX_SHARDS + 1))
    except ValueError:
        raise InputError(f"{pattern}: a brace is missing or too many") from None
    if len(names) > MAX_SHARDS:
        raise InputError(f"{pattern}: stands for more than {MAX_SHARDS} shards")
    return names


def _check_braces(pattern: str, content: str) -> None:
    """Raise InputError for braces that braceexpand takes literally, or counts backwards or without end."""
    if match := _RANGE.fullmatch(content):
        first, last = int(match[1]), int(match[2])
        if first > last:
            raise InputError(f"{pattern}: the range {content} runs backwards")
        if last - first >= MAX_SHARDS:
            raise InputError(f"{pattern}: stands for more than {MAX_SHARDS} shards")
    elif "," not in content:
        raise InputError(f"{pattern}: braces hold a range such as 00..09, or names with commas between them")


def _glob(pattern: str, machine: Machine) -> list[str]:
    if not has_magic(pattern):
        return [pattern]
    if is_remote(pattern):
        try:
            return list_files(pattern, machine)
        except DamagedDataError as error:
            raise InputError(f"{error}; {REMEDY}") from None
    return sorted(map(str, _glob_below(Path("/"), Path(pattern).parts[1:])))


def _glob_below(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files in `folder` that match a pattern's parts, of which `**` stands for any folders.

    Links are followed, and hidden files and folders passed over unless the pattern names them.
    """
    if not parts:
        yield folder
    elif parts[0] == "**":
        rest = "/".join(parts[1:]) or "*"
        yield from (path for path in walk_files(folder) if path.match(rest))
    elif has_magic(parts[0]):
        for name in list_names(folder):
            if fnmatchcase(name, parts[0]) and (len(parts) == 1 or is_dir(folder / name)):
                yield from _glob_below(folder / name, parts[1:])
    elif exists(folder / parts[0]):
        yield from _glob_below(folder / parts[0], parts[1:])


@contextmanager
def _local_file(shard: str, machine: Machine) -> Iterator[Path]:
    """Yield a local file of a shard while it is needed. Raises InputError when there is no such shard."""
    with ExitStack() as copies:
        if not is_remote(shard):
            path = Path(shard)
            if is_dir(path):
                raise InputError(f"{shard}: a folder; name its shards by data.annotations, as {shard}/*.tar")
            if not is_file(path):
                raise InputError(f"{shard}: no such shard; {REMEDY}")
        else:
            try:
                path = copies.enter_context(temporary_copy(shard, machine))
            except DamagedDataError as error:
                raise InputError(f"{error}; {REMEDY}") from None
        yield path


def shards_schema(shard: str, machine: Machine) -> CaptionSchema:
    """Return the schema of the first usable captions among the first NUM_PROBED samples of a shard.

    Raises InputError when there are none, or no such shard; TransientError when a disk or the network fails.
    """
    problem, extensions = "no samples", set[str]()
    with _local_file(shard, machine) as path:
        try:
            for entry in islice(scan_tar(path), NUM_PROBED):
                extensions |= entry.parts.keys()
                for part, is_text in _annotation_parts(entry) if image_span(entry) else ():
                    try:
                        content = ByteSpan(str(path), *part).read(MAX_ANNOTATION_BYTES)
                        return caption_form(parse_annotation(content, is_text))[0]
                    except DamagedDataError as error:
                        problem = f"{entry.key}: {error}"
        except DamagedDataError as error:
            problem = _problem(error, path, shard)
    hint = f" extensions found: {list_extensions(extensions)}; {MEMBERS_REMEDY}" if extensions else ""
    raise InputError(
        f"{shard}: found no sample with captions and image ({problem}); is data.source right?{hint}"
    )


def index_shard(
    shard: str, number: int, folder: Path, machine: Machine, schema: CaptionSchema, max_pixels: int
) -> tuple[ShardInfo, tuple[Skipped, ...]]:
    """Write the index of the shard at `shard` into `folder`, without the samples that cannot be used.

    Returns the manifest's entry for the shard, and what is not in the index. Keys begin with the shard's
    `number`, since shards of different origin may use the same ones. Raises InputError when there is no such
    shard, TransientError when a disk or the network fails.
    """
    samples: list[SampleLocation] = []
    skipped: list[Skipped] = []
    with _local_file(shard, machine) as path:
        try:
            for entry in scan_tar(path):
                try:
                    samples += _located(path, entry, schema, max_pixels)
                except DamagedDataError as error:
                    skipped.append(Skipped(f"{shard}: {entry.key}", _problem(error, path, shard)))
        except DamagedDataError as error:
            skipped.append(Skipped(shard, _problem(error, path, shard)))
        if not samples and not skipped:
            skipped.append(Skipped(shard, "holds neither images nor captions"))
        keys = unique_keys(f"{number:05d}-{sample.key}" for sample in samples)
        index = ShardIndex.of(sample._replace(key=key) for sample, key in zip(samples, keys, strict=True))
        info = describe_shard(path, shard, len(index))
    write_index(index, folder, info)
    return info, tuple(skipped)


def _problem(error: DamagedDataError, copy: Path, shard: str) -> str:
    """Return the message of an error with the shard in place of its copy on this machine."""
    return str(error).replace(str(copy), shard)


def _located(path: Path, entry: TarEntry, schema: CaptionSchema, max_pixels: int) -> list[SampleLocation]:
    """Return the sample in `entry`, or nothing if its members have nothing to do with images and captions.

    Raises DamagedDataError when the sample cannot be used.
    """
    image, annotations = image_span(entry), _annotation_parts(entry)
    if image is None and not annotations and not any(map(_may_be_of_sample, [*entry.parts, *entry.links])):
        return []
    if image is None or not annotations:
        missing = "no .json or .txt" if image else "no image"
        if entry.links:
            links = list_extensions(entry.links)
            raise DamagedDataError(f"{entry.key}: {missing} but links ({links}); {LINKS_REMEDY}")
        raise DamagedDataError(f"{entry.key}: {missing}, only {entry.extensions}; {MEMBERS_REMEDY}")
    place, is_text, annotation = _usable_annotation(path, entry, schema)
    content = ByteSpan(str(path), *image).read(MAX_IMAGE_BYTES)
    verify_image(entry.key, content, max_pixels)
    return [SampleLocation(entry.key, *image, *place, is_text, sample_checksum(content, annotation))]


def _may_be_of_sample(extension: str) -> bool:
    """Return True for an extension of images or captions, also one such as `input.jpg` or `heic`."""
    suffix = f".{extension.rpartition('.')[2]}"
    return suffix in (".json", ".txt") or suffix in IMAGE_SUFFIXES or suffix in UNREAD_SUFFIXES


def _usable_annotation(
    path: Path, entry: TarEntry, schema: CaptionSchema
) -> tuple[tuple[int, int], bool, bytes]:
    """Return offset and size, is_text, and content of the annotation."""
    problem = ""
    for part, is_text in _annotation_parts(entry):
        try:
            content = ByteSpan(str(path), *part).read(MAX_ANNOTATION_BYTES)
            captions_in(schema, parse_annotation(content, is_text))
            return part, is_text, content
        except DamagedDataError as error:
            problem = str(error)
    raise DamagedDataError(f"{entry.key}: {problem}")


def _annotation_parts(entry: TarEntry) -> list[tuple[tuple[int, int], bool]]:
    """Return ((offset, size), is_text) of the members that may hold captions; JSON goes first."""
    parts = entry.parts
    return [(parts[name], is_text) for name, is_text in (("json", False), ("txt", True)) if name in parts]
