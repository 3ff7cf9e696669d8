"""Classes to look at: bars of their figures, confusions with pictures, and a matrix of the largest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from cosmos.config.evaluate_params import Attention
from cosmos.config.figures import CLASS_ACCURACY, CLASS_IOU, Figures, name_with_attention
from cosmos.report.galleries.content import divide_room
from cosmos.report.galleries.pictures import EmbeddedPicture, thumbnail
from cosmos.report.text import cut_name
from cosmos.run.statistics.answers import ClassAnswers

MAX_BARS = 30
"""Largest number of classes that all have a bar; of more, the worst and the best."""
NUM_WORST, NUM_BEST = 20, 5
"""Numbers of these."""
NUM_CONFUSIONS = 12
"""Number of confusions that are listed."""
MIN_CONFUSIONS = 4
NUM_PICTURES_OF_CONFUSION = 3
"""Number of images that are shown of a confusion."""
MAX_MATRIX = 20
"""Largest number of classes of a matrix; of more, those of the largest confusions."""


@dataclass(frozen=True)
class ClassBar:
    """Share of a class by model, as a bar each."""

    name: str
    shares: Sequence[float | None]
    """by model, in the order of the bars' models"""


@dataclass(frozen=True)
class ClassBars:
    """Bars of the classes of a dataset, the worst first."""

    heading: str
    models: Sequence[str]
    """the first decides the order"""
    worst: Sequence[ClassBar]
    num_left_out: int
    """number of classes between the worst and the best"""
    best: Sequence[ClassBar]


@dataclass(frozen=True)
class ConfusionRow:
    """Images of a class that are taken for another."""

    own: str
    predicted: str
    count: int
    num_images: int
    """number of images of the class"""
    pictures: Sequence[EmbeddedPicture]


@dataclass(frozen=True)
class ConfusionMatrix:
    """Shares of the images of each class by predicted class."""

    names: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int], Sequence[float]]]
    """name of each class, numbers of its images by predicted class, and their shares of all its images"""
    num_left_out: int
    """number of classes that are not in it"""


CLASS_FAMILIES = (
    CLASS_ACCURACY.name,
    *(name_with_attention(CLASS_IOU.name, kind) for kind in get_args(Attention)),
)
"""Beginnings of the keys of figures of single classes."""


def class_family(figures: Figures) -> str:
    """Return the beginning of the keys of single classes, of the first of these; "" for none."""
    families = (family for key in figures for family in CLASS_FAMILIES if key.startswith(family))
    return next(families, "")


def class_bars(figures: Mapping[str, Figures], family: str, heading: str, first: str) -> ClassBars | None:
    """Return bars of the figures whose keys begin with `family`, the worst of the model `first` first.

    None where it has none.
    """
    models = [first, *(model for model in figures if model != first)]
    shares = {
        key.removeprefix(family): share for key, share in figures[first].items() if key.startswith(family)
    }
    bars = [
        ClassBar(cut_name(name), [figures[model].get(f"{family}{name}") for model in models])
        for name in sorted(shares, key=lambda name: shares[name])
    ]
    if not bars:
        return None
    num_worst = len(bars) if len(bars) <= MAX_BARS else NUM_WORST
    best = bars[num_worst:][-NUM_BEST:]
    return ClassBars(heading, models, bars[:num_worst], len(bars) - num_worst - len(best), best)


def classes_without_images(answers: ClassAnswers) -> list[str]:
    """Return the names of the classes that have no image."""
    return [cut_name(answers.class_names[label]) for label in np.flatnonzero(answers.class_counts() == 0)]


def confusion_rows(answers: ClassAnswers, num_datasets: int = 1) -> list[ConfusionRow]:
    """Return the largest confusions, the largest first, each with its clearest images.

    There are fewer where several datasets share the room, but MIN_CONFUSIONS at least.
    """
    names, totals = [*map(cut_name, answers.class_names)], answers.class_counts()
    num_rows = max(MIN_CONFUSIONS, divide_room(NUM_CONFUSIONS, num_datasets))
    return [
        ConfusionRow(
            names[own], names[predicted], count, int(totals[own]), confused_pictures(answers, own, predicted)
        )
        for own, predicted, count in answers.confusions()[:num_rows]
    ]


def confused_pictures(answers: ClassAnswers, own: int, predicted: int) -> list[EmbeddedPicture]:
    """Return images of a class that are taken for another, those with the largest lead of the other first."""
    images = np.flatnonzero((answers.labels == own) & (answers.predicted == predicted))
    clearest = images[np.argsort(answers.of_images.margins[images], kind="stable")]
    return [
        thumbnail(answers.images, int(image), f"image {image}", side=72)
        for image in clearest[:NUM_PICTURES_OF_CONFUSION]
    ]


def confusion_matrix(answers: ClassAnswers) -> ConfusionMatrix:
    """Return the matrix of all classes, or of those of the largest confusions where there are too many."""
    num_classes, names = len(answers.class_names), [*map(cut_name, answers.class_names)]
    labels = range(num_classes) if num_classes <= MAX_MATRIX else _most_confused(answers)
    rows = []
    for own in labels:
        predicted = answers.predicted[answers.labels == own]
        counts = [int((predicted == label).sum()) for label in labels]
        rows.append((names[own], counts, [count / max(1, len(predicted)) for count in counts]))
    return ConfusionMatrix([names[label] for label in labels], rows, num_classes - len(labels))


def _most_confused(answers: ClassAnswers) -> list[int]:
    """Return the classes of the largest confusions, at most MAX_MATRIX, in order of their labels."""
    classes = dict.fromkeys(label for own, other, _ in answers.confusions() for label in (own, other))
    return sorted(list(classes)[:MAX_MATRIX])
