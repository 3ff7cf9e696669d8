"""Items of perception and composition to look at: those that a model gets wrong, with both captions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosmos.report.galleries.content import divide_room
from cosmos.report.galleries.pictures import EmbeddedPicture, thumbnail
from cosmos.report.text import cut_name, cut_text
from cosmos.run.statistics.answers import PairAnswers

NUM_ITEMS = 8
"""Number of failed items that are shown of a dataset."""


@dataclass(frozen=True)
class ShownItem:
    """Item with its images, and its captions with the score of each image."""

    kind: str
    pictures: Sequence[EmbeddedPicture]
    captions: Sequence[tuple[str, Sequence[float]]]
    """each caption, and its scores with the images"""
    margin: float
    """smallest lead of a true score over a false one"""

    @property
    def is_pair(self) -> bool:
        """True for two images, each with a caption of its own."""
        return len(self.pictures) > 1


def failed_items(answers: PairAnswers, num_datasets: int = 1) -> list[ShownItem]:
    """Return the items that are wrong, those with the largest lead of a false score first."""
    worst_first = np.argsort(answers.margins, kind="stable")
    failed = worst_first[answers.margins[worst_first] <= 0]
    return [show_item(answers, int(item)) for item in failed[: divide_room(NUM_ITEMS, num_datasets)]]


def show_item(answers: PairAnswers, item: int) -> ShownItem:
    """Return an item as the page shows it."""
    scores = answers.scores[item]
    pictures = [thumbnail(answers.images, int(place), f"image {place}") for place in answers.places[item]]
    captions = zip(map(cut_text, answers.captions[item]), scores.T.tolist(), strict=True)
    return ShownItem(cut_name(answers.kinds[item]), pictures, list(captions), float(answers.margins[item]))


def failures_by_kind(answers: PairAnswers) -> list[tuple[str, int, int]]:
    """Return each kind with its numbers of wrong and of all items, the largest share wrong first."""
    kinds, numbers = np.unique(answers.kinds, return_inverse=True)
    wrong = np.bincount(numbers, answers.margins <= 0, minlength=len(kinds)).astype(int)
    totals = np.bincount(numbers, minlength=len(kinds))
    order = np.argsort(-wrong / totals, kind="stable")
    return [(cut_name(str(kinds[i])), int(wrong[i]), int(totals[i])) for i in order]
