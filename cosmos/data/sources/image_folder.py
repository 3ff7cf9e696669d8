"""A folder of images, each with its captions in a .json or .txt of the same name beside it."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unicodedata import normalize

from cosmos.config.disk_reading import is_broken_link
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.folders import walk_files
from cosmos.data.image_decoding import IMAGE_SUFFIXES, UNREAD_REMEDY, UNREAD_SUFFIXES
from cosmos.data.manifest import Skipped
from cosmos.data.shards.index import unique_keys
from cosmos.data.shards.samples import parse_annotation
from cosmos.data.sources.inputs import (
    ByteSpan,
    OpenedSource,
    PairRecord,
    detect_schema,
    read_pair,
    split_inputs,
)

CAPTION_SUFFIXES = (".json", ".txt")
"""Suffixes, in lower case, of files of captions; the first goes first."""

ABOUT_NAMES = frozenset({"readme", "license", "licence", "notice", "copying", "copyright", "changelog"})
"""Names, in lower case and without a suffix, of text about a folder, which is no caption."""


def open_image_folder(params: DataParams, machine: Machine) -> OpenedSource:
    """List a folder of images with their captions, and all that is there and cannot be used.

    Raises InputError when no image has captions, and for a folder that cannot be listed; TransientError when
    the disk fails.
    """
    folder = machine.source(params.images)
    files = sorted(walk_files(folder))
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    captions = _CaptionFiles(files)
    keys = unique_keys(stem_of(image.relative_to(folder).as_posix()) for image in images)
    records, skipped = [], []
    for key, image in zip(keys, images, strict=True):
        if annotation := captions.take(image):
            records.append(PairRecord(key, ByteSpan(str(image)), ByteSpan(str(annotation))))
        else:
            skipped.append(Skipped(str(image), "no .json or .txt of the same name beside it"))
    skipped += _unusable(files, captions)
    schema = detect_schema(str(folder), records, parse_caption_file)
    read = partial(read_pair, schema=schema, parse=parse_caption_file)
    return OpenedSource(schema, split_inputs(records, params), read, tuple(skipped))


def parse_caption_file(path: str, content: bytes) -> Any:
    """Return the captions in a file, one a line of text, or the value of its JSON."""
    value = parse_annotation(content, is_text=path.lower().endswith(".txt"))
    return value.splitlines() if isinstance(value, str) else value


def stem_of(name: str) -> str:
    """Return a path without its extension."""
    return name.rpartition(".")[0] or name


class _CaptionFiles:
    """Files of captions by the name that they share with an image."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._by_stem: dict[str, Path] = {}
        for suffix in CAPTION_SUFFIXES:
            for path in files:
                if path.suffix.lower() == suffix:
                    self._by_stem.setdefault(str(path.with_suffix("")), path)
        # A Mac writes é as two characters, other systems as one; names that are equal as they are go first.
        self._by_form = {_form(stem): stem for stem in reversed(self._by_stem) if not stem.isascii()}
        self._taken = set[str]()

    def take(self, image: Path) -> Path | None:
        """Return the captions of an image, or None; they are not `lonely` any more."""
        stem = str(image.with_suffix(""))
        if stem not in self._by_stem and not stem.isascii():
            stem = self._by_form.get(_form(stem), stem)
        self._taken.add(stem)
        return self._by_stem.get(stem)

    def lonely(self) -> list[Path]:
        """Return those of no image, without text about the folder, sorted."""
        files = (path for stem, path in self._by_stem.items() if stem not in self._taken)
        return sorted(path for path in files if path.stem.lower() not in ABOUT_NAMES)


def _form(stem: str) -> str:
    return normalize("NFC", stem)


def _unusable(files: Sequence[Path], captions: _CaptionFiles) -> Iterator[Skipped]:
    """Yield what is in a folder beside its images and cannot be used."""
    for path in files:
        suffix = path.suffix.lower()
        if suffix in UNREAD_SUFFIXES:
            captions.take(path)
            yield Skipped(str(path), f"images in the format {suffix} are not decoded; {UNREAD_REMEDY}")
        elif suffix not in IMAGE_SUFFIXES and suffix not in CAPTION_SUFFIXES and is_broken_link(path):
            yield Skipped(str(path), "a link to what is not there")
    for path in captions.lonely():
        yield Skipped(str(path), "no image of the same name beside it")
