"""What the suites know of a dataset before it is opened, and what they get when it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from PIL import Image
from torch import Tensor

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.evaluation.embed import Embedder

Figures = dict[str, float]
"""Metrics by name. Shares lie between 0 and 1."""


@dataclass(frozen=True)
class SegmentedImage:
    """An image, and the class of each of its pixels."""

    image: Image.Image
    """RGB"""
    labels: Tensor
    """(H, W) on the CPU: what is true, -1 where nothing counts"""
    predicted: Tensor
    """(H, W) on the CPU: what an encoder says"""
    class_names: tuple[str, ...]


def no_pictures(embedder: Embedder) -> list[SegmentedImage]:
    """Of a dataset whose answers are no pictures."""
    del embedder
    return []


@dataclass(frozen=True)
class OpenDataset:
    """A dataset that was found whole."""

    size: dict[str, int]
    """what its figures are of: num_images, num_captions, num_classes, ..."""
    chance: Figures
    """what guessing is expected to score, for those metrics that have such a value"""
    sources: tuple[Path, ...]
    """files that say what it holds: the manifest, the captions file, the list of images, ..."""
    fingerprint: str
    """differs once an image, a label or a setting that figures depend on does"""
    measure: Callable[[Embedder], Figures]
    """an encoder's metrics, by name"""
    pictures: Callable[[Embedder], list[SegmentedImage]] = no_pictures
    """some of an encoder's answers, to look at"""


@dataclass(frozen=True)
class Card:
    """A dataset that a suite can measure: what it is, what it expects on disk, how it is opened."""

    suite: str
    name: str
    title: str
    layout: tuple[str, ...]
    """files and folders, as paths below the machine's datasets_root"""
    size: str
    """how much there is of it, for people: images, captions or classes, and what it takes on disk"""
    licence: str
    """under which terms it may be used, in a few words"""
    num_images: int
    """images of the published dataset; 0 where there is no such number"""
    open: Callable[[Params, Machine], OpenDataset]
    """finds it on disk; ValueError names what is missing or wrong, before anything is computed"""
    download: Callable[[Path], object] | None = None
    """fetches it into the given datasets_root, where torchvision can"""

    @classmethod
    def own(
        cls, suite: str, name: str, layout: tuple[str, ...], opening: Callable[[Params, Machine], OpenDataset]
    ) -> Self:
        """The card of a set of one's own, of which no more is known."""
        return cls(suite, name, "a set of your own", layout, "", "yours", 0, opening)

    @classmethod
    def demo(
        cls, suite: str, title: str, size: str, opening: Callable[[Params, Machine], OpenDataset]
    ) -> Self:
        """The card of a suite's set of the demo world."""
        layout = (f"drawn by `cosmos prepare`: evaluation/{suite} of data.name, below data_root",)
        return cls(suite, "demo", title, layout, size, "that of this project", 0, opening)


def demo_folder(suite: str, params: Params, machine: Machine) -> Path:
    """Where a suite's set of the demo world lies."""
    return machine.data_root / params.data.name / "evaluation" / suite
