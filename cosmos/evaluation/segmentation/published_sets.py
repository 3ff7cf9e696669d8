"""Cards of the published segmentation datasets: where their files lie, and the protocol of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cosmos.config.disk_reading import is_file
from cosmos.config.evaluate_params import SegmentationProtocol
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import InputError
from cosmos.evaluation.card import DatasetCard, OpenDataset
from cosmos.evaluation.dataset_files import PUBLISHED_REMEDY
from cosmos.evaluation.presence import DatasetPresence, find_files, find_whole
from cosmos.evaluation.segmentation.layouts import (
    PairedFolders,
    SegmentationSource,
    class_names,
    find_stems,
    open_masked_images,
    read_stems,
)


@dataclass(frozen=True)
class PublishedLayout:
    """Places of a published dataset's files below datasets_root, with their number, size and licence."""

    images: str
    image_suffix: str
    masks: str
    mask_suffix: str
    num_images: int
    size: str
    licence: str
    list_file: str = ""
    """file with the stems of all images, one a line; "": all that the folders hold"""
    stem: str = "<id>"
    """form of the stems, for people"""
    masks_made_by: str = ""
    """script that makes these masks, where they are not part of the download"""

    def lines(self) -> tuple[str, ...]:
        """Return the layout, for people."""
        made_by = f" (made by {self.masks_made_by})" if self.masks_made_by else ""
        images = f"{self.images}/{self.stem}{self.image_suffix}"
        masks = f"{self.masks}/{self.stem}{self.mask_suffix}{made_by}"
        return tuple(filter(None, (images, masks, self.list_file)))

    def folders(self, machine: Machine) -> PairedFolders:
        """Return the folders on this machine."""
        images, masks = machine.datasets_root / self.images, machine.datasets_root / self.masks
        return PairedFolders(images, self.image_suffix, masks, self.mask_suffix, PUBLISHED_REMEDY)


@dataclass(frozen=True)
class PublishedSegmentationSet:
    """Dataset of the paper: its files, and the protocol that it is measured with."""

    name: str
    title: str
    layout: PublishedLayout
    protocol: SegmentationProtocol
    download: Callable[[Path], object] | None = None
    """downloads it into a datasets_root; None where torchvision cannot"""
    has_background: bool = False
    """True: class 0 is all that is none of the others"""

    def locate(self, machine: Machine, sources: tuple[Path, ...]) -> SegmentationSource:
        """Return the dataset's place on a machine."""
        from cosmos.evaluation.prompts import SEGMENTATION_CLASSES

        classes = SEGMENTATION_CLASSES[self.name]
        names = class_names(classes, self.has_background)
        folders = self.layout.folders(machine)
        return SegmentationSource(self.name, folders, classes, names, self.protocol, sources)

    def find(self, params: Params, machine: Machine) -> DatasetPresence:
        """Return its presence, by the names of its list, images and masks. Raises as `find_files`."""
        folders, layout = self.layout.folders(machine), self.layout
        if not layout.list_file:
            return find_whole((), folders.names, layout.num_images, folders.remedy)
        lists = [machine.datasets_root / layout.list_file]
        return find_files(lists, folders.names, layout.num_images, folders.remedy)

    def card(self) -> DatasetCard:
        """Return the card that opens it."""
        layout = self.layout
        return DatasetCard(
            suite="segmentation",
            name=self.name,
            title=self.title,
            layout=layout.lines(),
            size=layout.size,
            licence=layout.licence,
            num_images=layout.num_images,
            find=self.find,
            open=partial(_open_listed if layout.list_file else _open_whole, self),
            download=self.download,
        )


def download_voc2012(root: Path) -> None:
    """Download VOC 2012 into a datasets_root, and move it to where its layout says."""
    from torchvision.datasets import VOCSegmentation

    VOCSegmentation(root, year="2012", image_set="val", download=True)
    (root / "VOCdevkit" / "VOC2012").rename(root / "VOC2012")


def _open_listed(published: PublishedSegmentationSet, params: Params, machine: Machine) -> OpenDataset:
    """Open the images that the list file names, be they more or fewer than were published."""
    list_file = machine.datasets_root / published.layout.list_file
    source = published.locate(machine, (list_file,))
    return open_masked_images(source, read_stems(list_file, source.folders), params)


def _open_whole(published: PublishedSegmentationSet, params: Params, machine: Machine) -> OpenDataset:
    """Open the images that the folders hold, which must be as many as were published."""
    source, expected = published.locate(machine, ()), published.layout.num_images
    folders = source.folders
    stems = find_stems(folders)
    num_images = sum(is_file(folders.image(stem)) for stem in stems)
    if num_images != expected:
        raise InputError(
            f"{folders.images}: {num_images:,} of {expected:,} images (*{folders.image_suffix}) are there;"
            f" {folders.remedy}"
        )
    return open_masked_images(source, stems, params)


_FLICKR = "photographs under Flickr's terms"

VOC2012 = PublishedLayout(
    images="VOC2012/JPEGImages",
    image_suffix=".jpg",
    masks="VOC2012/SegmentationClass",
    mask_suffix=".png",
    num_images=1449,
    size="1,449 images; 2 GB with the rest of VOC2012",
    licence=_FLICKR,
    list_file="VOC2012/ImageSets/Segmentation/val.txt",
)
VOC2010 = PublishedLayout(
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
COCO_STUFF = PublishedLayout(
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
ADE20K = PublishedLayout(
    images="ade20k/images/validation",
    image_suffix=".jpg",
    masks="ade20k/annotations/validation",
    mask_suffix=".png",
    num_images=2000,
    size="2,000 images; 1 GB with the training images",
    licence="annotations BSD-3-Clause; images for non-commercial research and education",
)
CITYSCAPES = PublishedLayout(
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

SEGMENTATION_SETS = (
    PublishedSegmentationSet(
        "voc20",
        "VOC 2012 val without background",
        VOC2012,
        SegmentationProtocol(zero_is_ignored=True),
        download_voc2012,
    ),
    PublishedSegmentationSet(
        "voc21",
        "VOC 2012 val with background",
        VOC2012,
        SegmentationProtocol(logit_scale=65, prob_thd=0.1, area_thd=0.1),
        download_voc2012,
        has_background=True,
    ),
    PublishedSegmentationSet(
        "context59",
        "Pascal Context val without background",
        VOC2010,
        SegmentationProtocol(zero_is_ignored=True),
    ),
    PublishedSegmentationSet(
        "context60",
        "Pascal Context val with background",
        VOC2010,
        SegmentationProtocol(logit_scale=50, prob_thd=0.1),
    ),
    PublishedSegmentationSet(
        "coco-object",
        "COCO-Object val2017",
        COCO_OBJECT,
        SegmentationProtocol(logit_scale=50, prob_thd=0.1),
        has_background=True,
    ),
    PublishedSegmentationSet(
        "coco-stuff", "COCO-Stuff val2017", COCO_STUFF, SegmentationProtocol(short_side=448)
    ),
    PublishedSegmentationSet(
        "ade20k", "ADE20K val, 150 classes", ADE20K, SegmentationProtocol(zero_is_ignored=True)
    ),
    PublishedSegmentationSet(
        "cityscapes", "Cityscapes val", CITYSCAPES, SegmentationProtocol(short_side=560)
    ),
)
"""Protocols of the paper; short_side 336 and logit_scale 40 are SegmentationProtocol's defaults."""

CARDS = tuple(published.card() for published in SEGMENTATION_SETS)
"""Cards of the published datasets of this suite."""
