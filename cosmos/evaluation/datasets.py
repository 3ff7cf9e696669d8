"""Datasets as suites see them, whatever form they have on disk. Images stay there until they are needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from PIL import Image

from cosmos.data.annotations import (
    CaptionedImage,
    path_below,
    read_captions_csv,
    read_coco,
    read_flickr30k,
    read_karpathy,
)
from cosmos.data.image_crops import decode
from cosmos.data.indexing import MAX_IMAGE_BYTES
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.sample import DamagedSampleError
from cosmos.data.shards import ShardedSamples
from cosmos.data.text_crops import evaluation_captions
from cosmos.evaluation.embed import Images
from cosmos.machine import Machine
from cosmos.params import Params, RetrievalParams

MAX_NAMED = 5
"""Missing files that an error names."""


@dataclass(frozen=True)
class ImageFiles:
    """Images in files of their own."""

    paths: tuple[Path, ...]
    max_pixels: int

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Image.Image:
        """The RGB image. Raises DamagedSampleError that names the file."""
        path = self.paths[index]
        try:
            if path.stat().st_size > MAX_IMAGE_BYTES:
                raise DamagedSampleError(f"more than {MAX_IMAGE_BYTES} bytes")
            return decode(path.read_bytes(), self.max_pixels)
        except (OSError, DamagedSampleError) as error:
            raise DamagedSampleError(f"{path}: {error}") from None


@dataclass(frozen=True)
class ShardImages:
    """Images of a prepared split."""

    samples: ShardedSamples
    max_pixels: int

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> Image.Image:
        """The RGB image. Raises DamagedSampleError that names the sample."""
        sample = self.samples.read(index)
        try:
            return decode(sample.image, self.max_pixels)
        except DamagedSampleError as error:
            raise DamagedSampleError(f"sample {sample.key}: {error}") from None


@dataclass(frozen=True)
class RetrievalDataset:
    """I images, C captions, and which caption belongs to which image."""

    name: str
    images: Images
    captions: tuple[str, ...]
    caption_to_image: tuple[int, ...]
    """index of each caption's image, (C,)"""


def open_retrieval_dataset(params: Params, machine: Machine) -> RetrievalDataset:
    """The dataset that `evaluate.retrieval` describes.

    Raises ValueError, before anything is computed, for files that are missing or in another form.
    """
    retrieval = params.evaluate.retrieval
    if retrieval.layout == "shards":
        return _from_shards(params, machine)
    annotations, folder = machine.source(retrieval.annotations), machine.source(retrieval.images)
    captioned = _reader(retrieval)(annotations)
    paths = _locate(annotations, folder, [item.image for item in captioned])
    name = f"{retrieval.layout}:{annotations.name}"
    if retrieval.layout == "coco-karpathy":
        name += f":{retrieval.split}"
    return _dataset(name, ImageFiles(paths, params.data.max_pixels), [item.captions for item in captioned])


def _reader(retrieval: RetrievalParams) -> Callable[[Path], list[CaptionedImage]]:
    """What reads the captions file of a layout."""
    readers: dict[str, Callable[[Path], list[CaptionedImage]]] = {
        "coco": read_coco,
        "coco-karpathy": partial(read_karpathy, split=retrieval.split),
        "flickr30k": read_flickr30k,
        "flickr8k": read_captions_csv,
    }
    return readers[retrieval.layout]


def _locate(annotations: Path, folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """The image files that a captions file names. ValueError says how many are missing, and which."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; correct evaluate.retrieval.images")
    try:
        paths = tuple(_image_path(folder, name) for name in names)
    except ValueError as error:
        raise ValueError(f"{annotations}: {error}") from None
    missing = [path for path in paths if not path.is_file()]
    if missing:
        named = ", ".join(map(str, missing[:MAX_NAMED])) + (", ..." if len(missing) > MAX_NAMED else "")
        raise ValueError(
            f"{annotations}: {len(missing)} of its {len(paths)} images are missing: {named}; correct"
            " evaluate.retrieval.images, or complete the folder"
        )
    return paths


def _image_path(folder: Path, name: str) -> Path:
    """Where an image lies: at its name, or directly in `folder`.

    Karpathy's files and Flickr30k's name a subfolder (val2014/..., flickr30k-images/...), which `folder` may
    itself be. Where neither is a file, the first.
    """
    path = path_below(folder, name)
    flat = folder / PurePosixPath(name).name
    return flat if not path.is_file() and flat.is_file() else path


def _from_shards(params: Params, machine: Machine) -> RetrievalDataset:
    """A split of `data.name`, with the captions that people wrote (`evaluation_captions`)."""
    name, split = params.data.name, params.evaluate.retrieval.split
    folder = machine.dataset(name, split)
    _check_split(folder)
    samples = ShardedSamples(folder, machine)
    try:
        if damaged := samples.damaged_shards():
            raise DamagedSampleError(f"{len(damaged)} shards are damaged: {', '.join(damaged[:MAX_NAMED])}")
        captions = [_captions(samples, index) for index in range(len(samples))]
    except DamagedSampleError as error:
        raise ValueError(
            f"{folder}: {error}; evaluation leaves nothing out: delete the dataset and run `cosmos prepare`"
            " again"
        ) from None
    return _dataset(f"{name}/{split}", ShardImages(samples, params.data.max_pixels), captions)


def _check_split(folder: Path) -> None:
    """ValueError names the splits that there are, where others were prepared."""
    others = sorted(path.parent.name for path in folder.parent.glob(f"*/{MANIFEST_FILE}"))
    if others and folder.name not in others:
        raise ValueError(
            f"evaluate.retrieval.split: {folder.parent} has no split {folder.name!r}, only"
            f" {', '.join(others)}; data.num_heldout sets samples aside"
        )


def _captions(samples: ShardedSamples, index: int) -> list[str]:
    sample = samples.read(index)
    try:
        return evaluation_captions(sample.annotation)
    except DamagedSampleError as error:
        raise DamagedSampleError(f"sample {sample.key}: {error}") from None


def _dataset(name: str, images: Images, captions: Sequence[Sequence[str]]) -> RetrievalDataset:
    """The dataset from the captions of each image. ValueError when there is none."""
    if not captions:
        raise ValueError(f"{name}: the dataset is empty; `cosmos prepare` says what was left out of it")
    owners = tuple(image for image, own in enumerate(captions) for _ in own)
    return RetrievalDataset(name, images, tuple(caption for own in captions for caption in own), owners)
