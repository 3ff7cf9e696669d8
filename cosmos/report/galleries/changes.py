"""Samples and classes that got better or worse from a baseline's answers to a run's, the largest first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cosmos.report.galleries.content import Answers, DatasetGallery, Galleries, SegmentationAnswers
from cosmos.report.galleries.pairs import ShownItem, show_item
from cosmos.report.galleries.pictures import (
    EmbeddedPicture,
    SegmentationPanels,
    segmentation_panels,
    thumbnail,
)
from cosmos.report.galleries.retrieval import Direction, ShownSample, directions
from cosmos.report.text import cut_name
from cosmos.run.statistics.answers import ClassAnswers, IntArray, PairAnswers, RetrievalAnswers

NUM_CHANGES = 4
"""Number of samples that are shown of those that got better, and of those that got worse."""
NUM_CLASSES = 8
"""Number of classes that are listed of those that got better, and of those that got worse."""


@dataclass(frozen=True)
class ChangedSample:
    """Sample whose answer got better or worse."""

    text: str
    """change in words"""
    query: ShownSample
    answers: Sequence[tuple[str, ShownSample]]
    """name and sample of each answer to compare: the right one, the run's, the baseline's"""


@dataclass(frozen=True)
class ChangedClass:
    """Class whose share of right answers changed."""

    name: str
    share: float
    other: float

    @property
    def difference(self) -> float:
        """Share of the run minus that of the baseline."""
        return self.share - self.other


@dataclass(frozen=True)
class Changes:
    """Changes of a kind: what got better and what worse, the largest first."""

    title: str
    better: Sequence[ChangedSample]
    worse: Sequence[ChangedSample]
    num_better: int
    num_worse: int


def matched_datasets(galleries: Galleries, against: Galleries) -> list[tuple[DatasetGallery, DatasetGallery]]:
    """Return the datasets of two galleries whose answers are of the same samples, with both answers."""
    others = {(other.suite, other.data_hash): other for other in against.datasets}
    pairs = ((own, others.get((own.suite, own.data_hash))) for own in galleries.datasets)
    return [(own, other) for own, other in pairs if other and are_comparable(own.answers, other.answers)]


def are_comparable(first: object, second: object) -> bool:
    """Return True for answers of one kind, on equally many samples."""
    return isinstance(first, Answers) and type(first) is type(second) and _size(first) == _size(second)


def _size(answers: object) -> tuple[int, ...]:
    """Return the numbers of samples of answers."""
    match answers:
        case RetrievalAnswers():
            return len(answers.images), len(answers.captions)
        case ClassAnswers():
            return len(answers.labels), len(answers.class_names)
        case PairAnswers():
            return (len(answers.margins),)
        case SegmentationAnswers():
            return (len(answers.samples),)
    return ()


def split_changes(changes: NDArray[np.float64], is_change: NDArray[np.bool_]) -> tuple[IntArray, IntArray]:
    """Return the samples, of those that changed, that gained and those that lost, the largest first.

    `changes`: (N,), above 0 of a gain.
    """
    order = np.argsort(-changes, kind="stable")
    changed = order[is_change[order]]
    return changed[changes[changed] > 0], changed[::-1][changes[changed[::-1]] < 0]


def retrieval_changes(own: RetrievalAnswers, other: RetrievalAnswers) -> list[Changes]:
    """Return the queries, of both directions, whose own candidates rose or fell by most places."""
    pairs = zip(directions(own), directions(other), strict=True)
    return [_direction_changes(direction, baseline) for direction, baseline in pairs]


def _direction_changes(own: Direction, other: Direction) -> Changes:
    risen = (other.ranked.ranks - own.ranked.ranks).astype(np.float64)
    return show_changes(own.title, split_changes(risen, risen != 0), partial(_changed_query, own, other))


def show_changes(
    title: str, samples: tuple[IntArray, IntArray], show: Callable[[int], ChangedSample]
) -> Changes:
    """Return samples that gained and samples that lost as the page shows them: the first of each."""
    better, worse = ([show(int(sample)) for sample in part[:NUM_CHANGES]] for part in samples)
    return Changes(title, better, worse, *map(len, samples))


def _changed_query(own: Direction, other: Direction, query: int) -> ChangedSample:
    places = [f"{direction.ranked.ranks[query] + 1:,}" for direction in (other, own)]
    answers = [
        (own.own, own.show_candidate(int(own.ranked.own[query]))),
        ("first now", own.show_candidate(int(own.ranked.first[query, 0]))),
        ("first before", other.show_candidate(int(other.ranked.first[query, 0]))),
    ]
    return ChangedSample(f"place {places[0]} → {places[1]}", own.show_query(query), answers)


def classification_changes(own: ClassAnswers, other: ClassAnswers) -> Changes:
    """Return the images that are right now and were wrong, and those that are wrong now and were right."""
    is_right, was_right = (answers.predicted == answers.labels for answers in (own, other))
    gains = own.of_images.margins - other.of_images.margins
    changed = split_changes(gains, is_right != was_right)
    return show_changes("Images", changed, partial(_changed_image, own, other))


def _changed_image(own: ClassAnswers, other: ClassAnswers, image: int) -> ChangedSample:
    names = [cut_name(own.class_names[answers.predicted[image]]) for answers in (other, own)]
    label = cut_name(own.class_names[own.labels[image]])
    picture = ShownSample("", thumbnail(own.images, image, f"image {image}"))
    return ChangedSample(f"{label}: {names[0]} → {names[1]}", picture, [])


def pair_changes(own: PairAnswers, other: PairAnswers) -> tuple[list[ShownItem], list[ShownItem], int, int]:
    """Return items that are right now and were wrong, items of the contrary, and the numbers of both."""
    changed = (own.margins > 0) != (other.margins > 0)
    better, worse = split_changes(own.margins - other.margins, changed)
    shown = [[show_item(own, int(item)) for item in items[:NUM_CHANGES]] for items in (better, worse)]
    return shown[0], shown[1], len(better), len(worse)


def changed_classes(own: DatasetGallery, other: DatasetGallery, family: str) -> list[ChangedClass]:
    """Return the classes whose shares changed most, the largest gains first, then the largest losses.

    `family`: beginning of the keys of the figures of classes.
    """
    before = other.figures[other.model]
    classes = [
        ChangedClass(cut_name(key.removeprefix(family)), share, before[key])
        for key, share in own.figures[own.model].items()
        if key.startswith(family) and key in before
    ]
    ordered = sorted(classes, key=lambda changed: -changed.difference)
    better = [changed for changed in ordered if changed.difference > 0]
    worse = [changed for changed in reversed(ordered) if changed.difference < 0]
    return [*better[:NUM_CLASSES], *worse[:NUM_CLASSES]]


def segmentation_changes(
    own: SegmentationAnswers, other: SegmentationAnswers
) -> list[tuple[SegmentationPanels, EmbeddedPicture, float]]:
    """Return images' panels, the baseline's prediction and the gain in accuracy, the largest first."""
    pairs = [
        (segmentation_panels(sample), segmentation_panels(baseline))
        for sample, baseline in zip(own.samples, other.samples, strict=True)
    ]
    changes = [(panels, before.prediction, panels.accuracy - before.accuracy) for panels, before in pairs]
    return sorted(changes, key=lambda change: -abs(np.nan_to_num(change[2])))
