"""Answers as a model may give them, on pictures of one colour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from cosmos.config.figures import CLASS_ACCURACY, Figures
from cosmos.errors import DamagedDataError
from cosmos.report.galleries.content import DatasetGallery, Galleries, Missing
from cosmos.run.statistics.answers import ClassAnswers, PairAnswers, RankedAnswers, RetrievalAnswers

NO_SIGHTS = Missing("nobody looked")


@dataclass(frozen=True)
class GreyPictures:
    """Pictures of one grey; those at `damaged` cannot be read."""

    count: int
    damaged: Sequence[int] = ()

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Image.Image:
        if index in self.damaged:
            raise DamagedDataError(f"picture {index}: cut off")
        return Image.new("RGB", (20, 10), (index % 256,) * 3)


def ranked(scores: Any, own: Sequence[int]) -> RankedAnswers:
    """The answers of queries with these scores (Q, N), each with one own candidate."""
    table, owners = np.asarray(scores, np.float64), np.asarray(own)
    queries = np.arange(len(table))
    first = np.argsort(-table, axis=1, kind="stable")[:, :5]
    others = table.copy()
    others[queries, owners] = -np.inf
    own_scores = table[queries, owners]
    ranks = (table > own_scores[:, None]).sum(axis=1)
    top = np.take_along_axis(table, first, axis=1)
    return RankedAnswers(first, top, owners, own_scores, others.max(axis=1), ranks)


def at_ranks(*ranks: int) -> RankedAnswers:
    """Queries, as many as candidates, whose own candidates have these ranks."""
    count = len(ranks)
    in_order = np.array([np.roll(np.arange(count), rank - query) for query, rank in enumerate(ranks)])
    scores = np.zeros((count, count))
    np.put_along_axis(scores, in_order, np.linspace(1, 0, count)[None].repeat(count, 0), axis=1)
    return ranked(scores, range(count))


def retrieval(of_captions: RankedAnswers, captions: Sequence[str] = ()) -> RetrievalAnswers:
    """As many images as captions; the ranks are the same in both directions."""
    count = len(of_captions.ranks)
    texts = tuple(captions) or tuple(f"caption {number}" for number in range(count))
    return RetrievalAnswers(GreyPictures(count), texts, np.arange(count), of_captions, of_captions)


def classified(labels: Sequence[int], predicted: Sequence[int], names: Sequence[str]) -> ClassAnswers:
    scores = np.eye(len(names))[list(predicted)] + 0.5 * np.eye(len(names))[list(labels)]
    return ClassAnswers(GreyPictures(len(labels)), np.array(labels), tuple(names), ranked(scores, labels))


def accuracies(answers: ClassAnswers) -> Figures:
    right = answers.predicted == answers.labels
    return {
        CLASS_ACCURACY.key(name): float(right[answers.labels == label].mean())
        for label, name in enumerate(answers.class_names)
        if (answers.labels == label).any()
    }


def preferred(
    margins: Sequence[float], kinds: Sequence[str], captions: Sequence[tuple[str, str]]
) -> PairAnswers:
    """Items of one image each."""
    scores = np.array([[[0.5 + margin, 0.5]] for margin in margins])
    places = np.arange(len(margins))[:, None]
    pictures = GreyPictures(len(margins))
    return PairAnswers(pictures, places, tuple(captions), tuple(kinds), scores, np.array(margins))


def gallery(
    answers: Any,
    suite: str = "retrieval",
    figures: Mapping[str, Figures] | None = None,
    data_hash: str = "a" * 64,
) -> DatasetGallery:
    return DatasetGallery(suite, "demo", data_hash, figures or {"teacher": {}}, "teacher", answers)


def galleries(*datasets: DatasetGallery, name: str = "mine") -> Galleries:
    return Galleries(name, NO_SIGHTS, datasets, ())
