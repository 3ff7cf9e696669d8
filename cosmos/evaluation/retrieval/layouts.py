"""Captions files with their folder of images, and prepared splits, read as a dataset."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cosmos.config.disk_reading import is_file
from cosmos.config.machine import Machine
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.readable import DELETE, PUT_BACK, repair_advice
from cosmos.data.shards.samples import ShardedSamples
from cosmos.data.sources.caption_files import (
    CaptionedImage,
    locate_below,
    read_captions_csv,
    read_coco,
    read_flickr30k,
    read_karpathy,
)
from cosmos.data.text_crops import evaluation_captions
from cosmos.errors import DamagedDataError, InputError
from cosmos.evaluation.dataset_files import MAX_NAMED_FILES, check_file_exists, locate_images
from cosmos.evaluation.images import ImageFiles, ShardImages
from cosmos.evaluation.presence import check_split
from cosmos.run.provenance import file_sha256

if TYPE_CHECKING:
    from cosmos.evaluation.retrieval.measure import RetrievalDataset

CaptionReader = Callable[[Path], list[CaptionedImage]]


@dataclass(frozen=True)
class CaptionsFile:
    """Captions file and its folder of images, on this machine."""

    read: CaptionReader
    annotations: Path
    images: Path
    remedy: str
    """advice on a file that is missing"""


def caption_readers(split: str) -> dict[str, CaptionReader]:
    """Return the reader of captions files of each layout; `split` is that of Karpathy's files."""
    return {
        "coco": read_coco,
        "coco-karpathy": partial(read_karpathy, split=split),
        "flickr30k": read_flickr30k,
        "flickr8k": read_captions_csv,
    }


def read_captions_file(file: CaptionsFile, max_pixels: int) -> "RetrievalDataset":
    """Return the dataset of a captions file. InputError names what is missing or in another form."""
    from cosmos.evaluation.retrieval.measure import RetrievalDataset

    check_file_exists(file.annotations, file.remedy)
    captioned = file.read(file.annotations)
    names = [item.image for item in captioned]
    paths = locate_images(file.annotations, file.images, names, file.remedy, _image_path)
    images = ImageFiles(file.images, tuple(paths), max_pixels)
    return RetrievalDataset.of(str(file.annotations), images, [item.captions for item in captioned])


def read_split(name: str, split: str, machine: Machine, max_pixels: int) -> "RetrievalDataset":
    """Return a split of the prepared dataset `name` with the captions of people (`evaluation_captions`).

    Raises InputError for a split that was not prepared and samples without such captions, DamagedDataError
    for damaged shards and samples.
    """
    from cosmos.evaluation.retrieval.measure import RetrievalDataset

    folder = machine.dataset(name, split)
    check_split(folder)
    samples = ShardedSamples(folder, machine)
    if damaged := samples.damaged_shards():
        named = ", ".join(map(str, damaged[:MAX_NAMED_FILES]))
        raise _damaged_split(samples, f"{folder}: {named}", PUT_BACK)
    captions = [_read_captions(samples, index) for index in range(len(samples))]
    images = ShardImages(samples, file_sha256(folder / MANIFEST_FILE), max_pixels)
    return RetrievalDataset.of(str(folder), images, captions)


def _damaged_split(samples: ShardedSamples, problem: str, first: str) -> DamagedDataError:
    """Return the error of a damaged split; its remedy begins with `first`."""
    advice = repair_advice(samples.manifest.source, first)
    return DamagedDataError(f"{problem}; evaluation leaves nothing out: {advice}")


def _image_path(folder: Path, name: str) -> Path:
    """Return the path of an image: at its name, or directly in `folder`; where neither is a file, the first.

    Karpathy's files and Flickr30k's name a subfolder (val2014/..., flickr30k-images/...), which `folder` may
    itself be.
    """
    path = locate_below(folder, name)
    flat = locate_below(folder, PurePosixPath(name).name)
    return flat if not is_file(path) and is_file(flat) else path


def _read_captions(samples: ShardedSamples, index: int) -> list[str]:
    """Return the captions that people wrote for a sample."""
    try:
        sample = samples.read(index)
    except DamagedDataError as error:
        raise _damaged_split(samples, str(error), DELETE) from None
    try:
        return evaluation_captions(sample.annotation)
    except DamagedDataError as error:
        raise InputError(
            f"{samples.locate(index, sample.key)}: {error}; retrieval is measured on captions that people"
            " wrote: add them, or name another dataset in evaluate.retrieval.datasets"
        ) from None
