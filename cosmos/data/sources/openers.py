"""Openers of sources: functions that list image-caption pairs as the inputs of shards.

Each source is a function of (params, machine); `open_source` picks it by `data.source`. Shards that exist
already are not rewritten: `shards.existing`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.demo_world import SplitName, draw_sample
from cosmos.data.image_verification import IMAGE_SUFFIXES
from cosmos.data.manifest import Skipped
from cosmos.data.sample import Sample
from cosmos.data.shards.index import unique_keys
from cosmos.data.shards.samples import parse_annotation
from cosmos.data.sources.caption_files import (
    CaptionedImage,
    parse_captions_csv,
    parse_coco,
    parse_flickr30k,
    path_below,
)
from cosmos.data.sources.caption_tables import open_caption_table
from cosmos.data.sources.inputs import (
    ByteSpan,
    OpenedSource,
    PairRecord,
    SourceInput,
    detect_schema,
    files_below,
    read_pair,
    split_inputs,
)
from cosmos.errors import InputError


def open_source(params: DataParams, machine: Machine) -> OpenedSource:
    """List the inputs of `params.source`, shuffled and split by `params.seed`.

    Raises InputError that names the file, folder or key that is wrong, and what would do; TransientError when
    the disk fails.
    """
    if params.source != "demo" and not machine.source(params.images).is_dir():
        raise InputError(f"{machine.source(params.images)}: no such folder; correct data.images")
    openers: dict[str, Callable[[DataParams, Machine], OpenedSource]] = {
        "demo": _open_demo,
        "captions-csv": partial(_open_captions_file, parse_captions_csv),
        "coco": partial(_open_captions_file, parse_coco),
        "flickr30k": partial(_open_captions_file, parse_flickr30k),
        "folder": _open_folder,
        "dreamlip": partial(open_caption_table, schema="dreamlip"),
        "pixelprose": partial(open_caption_table, schema="pixelprose"),
    }
    return openers[params.source](params, machine)


@dataclass(frozen=True, slots=True)
class DemoImage:
    """An image of the procedural world, not yet drawn."""

    split: SplitName
    index: int

    @property
    def name(self) -> str:
        """Name of the image, for people."""
        return f"demo {self.split} {self.index}"


def _open_demo(params: DataParams, machine: Machine) -> OpenedSource:
    del machine  # the demo world needs no files
    splits: dict[str, Sequence[SourceInput]] = {
        "train": [DemoImage("train", index) for index in range(params.demo.num_train)],
        "heldout": [DemoImage("heldout", index) for index in range(params.demo.num_heldout)],
    }
    return OpenedSource("dreamlip", splits, partial(_draw, params))


def _draw(params: DataParams, image: DemoImage) -> Sample:
    return draw_sample(params, image.split, image.index)


def _open_captions_file(
    parse: Callable[[Path], list[CaptionedImage]], params: DataParams, machine: Machine
) -> OpenedSource:
    """List a folder of images beside a file that has all captions."""
    folder = machine.source(params.images)
    images = parse(machine.source(params.annotations))
    records, skipped = [], []
    for key, image in zip(unique_keys(_stem(image.image) for image in images), images, strict=True):
        try:
            records.append(PairRecord(key, ByteSpan(str(path_below(folder, image.image))), image.captions))
        except InputError as error:
            skipped.append(Skipped(image.image, str(error)))
    read = partial(read_pair, schema="captions", parse=_parse_file)
    return OpenedSource("captions", split_inputs(records, params), read, tuple(skipped))


def _open_folder(params: DataParams, machine: Machine) -> OpenedSource:
    """List a folder of images, each with a .json or .txt of the same name beside it."""
    folder = machine.source(params.images)
    images = [path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    keys = unique_keys(_stem(image.relative_to(folder).as_posix()) for image in images)
    records, skipped = [], []
    for key, image in zip(keys, images, strict=True):
        annotation = next((path for path in _annotations_of(image) if path.is_file()), None)
        if annotation is None:
            skipped.append(Skipped(str(image), "no .json or .txt of the same name beside it"))
        else:
            records.append(PairRecord(key, ByteSpan(str(image)), ByteSpan(str(annotation))))
    schema = detect_schema(str(folder), records, _parse_file)
    read = partial(read_pair, schema=schema, parse=_parse_file)
    return OpenedSource(schema, split_inputs(records, params), read, tuple(skipped))


def _annotations_of(image: Path) -> tuple[Path, Path]:
    return image.with_suffix(".json"), image.with_suffix(".txt")


def _parse_file(path: str, content: bytes) -> Any:
    value = parse_annotation(content, is_text=path.endswith(".txt"))
    return value.splitlines() if isinstance(value, str) else value


def _stem(name: str) -> str:
    """Return a path without its extension."""
    return name.rpartition(".")[0] or name
