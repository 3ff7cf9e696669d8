"""Openers of sources: functions that list image-caption pairs as the inputs of shards.

Each source is a function of (params, machine); `open_source` picks it by `data.source`. Shards that exist
already are not rewritten: `shards.existing`.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cosmos.config.disk_reading import is_dir, list_names
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.demo_world import SplitName, draw_sample
from cosmos.data.folders import is_gone_or_empty
from cosmos.data.image_decoding import IMAGE_SUFFIXES
from cosmos.data.manifest import Skipped
from cosmos.data.sample import Sample
from cosmos.data.shards.index import unique_keys
from cosmos.data.sources.caption_files import (
    CaptionedImage,
    locate_below,
    parse_captions_csv,
    parse_coco,
    parse_flickr30k,
)
from cosmos.data.sources.caption_tables import open_caption_table
from cosmos.data.sources.image_folder import open_image_folder, parse_caption_file, stem_of
from cosmos.data.sources.inputs import (
    ByteSpan,
    OpenedSource,
    PairRecord,
    SourceInput,
    read_pair,
    split_inputs,
)
from cosmos.errors import InputError

logger = logging.getLogger(__name__)


def open_source(params: DataParams, machine: Machine) -> OpenedSource:
    """List the inputs of `params.source`, shuffled and split by `params.seed`.

    Raises InputError that names the file, folder or key that is wrong, and what would do; TransientError when
    the disk fails.
    """
    images = machine.source(params.images)
    has_images = params.source != "demo"
    if has_images and not is_dir(images):
        raise InputError(f"{images}: no such folder; correct data.images")
    openers: dict[str, Callable[[DataParams, Machine], OpenedSource]] = {
        "demo": _open_demo,
        "captions-csv": partial(_open_captions_file, parse_captions_csv),
        "coco": partial(_open_captions_file, parse_coco),
        "flickr30k": partial(_open_captions_file, parse_flickr30k),
        "folder": open_image_folder,
        "dreamlip": partial(open_caption_table, schema="dreamlip"),
        "pixelprose": partial(open_caption_table, schema="pixelprose"),
    }
    source = openers[params.source](params, machine)
    if has_images and is_gone_or_empty(images):
        raise InputError(f"{images}: an empty folder; correct data.images")
    return source


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
    folder, file = machine.source(params.images), machine.source(params.annotations)
    images = parse(file)
    records, skipped = [], []
    for key, image in zip(unique_keys(stem_of(image.image) for image in images), images, strict=True):
        try:
            records.append(PairRecord(key, ByteSpan(str(locate_below(folder, image.image))), image.captions))
        except InputError as error:
            skipped.append(Skipped(image.image, str(error)))
    if unlisted := _num_unlisted(records):
        logger.info("%s: %d images beside those of %s have no captions in it", folder, unlisted, file)
    read = partial(read_pair, schema="captions", parse=parse_caption_file)
    return OpenedSource("captions", split_inputs(records, params), read, tuple(skipped))


def _num_unlisted(records: Sequence[PairRecord]) -> int:
    """Return the number of images in the records' folders that are no record's."""
    listed = {record.image.path for record in records}
    folders = {Path(path).parent for path in listed}
    with suppress(InputError):  # images may be read in a folder that may not be listed
        files = [folder / name for folder in folders for name in list_names(folder)]
        return sum(path.suffix.lower() in IMAGE_SUFFIXES and str(path) not in listed for path in files)
    return 0
