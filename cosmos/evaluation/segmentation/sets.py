"""Cards of datasets for segmentation: the demo world's, the published ones, and users' own."""

from functools import partial
from pathlib import Path

from cosmos.config.evaluate_params import SegmentationProtocol, SegmentationSet
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.evaluation.card import DatasetCard, OpenDataset, demo_folder
from cosmos.evaluation.dataset_files import DEMO_REMEDY, check_file_exists
from cosmos.evaluation.presence import DatasetPresence, find_files
from cosmos.evaluation.segmentation import published_sets
from cosmos.evaluation.segmentation.layouts import (
    PairedFolders,
    SegmentationSource,
    class_names,
    find_stems,
    open_masked_images,
    read_class_file,
)

SUITE = "segmentation"


def own_card(name: str, description: SegmentationSet) -> DatasetCard:
    """Return the card of a user's own set."""
    layout = (description.classes, description.images, description.masks)
    finding, opening = partial(_find_own, name, description), partial(_open_own, name, description)
    return DatasetCard.own(SUITE, name, layout, finding, opening)


def _find_own(name: str, description: SegmentationSet, params: Params, machine: Machine) -> DatasetPresence:
    folders = _own_folders(name, description, machine)
    return find_files([machine.source(description.classes)], folders.names, 0, folders.remedy)


def _own_folders(name: str, description: SegmentationSet, machine: Machine) -> PairedFolders:
    return PairedFolders(
        machine.source(description.images),
        description.image_suffix,
        machine.source(description.masks),
        description.mask_suffix,
        f"correct evaluate.segmentation.own.{name}, or complete the folders",
    )


def _open_demo(params: Params, machine: Machine) -> OpenDataset:
    folder = demo_folder(SUITE, params, machine)
    folders = PairedFolders(folder / "images", ".jpg", folder / "masks", ".png", DEMO_REMEDY)
    protocol = SegmentationProtocol(short_side=128, logit_scale=40)
    source = _source("demo", folders, folder / "classes.txt", protocol, has_background=True)
    return open_masked_images(source, find_stems(folders), params)


def _open_own(name: str, description: SegmentationSet, params: Params, machine: Machine) -> OpenDataset:
    folders = _own_folders(name, description, machine)
    settings = description.model_dump(include=set(SegmentationProtocol.model_fields))
    protocol = SegmentationProtocol.model_validate(settings)
    classes = machine.source(description.classes)
    source = _source(name, folders, classes, protocol, has_background=False)
    return open_masked_images(source, find_stems(folders), params)


def _source(
    name: str, folders: PairedFolders, class_file: Path, protocol: SegmentationProtocol, has_background: bool
) -> SegmentationSource:
    """Return two folders with the classes that a file names."""
    check_file_exists(class_file, folders.remedy)
    classes = read_class_file(class_file)
    names = class_names(classes, has_background)
    return SegmentationSource(name, folders, classes, names, protocol, (class_file,))


_DEMO = DatasetCard.demo(SUITE, "scenes of the demo world", "100 images of 10 colours; 1 MB", _open_demo)

CARDS = (_DEMO, *published_sets.CARDS)
"""Cards of the datasets of this suite."""
