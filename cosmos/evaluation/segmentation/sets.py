"""Datasets of images and masks for segmentation: the published ones, the demo world's, and one's own."""

from functools import partial
from pathlib import Path

from cosmos.config.evaluate_params import SegmentationProtocol, SegmentationSet
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.evaluation.card import Card, OpenDataset, demo_folder
from cosmos.evaluation.images import DEMO_REMEDY, check_file
from cosmos.evaluation.segmentation.paired_images import (
    Described,
    PairedFolders,
    class_names,
    found_stems,
    opened,
    read_classes,
)
from cosmos.evaluation.segmentation.published import PUBLISHED_CARDS

SUITE = "segmentation"


def own_card(name: str, description: SegmentationSet) -> Card:
    """The card of a set of one's own."""
    layout = (description.classes, description.images, description.masks)
    return Card.own(SUITE, name, layout, partial(_open_own, name, description))


def _open_demo(params: Params, machine: Machine) -> OpenDataset:
    folder = demo_folder(SUITE, params, machine)
    folders = PairedFolders(folder / "images", ".jpg", folder / "masks", ".png", DEMO_REMEDY)
    protocol = SegmentationProtocol(short_side=128, logit_scale=40)
    described = _described("demo", folders, folder / "classes.txt", protocol, has_background=True)
    return opened(described, found_stems(folders), params)


def _open_own(name: str, description: SegmentationSet, params: Params, machine: Machine) -> OpenDataset:
    folders = PairedFolders(
        machine.source(description.images),
        description.image_suffix,
        machine.source(description.masks),
        description.mask_suffix,
        f"correct evaluate.segmentation.own.{name}, or complete the folders",
    )
    settings = description.model_dump(include=set(SegmentationProtocol.model_fields))
    protocol = SegmentationProtocol.model_validate(settings)
    classes = machine.source(description.classes)
    described = _described(name, folders, classes, protocol, has_background=False)
    return opened(described, found_stems(folders), params)


def _described(
    name: str, folders: PairedFolders, class_file: Path, protocol: SegmentationProtocol, has_background: bool
) -> Described:
    """Two folders and the classes that a file names."""
    check_file(class_file, folders.remedy)
    classes = read_classes(class_file)
    names = class_names(classes, has_background)
    return Described(name, folders, classes, names, protocol, (class_file,))


_DEMO = Card.demo(SUITE, "scenes of the demo world", "100 images of 10 colours; 1 MB", _open_demo)

CARDS = (_DEMO, *PUBLISHED_CARDS)
"""Datasets of this suite."""
