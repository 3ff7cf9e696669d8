"""Cards of datasets for retrieval: prepared splits, the published sets, and users' own."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cosmos.config.evaluate_params import RetrievalSet
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.image_decoding import IMAGE_SUFFIXES
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.evaluation.card import DatasetCard, OpenDataset
from cosmos.evaluation.dataset_files import PUBLISHED_REMEDY
from cosmos.evaluation.presence import DatasetPresence, ImageNames, find_files, find_split
from cosmos.evaluation.retrieval.layouts import (
    CaptionsFile,
    caption_readers,
    read_captions_file,
    read_split,
)

SUITE = "retrieval"


def own_card(name: str, description: RetrievalSet) -> DatasetCard:
    """Return the card of a user's own set."""

    def captions_file(machine: Machine) -> CaptionsFile:
        return CaptionsFile(
            caption_readers(description.split)[description.layout],
            machine.source(description.annotations),
            machine.source(description.images),
            f"correct evaluate.retrieval.own.{name}, or complete the folder",
        )

    def find(params: Params, machine: Machine) -> DatasetPresence:
        file = captions_file(machine)
        return find_files([file.annotations], [_images_in(file.images)], 0, file.remedy)

    layout = (description.annotations, description.images)
    return DatasetCard.own(SUITE, name, layout, find, partial(_open_captions_file, captions_file))


def _images_in(*folders: Path, is_deep: bool = True) -> ImageNames:
    return ImageNames(folders, IMAGE_SUFFIXES, is_deep)


def _open_captions_file(
    locate: Callable[[Machine], CaptionsFile], params: Params, machine: Machine
) -> OpenDataset:
    from cosmos.evaluation.retrieval.measure import open_captioned_images

    file = locate(machine)
    return open_captioned_images(read_captions_file(file, params.data.max_pixels), file.annotations)


def _open_split(split: str, params: Params, machine: Machine) -> OpenDataset:
    from cosmos.evaluation.retrieval.measure import open_captioned_images

    dataset = read_split(params.data.name, split, machine, params.data.max_pixels)
    return open_captioned_images(dataset, machine.dataset(params.data.name, split) / MANIFEST_FILE)


def _split_card(split: str, title: str) -> DatasetCard:
    layout = (f"made by `cosmos prepare`: {split} of data.name, below data_root",)
    find, opening = partial(find_split, split), partial(_open_split, split)
    return DatasetCard(SUITE, split, title, layout, "as prepared", "that of its source", 0, find, opening)


def _published_card(
    name: str,
    title: str,
    layout: str,
    annotations: str,
    images: str,
    *,
    split: str = "",
    subfolder: str = "",
    num_images: int,
    size: str,
    licence: str,
) -> DatasetCard:
    def captions_file(machine: Machine) -> CaptionsFile:
        root = machine.datasets_root
        read = caption_readers(split)[layout]
        return CaptionsFile(read, root / annotations, root / images, PUBLISHED_REMEDY)

    def find(params: Params, machine: Machine) -> DatasetPresence:
        file = captions_file(machine)
        folders = dict.fromkeys([file.images, file.images / subfolder])
        return find_files([file.annotations], [_images_in(*folders, is_deep=False)], num_images, file.remedy)

    files, opening = (annotations, images), partial(_open_captions_file, captions_file)
    return DatasetCard(SUITE, name, title, files, size, licence, num_images, find, opening)


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
        subfolder="val2014",
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
        subfolder="flickr30k-images",
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
        subfolder="flickr30k-images",
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
"""Cards of the datasets of this suite."""
