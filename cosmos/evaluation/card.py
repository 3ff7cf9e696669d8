"""Cards of datasets, which describe them before they are opened, and the datasets that cards open."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from cosmos.config.disk_reading import exists
from cosmos.config.figures import Figures
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.drawn_sets import COMPLETE_FILE, find_changed_file
from cosmos.errors import InputError
from cosmos.evaluation.dataset_files import DEMO_REMEDY
from cosmos.evaluation.presence import DatasetPresence, find_demo

if TYPE_CHECKING:  # torch takes seconds, and a list of datasets needs none
    from PIL import Image
    from torch import Tensor

    from cosmos.evaluation.classification.measure import ClassificationDataset
    from cosmos.evaluation.embed import Embedder
    from cosmos.evaluation.perception.measure import CaptionedPairs, HardNegatives
    from cosmos.evaluation.retrieval.measure import RetrievalDataset
    from cosmos.evaluation.segmentation.measure import SegmentationDataset
    from cosmos.run.statistics.image_values import FloatArray

    DatasetContent: TypeAlias = (
        RetrievalDataset | ClassificationDataset | SegmentationDataset | HardNegatives | CaptionedPairs
    )


@dataclass(frozen=True)
class SegmentedImage:
    """Image with the true and the predicted class of each of its pixels."""

    image: "Image.Image"
    """RGB"""
    labels: "Tensor"
    """(H, W) on the CPU: true classes, -1 where none counts"""
    predicted: "Tensor"
    """(H, W) on the CPU: predicted classes"""
    class_names: tuple[str, ...]


def no_pictures(embedder: "Embedder") -> list[SegmentedImage]:
    """Return no pictures, for a dataset whose answers cannot be shown as such."""
    del embedder
    return []


@dataclass(frozen=True)
class Measurement:
    """Figures of an encoder on a dataset, and the values of images for those that are means over images."""

    figures: Figures
    values: "Mapping[str, FloatArray]"
    """(N,) by metric, of images or pairs of them, in their order; see `cosmos.run.statistics`"""


@dataclass(frozen=True)
class OpenDataset:
    """Dataset whose files are all there."""

    size: dict[str, int]
    """counts of its items: num_images, num_captions, num_classes, ..."""
    chance: Figures
    """expected scores of guessing, by metric that has one"""
    sources: tuple[Path, ...]
    """files that define its content: the manifest, the captions file, the list of images, ..."""
    fingerprint: str
    """hash of all that figures depend on: images, labels and settings"""
    measure: "Callable[[Embedder], Measurement]"
    """returns an encoder's figures by metric, and the values of images"""
    pictures: "Callable[[Embedder], list[SegmentedImage]]" = no_pictures
    """returns some of an encoder's answers as pictures"""
    listings: Mapping[Path, str] = field(default_factory=dict)
    """hashes of the names and sizes of image files, by the folder that they lie in"""
    content: "DatasetContent | None" = None
    """images, and what is true of them"""
    image_set: str = ""
    """hash of the names of the images, or pairs, that values are of, in their order"""


@dataclass(frozen=True)
class DatasetCard:
    """Dataset that a suite can measure: title, files that it expects on disk, and how to open it."""

    suite: str
    name: str
    title: str
    layout: tuple[str, ...]
    """files and folders, as paths below the machine's datasets_root"""
    size: str
    """number of images, captions or classes, and room on disk, for people"""
    licence: str
    """terms of use, in a few words"""
    num_images: int
    """number of images of the published dataset; 0 where there is no such number"""
    find: Callable[[Params, Machine], DatasetPresence]
    """says, by the names of its files, that it is there; raises as `open`, opens none of them"""
    open: Callable[[Params, Machine], OpenDataset]
    """opens it, before anything is computed; raises InputError, DamagedDataError or TransientError"""
    download: Callable[[Path], object] | None = None
    """downloads it into the given datasets_root; None where torchvision cannot"""

    @classmethod
    def own(
        cls,
        suite: str,
        name: str,
        layout: tuple[str, ...],
        finding: Callable[[Params, Machine], DatasetPresence],
        opening: Callable[[Params, Machine], OpenDataset],
    ) -> Self:
        """Return the card of a user's own set, whose size and licence are not known."""
        return cls(suite, name, "a set of your own", layout, "", "yours", 0, finding, opening)

    @classmethod
    def demo(
        cls, suite: str, title: str, size: str, opening: Callable[[Params, Machine], OpenDataset]
    ) -> Self:
        """Return the card of a suite's set of the demo world."""
        layout = (f"drawn by `cosmos prepare`: evaluation/{suite} of data.name, below data_root",)
        finding = partial(find_demo, suite)
        return cls(suite, "demo", title, layout, size, "that of this project", 0, finding, opening)


def demo_folder(suite: str, params: Params, machine: Machine) -> Path:
    """Return the folder of a suite's set of the demo world. Raises InputError where it is damaged."""
    folder = machine.data_root / params.data.name / "evaluation" / suite
    if exists(folder) and (changed := find_changed_file(folder.parent, suite)):
        raise InputError(f"{changed}: not as {COMPLETE_FILE} has it, or missing; {DEMO_REMEDY}")
    return folder
