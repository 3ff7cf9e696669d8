"""Values of images: numbers whose mean is a figure, one for each image of a dataset.

Of a plain share, such as recall at k, the value of an image is its share of right answers. Of others, such as
the mean over classes of each class's share, it is the figure plus the image's influence on it: what the
figure would gain, to first order, from more weight on this image. A bootstrap over images resamples these
values; its standard error is theirs in closed form. Source: the infinitesimal jackknife, Jaeckel 1972; Efron
1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class AnswerCounts:
    """Answers of E queries or classes of pixels, each of an image and a group: a class or a kind."""

    images: NDArray[np.int64]
    """(E,) image of each"""
    num_images: int
    right: FloatArray
    """(E,) number of right answers, or the probability of one"""
    total: FloatArray
    """(E,) number of answers, above 0"""
    groups: NDArray[np.int64]
    """(E,) group of each; a figure is the mean over groups of their shares of right answers"""

    @classmethod
    def of_images(cls, right: Any, groups: Any = 0) -> "AnswerCounts":
        """Return an answer of each image, right or not, (N,)."""
        return cls.of_queries(np.arange(len(right)), len(right), right, groups)

    @classmethod
    def of_queries(cls, images: Any, num_images: int, right: Any, groups: Any = 0) -> "AnswerCounts":
        """Return an answer of each query (E,), right or not; an image may have several."""
        hits = np.asarray(right, dtype=np.float64)
        return cls(
            np.asarray(images), num_images, hits, np.ones_like(hits), np.broadcast_to(groups, hits.shape)
        )

    @classmethod
    def of_table(cls, right: NDArray[Any], total: NDArray[Any]) -> "AnswerCounts":
        """Return the right answers, (N, G), of all, (N, G), of each image and group."""
        images, groups = np.nonzero(total)
        rights, totals = (table[images, groups].astype(np.float64) for table in (right, total))
        return cls(images, len(total), rights, totals, groups)

    def of_group(self, group: int) -> "AnswerCounts":
        """Return the answers of one group."""
        own = self.groups == group
        return AnswerCounts(
            self.images[own], self.num_images, self.right[own], self.total[own], np.zeros(own.sum(), np.int64)
        )

    def values(self) -> FloatArray:
        """Return the value of each image, (N,), NaN of an image without answers."""
        totals = self._sums(self.total)
        shares = self._sums(self.right) / np.maximum(totals, np.finfo(float).tiny)
        counted = np.bincount(self.images, minlength=self.num_images) > 0
        weights = self._weights(totals, int(counted.sum()))
        influence = (self.right - shares[self.groups] * self.total) * weights
        deviations = np.bincount(self.images, influence, minlength=self.num_images)
        return np.where(counted, shares[totals > 0].mean() + deviations, np.nan)

    def _sums(self, counts: FloatArray) -> FloatArray:
        """Return the sums over the answers of each group, (G,)."""
        return np.bincount(self.groups, counts).astype(np.float64)

    def _weights(self, totals: FloatArray, num_counted: int) -> FloatArray:
        """Return the weight of each answer's deviation from its group's share, (E,).

        A group of m images deviates by sqrt((m - 1) / m) too little from its own share, which they made.
        """
        pairs = np.unique(self.images * len(totals) + self.groups)
        sizes = np.bincount(pairs % len(totals), minlength=len(totals)).astype(np.float64)
        bias = np.where(sizes > 1, sizes / np.maximum(sizes - 1, 1), 1.0)
        whole = num_counted / max(num_counted - 1, 1)
        factors = np.sqrt(bias / whole) / np.maximum(totals, np.finfo(float).tiny)
        return np.asarray(factors[self.groups] * num_counted / np.count_nonzero(totals))


@dataclass(frozen=True, eq=False)
class ImageValues:
    """Values of the images of a dataset for its figures, as one model had them."""

    image_set: str
    """hash of the names of the images, in their order"""
    by_metric: Mapping[str, FloatArray] = field(default_factory=dict)
    """(N,) by metric"""


def drop_uncounted(values: FloatArray) -> FloatArray:
    """Return values without those of images that do not count."""
    return values[~np.isnan(values)]
