"""Answers of a model on the samples of a dataset: what it ranks first, by which scores, and what is right.

Figures are their means; pages show single ones. Nothing here imports torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cosmos.run.statistics.image_values import FloatArray

if TYPE_CHECKING:
    from PIL import Image

IntArray = NDArray[np.int64]

NUM_FIRST = 5
"""Number of the first candidates of a query that are kept."""


class SampleImages(Protocol):
    """Images of a dataset, decoded when asked for."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, index: int) -> "Image.Image":
        """Return an RGB image. Raises DamagedDataError, InputError or TransientError, which names it."""


@dataclass(frozen=True)
class RankedAnswers:
    """First candidates of Q queries, the best of each query's own, and the best of the others."""

    first: IntArray
    """(Q, K) candidates with the highest scores, the highest first"""
    first_scores: FloatArray
    """(Q, K)"""
    own: IntArray
    """(Q,) best own candidate"""
    own_scores: FloatArray
    """(Q,)"""
    other_scores: FloatArray
    """(Q,) highest score of a candidate that is not the query's own; -inf where there is none"""
    ranks: IntArray
    """(Q,) number of candidates that score strictly higher than the best own one"""

    @classmethod
    def joined(cls, parts: Sequence[tuple[NDArray[Any], ...]]) -> "RankedAnswers":
        """Return the answers of all queries from those of chunks, as tuples of the fields."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    @cached_property
    def margins(self) -> FloatArray:
        """Lead of the best own candidate over the best other, (Q,): negative of a miss."""
        return self.own_scores.astype(np.float64) - self.other_scores


@dataclass(frozen=True)
class RetrievalAnswers:
    """Answers of I images among all captions, and of C captions among all images."""

    images: SampleImages
    captions: tuple[str, ...]
    caption_to_image: IntArray
    """(C,) image of each caption"""
    of_images: RankedAnswers
    of_captions: RankedAnswers


@dataclass(frozen=True)
class ClassAnswers:
    """Answers of N images among the names of classes."""

    images: SampleImages
    labels: IntArray
    """(N,) class of each image"""
    class_names: tuple[str, ...]
    """no name twice"""
    of_images: RankedAnswers

    @property
    def predicted(self) -> IntArray:
        """Class that scores highest, (N,)."""
        first: IntArray = self.of_images.first[:, 0]
        return first

    def confusions(self) -> list[tuple[int, int, int]]:
        """Return own class, predicted class and number of images of each confusion, the most first."""
        wrong = np.flatnonzero(self.labels != self.predicted)
        pairs = np.stack([self.labels[wrong], self.predicted[wrong]], axis=1)
        different, counts = np.unique(pairs, axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [(int(different[i, 0]), int(different[i, 1]), int(counts[i])) for i in order]

    def class_counts(self) -> IntArray:
        """Return the number of images of each class, (C,)."""
        return np.bincount(self.labels, minlength=len(self.class_names))


@dataclass(frozen=True)
class PairAnswers:
    """Scores of N items, of one or two images each, with two captions of which one is true of each image."""

    images: SampleImages
    places: IntArray
    """(N, 1 or 2) images of each item"""
    captions: tuple[tuple[str, str], ...]
    """(N,) captions of each item; the n-th is true of its n-th image"""
    kinds: tuple[str, ...]
    """(N,)"""
    scores: FloatArray
    """(N, 1 or 2, 2) of each image with each caption"""
    margins: FloatArray
    """(N,) smallest lead of a true score over a false one beside it; above 0 for a right item"""
