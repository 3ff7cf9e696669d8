"""Datasets of images and masks for segmentation: the published ones, the demo world's, and one's own."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cosmos.data.annotations import path_below, read_text
from cosmos.evaluate_params import SegmentationProtocol, SegmentationSet
from cosmos.evaluation.card import Card, OpenDataset
from cosmos.evaluation.images import (
    DEMO_REMEDY,
    PUBLISHED_REMEDY,
    ImageFiles,
    check_file,
    check_present,
    digest,
    file_key,
)
from cosmos.evaluation.prompts import SEGMENTATION_CLASSES
from cosmos.evaluation.segment import SegmentationDataset, measure
from cosmos.machine import Machine
from cosmos.params import Params

SUITE = "segmentation"

Classes = tuple[tuple[str, ...], ...]
"""The query words of every class, in the order of labels."""


@dataclass(frozen=True)
class PairedFolders:
    """A folder of images and one of masks on this machine; an image and its mask share their path's stem.

    A stem is a path below the folder, without the suffix. Folders inside the folders are part of it.
    """

    images: Path
    image_suffix: str
    masks: Path
    mask_suffix: str
    remedy: str
    """what to do about a file that is missing"""

    def image(self, stem: str) -> Path:
        """The file of an image. ValueError when it would lie outside of the folder."""
        return path_below(self.images, stem + self.image_suffix)

    def mask(self, stem: str) -> Path:
        """The file of an image's mask. ValueError when it would lie outside of the folder."""
        return path_below(self.masks, stem + self.mask_suffix)


@dataclass(frozen=True)
class Layout:
    """Where the files of a published dataset lie below datasets_root, and what is known of them."""

    images: str
    image_suffix: str
    masks: str
    mask_suffix: str
    num_images: int
    size: str
    licence: str
    list_file: str = ""
    """file with a stem per line, which says what the dataset holds; without one, the folders say it"""
    stem: str = "<id>"
    """how stems look, for people"""
    masks_made_by: str = ""
    """what makes these masks, where they are not part of the download"""

    def lines(self) -> tuple[str, ...]:
        """The layout, for people."""
        made_by = f" (made by {self.masks_made_by})" if self.masks_made_by else ""
        images = f"{self.images}/{self.stem}{self.image_suffix}"
        masks = f"{self.masks}/{self.stem}{self.mask_suffix}{made_by}"
        return tuple(filter(None, (images, masks, self.list_file)))

    def folders(self, machine: Machine) -> PairedFolders:
        """The folders on this machine."""
        images, masks = machine.datasets_root / self.images, machine.datasets_root / self.masks
        return PairedFolders(images, self.image_suffix, masks, self.mask_suffix, PUBLISHED_REMEDY)


@dataclass(frozen=True)
class Described:
    """All that is known of a dataset on this machine but for the stems that it holds."""

    name: str
    folders: PairedFolders
    classes: Classes
    names: tuple[str, ...]
    """what each class is called in results"""
    protocol: SegmentationProtocol
    sources: tuple[Path, ...]
    """files that say what it holds"""


@dataclass(frozen=True)
class PublishedSet:
    """A dataset of the paper: its files, and how it is measured."""

    name: str
    title: str
    layout: Layout
    protocol: SegmentationProtocol
    has_background: bool = False
    """class 0 is whatever is none of the others, put into words"""

    def on(self, machine: Machine, sources: tuple[Path, ...]) -> Described:
        """The dataset on a machine."""
        classes = SEGMENTATION_CLASSES[self.name]
        names = class_names(classes, self.has_background)
        folders = self.layout.folders(machine)
        return Described(self.name, folders, classes, names, self.protocol, sources)

    def card(self) -> Card:
        """The card that opens it."""
        layout = self.layout
        return Card(
            suite=SUITE,
            name=self.name,
            title=self.title,
            layout=layout.lines(),
            size=layout.size,
            licence=layout.licence,
            num_images=layout.num_images,
            open=partial(_open_listed if layout.list_file else _open_whole, self),
        )


def own_card(name: str, description: SegmentationSet) -> Card:
    """The card of a set of one's own."""
    layout = (description.classes, description.images, description.masks)
    opening = partial(_open_own, name, description)
    return Card(SUITE, name, "a set of your own", layout, "", "yours", 0, opening)


def read_classes(path: Path) -> Classes:
    """The classes of a file: one per line in the order of labels, synonyms after commas.

    ValueError names file and line of an empty line or word, and of a word that is there twice (in whatever
    case, which the tokenizer ignores): its classes could not be told apart.
    """
    classes = [_words(path, number, line) for number, line in enumerate(_lines(path), 1)]
    if not classes:
        raise ValueError(f"{path}: no classes in it; write one per line, synonyms after commas")
    lines: dict[str, int] = {}
    for number, words in enumerate(classes, 1):
        for word in map(str.lower, words):
            if word in lines:
                raise ValueError(
                    f"{path}, line {number}: {word!r} is on line {lines[word]} already;"
                    " leave it to one class, once"
                )
            lines[word] = number
    return tuple(classes)


def class_names(classes: Classes, has_background: bool) -> tuple[str, ...]:
    """The first word of every class; class 0 may be whatever is none of the others, put into words."""
    names = tuple(words[0] for words in classes)
    return ("background", *names[1:]) if has_background else names


def _open_listed(published: PublishedSet, params: Params, machine: Machine) -> OpenDataset:
    """Opens what the list file names, be it more or less than was published."""
    list_file = machine.datasets_root / published.layout.list_file
    described = published.on(machine, (list_file,))
    return _open(described, _listed_stems(list_file, described.folders), params)


def _open_whole(published: PublishedSet, params: Params, machine: Machine) -> OpenDataset:
    """Opens what the folders hold: as much as was published, as nothing else tells a half from the whole."""
    described, expected = published.on(machine, ()), published.layout.num_images
    folders = described.folders
    stems = _found_stems(folders)
    num_images = sum(folders.image(stem).is_file() for stem in stems)
    if num_images != expected:
        raise ValueError(
            f"{folders.images}: {num_images:,} of {expected:,} images (*{folders.image_suffix}) are there;"
            f" {folders.remedy}"
        )
    return _open(described, stems, params)


def _open_demo(params: Params, machine: Machine) -> OpenDataset:
    folder = machine.data_root / params.data.name / "evaluation" / SUITE
    folders = PairedFolders(folder / "images", ".jpg", folder / "masks", ".png", DEMO_REMEDY)
    protocol = SegmentationProtocol(short_side=128, logit_scale=40)
    described = _described("demo", folders, folder / "classes.txt", protocol, has_background=True)
    return _open(described, _found_stems(folders), params)


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
    return _open(described, _found_stems(folders), params)


def _described(
    name: str, folders: PairedFolders, class_file: Path, protocol: SegmentationProtocol, has_background: bool
) -> Described:
    """Two folders and the classes that a file names."""
    check_file(class_file, folders.remedy)
    classes = read_classes(class_file)
    names = class_names(classes, has_background)
    return Described(name, folders, classes, names, protocol, (class_file,))


def _open(described: Described, stems: Sequence[str], params: Params) -> OpenDataset:
    """Opens the images and masks of these stems, all of which must be there."""
    folders, classes, protocol = described.folders, described.classes, described.protocol
    images = ImageFiles(folders.images, tuple(map(folders.image, stems)), params.data.max_pixels)
    masks = tuple(map(folders.mask, stems))
    check_present(folders.images, "images", images.paths, folders.remedy)
    check_present(folders.masks, "masks", masks, folders.remedy)
    attention = params.evaluate.segmentation.attention
    dataset = SegmentationDataset(described.name, images, masks, classes, described.names, protocol)
    keys = map(images.key, range(len(images)))
    mask_keys = (file_key(mask, folders.masks) for mask in masks)
    settings = (protocol.model_dump_json(), *attention, *map(", ".join, classes))
    return OpenDataset(
        size={"num_images": len(images), "num_classes": len(classes)},
        chance={},
        sources=described.sources,
        fingerprint=digest([*settings, *keys, *mask_keys]),
        measure=partial(measure, dataset, attention),
    )


def _listed_stems(list_file: Path, folders: PairedFolders) -> list[str]:
    """Stems that a list names, in its order. ValueError when there are none, or one leads outside."""
    check_file(list_file, folders.remedy)
    stems = list(dict.fromkeys(line.strip() for line in _lines(list_file) if line.strip()))
    if not stems:
        raise ValueError(f"{list_file}: no names in it; {folders.remedy}")
    try:
        for stem in stems:
            folders.image(stem)
    except ValueError as error:
        raise ValueError(f"{list_file}: {error}; {folders.remedy}") from None
    return stems


def _found_stems(folders: PairedFolders) -> list[str]:
    """Stems of all images and all masks, sorted. ValueError for a missing folder, and for no images."""
    for folder in (folders.images, folders.masks):
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; {folders.remedy}")
    images = set(_stems_below(folders.images, folders.image_suffix))
    if not images:
        raise ValueError(f"{folders.images}: no images (*{folders.image_suffix}) in it; {folders.remedy}")
    return sorted(images.union(_stems_below(folders.masks, folders.mask_suffix)))


def _stems_below(folder: Path, suffix: str) -> Iterable[str]:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    names = (path.relative_to(folder).as_posix() for path in paths)
    return (name.removesuffix(suffix) for name in names if name.endswith(suffix))


def _lines(path: Path) -> list[str]:
    text = read_text(path).removesuffix("\n")
    return text.split("\n") if text else []


def _words(path: Path, number: int, line: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in line.split(","))
    if not all(words):
        raise ValueError(
            f"{path}, line {number}: an empty class or synonym; write a class per line, synonyms after commas"
        )
    return words


_FLICKR = "photographs under Flickr's terms"

VOC2012 = Layout(
    images="VOC2012/JPEGImages",
    image_suffix=".jpg",
    masks="VOC2012/SegmentationClass",
    mask_suffix=".png",
    num_images=1449,
    size="1,449 images; 2 GB with the rest of VOC2012",
    licence=_FLICKR,
    list_file="VOC2012/ImageSets/Segmentation/val.txt",
)
VOC2010 = Layout(
    images="VOC2010/JPEGImages",
    image_suffix=".jpg",
    masks="VOC2010/SegmentationClassContext",
    mask_suffix=".png",
    num_images=5104,
    size="5,104 images; 1.5 GB with the rest of VOC2010",
    licence=_FLICKR,
    list_file="VOC2010/ImageSets/SegmentationContext/val.txt",
    masks_made_by="MMSegmentation's pascal_context.py",
)
COCO_STUFF = Layout(
    images="coco/images/val2017",
    image_suffix=".jpg",
    masks="coco/annotations/val2017",
    mask_suffix="_labelTrainIds.png",
    num_images=5000,
    size="5,000 images; 1 GB",
    licence=f"annotations CC BY 4.0; {_FLICKR}",
    masks_made_by="MMSegmentation's coco_stuff164k.py",
)
COCO_OBJECT = replace(
    COCO_STUFF, mask_suffix="_instanceTrainIds.png", masks_made_by="SCLIP's cvt_coco_object.py"
)
ADE20K = Layout(
    images="ade20k/images/validation",
    image_suffix=".jpg",
    masks="ade20k/annotations/validation",
    mask_suffix=".png",
    num_images=2000,
    size="2,000 images; 1 GB with the training images",
    licence="annotations BSD-3-Clause; images for non-commercial research and education",
)
CITYSCAPES = Layout(
    images="cityscapes/leftImg8bit/val",
    image_suffix="_leftImg8bit.png",
    masks="cityscapes/gtFine/val",
    mask_suffix="_gtFine_labelTrainIds.png",
    num_images=500,
    size="500 images; 12 GB with the training images",
    licence="non-commercial research, after registration",
    stem="<city>/<id>",
    masks_made_by="cityscapesScripts' createTrainIdLabelImgs.py",
)

PUBLISHED = (
    PublishedSet(
        "voc20", "VOC 2012 val without background", VOC2012, SegmentationProtocol(zero_is_ignored=True)
    ),
    PublishedSet(
        "voc21",
        "VOC 2012 val with background",
        VOC2012,
        SegmentationProtocol(logit_scale=65, prob_thd=0.1, area_thd=0.1),
        has_background=True,
    ),
    PublishedSet(
        "context59",
        "Pascal Context val without background",
        VOC2010,
        SegmentationProtocol(zero_is_ignored=True),
    ),
    PublishedSet(
        "context60",
        "Pascal Context val with background",
        VOC2010,
        SegmentationProtocol(logit_scale=50, prob_thd=0.1),
    ),
    PublishedSet(
        "coco-object",
        "COCO-Object val2017",
        COCO_OBJECT,
        SegmentationProtocol(logit_scale=50, prob_thd=0.1),
        has_background=True,
    ),
    PublishedSet("coco-stuff", "COCO-Stuff val2017", COCO_STUFF, SegmentationProtocol(short_side=448)),
    PublishedSet("ade20k", "ADE20K val, 150 classes", ADE20K, SegmentationProtocol(zero_is_ignored=True)),
    PublishedSet("cityscapes", "Cityscapes val", CITYSCAPES, SegmentationProtocol(short_side=560)),
)
"""The table of the paper's protocol; short_side 336 and logit_scale 40 are SegmentationProtocol's own."""

_DEMO = Card(
    SUITE,
    "demo",
    "scenes of the demo world",
    ("drawn by `cosmos prepare`: evaluation/segmentation of data.name, below data_root",),
    "100 images of 10 colours; 1 MB",
    "that of this project",
    0,
    _open_demo,
)

CARDS = (_DEMO, *(published.card() for published in PUBLISHED))
"""Datasets of this suite."""
