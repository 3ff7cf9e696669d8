"""Datasets of images and captions for retrieval: prepared splits, the published ones, and one's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import torch

from cosmos.config.evaluate_params import RetrievalSet
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.caption_files import (
    CaptionedImage,
    path_below,
    read_captions_csv,
    read_coco,
    read_flickr30k,
    read_karpathy,
)
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.shards import ShardedSamples
from cosmos.data.text_crops import evaluation_captions
from cosmos.errors import DamagedDataError, InputError
from cosmos.evaluation.card import Card, Figures, OpenDataset
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.images import (
    MAX_NAMED,
    PUBLISHED_REMEDY,
    ImageFiles,
    Images,
    ShardImages,
    check_file,
    digest,
    locate,
)
from cosmos.evaluation.retrieval.metrics import chance_metrics, retrieval_metrics
from cosmos.run.provenance import file_sha256

SUITE = "retrieval"

NOTHING_LEFT_OUT = "evaluation leaves nothing out: delete the dataset and run `cosmos prepare` again"


@dataclass(frozen=True)
class RetrievalDataset:
    """I images, C captions, and which caption belongs to which image."""

    images: Images
    captions: tuple[str, ...]
    caption_to_image: tuple[int, ...]
    """index of each caption's image, (C,)"""


@dataclass(frozen=True)
class CaptionsFile:
    """A captions file and its folder of images, on this machine."""

    read: Callable[[Path], list[CaptionedImage]]
    annotations: Path
    images: Path
    remedy: str
    """what to do about a file that is missing"""


def measure(dataset: RetrievalDataset, embedder: Embedder) -> Figures:
    """Recall and ranks in both directions."""
    images, captions = embedder.images(dataset.images), embedder.texts(dataset.captions)
    return retrieval_metrics(images, captions, torch.tensor(dataset.caption_to_image))


def read_captions_file(file: CaptionsFile, max_pixels: int) -> RetrievalDataset:
    """The dataset that a captions file describes. ValueError names what is missing or in another form."""
    check_file(file.annotations, file.remedy)
    captioned = file.read(file.annotations)
    names = [item.image for item in captioned]
    paths = locate(file.annotations, file.images, names, file.remedy, _image_path)
    images = ImageFiles(file.images, tuple(paths), max_pixels)
    return _dataset(str(file.annotations), images, [item.captions for item in captioned])


def read_split(name: str, split: str, machine: Machine, max_pixels: int) -> RetrievalDataset:
    """A split of the prepared dataset `name`, with the captions that people wrote (`evaluation_captions`).

    Raises ValueError for a split that was not prepared, damaged shards, and samples without such captions.
    """
    folder = machine.dataset(name, split)
    _check_split(folder)
    samples = ShardedSamples(folder, machine)
    if damaged := samples.damaged_shards():
        named = ", ".join(map(str, damaged[:MAX_NAMED]))
        raise InputError(f"{folder}: {len(damaged)} shards are damaged: {named}; {NOTHING_LEFT_OUT}")
    captions = [_captions(folder, samples, index) for index in range(len(samples))]
    return _dataset(
        str(folder), ShardImages(samples, file_sha256(folder / MANIFEST_FILE), max_pixels), captions
    )


def own_card(name: str, description: RetrievalSet) -> Card:
    """The card of a set of one's own."""

    def file(machine: Machine) -> CaptionsFile:
        return CaptionsFile(
            _readers(description.split)[description.layout],
            machine.source(description.annotations),
            machine.source(description.images),
            f"correct evaluate.retrieval.own.{name}, or complete the folder",
        )

    layout = (description.annotations, description.images)
    return Card.own(SUITE, name, layout, partial(_open_file, file))


def _readers(split: str) -> dict[str, Callable[[Path], list[CaptionedImage]]]:
    """What reads the captions file of each layout."""
    return {
        "coco": read_coco,
        "coco-karpathy": partial(read_karpathy, split=split),
        "flickr30k": read_flickr30k,
        "flickr8k": read_captions_csv,
    }


def _open_file(file: Callable[[Machine], CaptionsFile], params: Params, machine: Machine) -> OpenDataset:
    found = file(machine)
    return _open(read_captions_file(found, params.data.max_pixels), found.annotations)


def _open_split(split: str, params: Params, machine: Machine) -> OpenDataset:
    dataset = read_split(params.data.name, split, machine, params.data.max_pixels)
    return _open(dataset, machine.dataset(params.data.name, split) / MANIFEST_FILE)


def _open(dataset: RetrievalDataset, source: Path) -> OpenDataset:
    images, owners = dataset.images, dataset.caption_to_image
    keys = map(images.key, range(len(images)))
    return OpenDataset(
        size={"num_images": len(images), "num_captions": len(dataset.captions)},
        chance=chance_metrics(len(images), torch.tensor(owners)),
        sources=(source,),
        fingerprint=digest([images.collection, *keys, *dataset.captions, *map(str, owners)]),
        measure=partial(measure, dataset),
    )


def _image_path(folder: Path, name: str) -> Path:
    """Where an image lies: at its name, or directly in `folder`.

    Karpathy's files and Flickr30k's name a subfolder (val2014/..., flickr30k-images/...), which `folder` may
    itself be. Where neither is a file, the first.
    """
    path = path_below(folder, name)
    flat = folder / PurePosixPath(name).name
    return flat if not path.is_file() and flat.is_file() else path


def _check_split(folder: Path) -> None:
    """ValueError names the splits that there are, where others were prepared."""
    others = sorted(path.parent.name for path in folder.parent.glob(f"*/{MANIFEST_FILE}"))
    if others and folder.name not in others:
        raise InputError(
            f"{folder.parent} has no split {folder.name!r}, only {', '.join(others)}; data.num_heldout sets"
            " samples aside"
        )


def _captions(folder: Path, samples: ShardedSamples, index: int) -> list[str]:
    try:
        sample = samples.read(index)
    except DamagedDataError as error:
        raise InputError(f"{folder}: {error}; {NOTHING_LEFT_OUT}") from None
    try:
        return evaluation_captions(sample.annotation)
    except DamagedDataError as error:
        raise InputError(
            f"{folder}: sample {sample.key}: {error}; retrieval is measured on captions that people wrote:"
            " add them, or name another dataset in evaluate.retrieval.datasets"
        ) from None


def _dataset(name: str, images: Images, captions: Sequence[Sequence[str]]) -> RetrievalDataset:
    """The dataset from the captions of each image. ValueError when there is none."""
    if not captions:
        raise InputError(f"{name}: the dataset is empty; `cosmos prepare` says what was left out of it")
    owners = tuple(image for image, own in enumerate(captions) for _ in own)
    return RetrievalDataset(images, tuple(caption for own in captions for caption in own), owners)


def _split_card(split: str, title: str) -> Card:
    layout = (f"made by `cosmos prepare`: {split} of data.name, below data_root",)
    return Card(
        SUITE, split, title, layout, "as prepared", "that of its source", 0, partial(_open_split, split)
    )


def _published_card(
    name: str,
    title: str,
    layout: str,
    annotations: str,
    images: str,
    *,
    split: str = "",
    num_images: int,
    size: str,
    licence: str,
) -> Card:
    def file(machine: Machine) -> CaptionsFile:
        root = machine.datasets_root
        read = _readers(split)[layout]
        return CaptionsFile(read, root / annotations, root / images, PUBLISHED_REMEDY)

    files = (annotations, images)
    return Card(SUITE, name, title, files, size, licence, num_images, partial(_open_file, file))


COCO_LICENCE = "annotations CC BY 4.0; photographs under Flickr's terms"
FLICKR_LICENCE = "research and education, non-commercial; photographs under Flickr's terms"

CARDS = (
    _split_card("heldout", "samples set aside from training"),
    _split_card("train", "the training split itself"),
    _published_card(
        "coco-val2017",
        "COCO 2017 val, all captions",
        "coco",
        "coco/annotations/captions_val2017.json",
        "coco/images/val2017",
        num_images=5000,
        size="5,000 images, 25,014 captions; 1 GB",
        licence=COCO_LICENCE,
    ),
    _published_card(
        "coco-karpathy",
        "COCO, Karpathy's test split",
        "coco-karpathy",
        "coco/dataset_coco.json",
        "coco/images",
        split="test",
        num_images=5000,
        size="5,000 images of val2014, 25,010 captions; 6 GB",
        licence=COCO_LICENCE,
    ),
    _published_card(
        "flickr30k-val",
        "Flickr30k val",
        "flickr30k",
        "flickr30k/flickr30k_val.json",
        "flickr30k",
        num_images=1014,
        size="1,014 images, 5,070 captions; 0.2 GB",
        licence=FLICKR_LICENCE,
    ),
    _published_card(
        "flickr30k-test",
        "Flickr30k test",
        "flickr30k",
        "flickr30k/flickr30k_test.json",
        "flickr30k",
        num_images=1000,
        size="1,000 images, 5,000 captions; 0.2 GB",
        licence=FLICKR_LICENCE,
    ),
    _published_card(
        "flickr8k",
        "Flickr8k, all images",
        "flickr8k",
        "flickr8k/captions.txt",
        "flickr8k/Images",
        num_images=8091,
        size="8,091 images, 40,455 captions; 1 GB",
        licence=FLICKR_LICENCE,
    ),
)
"""Datasets of this suite by name."""
