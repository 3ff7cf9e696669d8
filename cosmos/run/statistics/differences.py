"""Difference of two configurations by a figure: measured on the same images, or by seeds alone.

The variance of a difference of means is the sum of two parts:

    images   sum of d_i^2 / N^2, where d_i is the difference of the means over seeds on image i (paired)
    seeds    (v_A - e) / S_A + (v_B - e) / S_B, where v is the variance over seeds of a configuration, or that
             of all repeated ones where this is larger, and e the part of it that comes from single images,
             which the first part has already (0 where no images are paired)

Difference / root of the variance is compared with Student's t, at Satterthwaite's degrees of freedom.
Sources: random effects of two crossed factors, Cornfield and Tukey 1956, Annals of Mathematical Statistics
27, 907; Satterthwaite 1946, Biometrics Bulletin 2, 110. Of one seed each, and answers that are right or
wrong, the first part alone is McNemar's test.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cosmos.run.statistics.image_values import FloatArray, drop_uncounted
from cosmos.run.statistics.seed_statistics import SeedStatistics
from cosmos.run.statistics.student import student_two_sided


@dataclass(frozen=True)
class SeedSpread:
    """Variance of a figure over seeds, from all configurations that were repeated."""

    variance: float = 0.0
    noise: float = 0.0
    """part of the variance that comes from single images"""
    freedom: int = 0
    """degrees of freedom; 0 where nothing was repeated"""

    @classmethod
    def of(cls, samples: Iterable[SeedStatistics]) -> "SeedSpread":
        """Return the spread of the figure of several configurations, each weighted by its further seeds."""
        repeated = [s for s in samples if s.is_repeated and math.isfinite(s.deviation)]
        weights = [len(sample.by_seed) - 1 for sample in repeated]
        if not repeated:
            return cls()
        variances = [sample.deviation**2 for sample in repeated]
        noises = [sample.images.noise for sample in repeated]
        return cls(_mean(variances, weights), _mean(noises, weights), sum(weights))

    def variance_of(self, sample: SeedStatistics) -> float:
        """Return the variance over seeds of a configuration: its own where that is larger."""
        own = sample.deviation**2 if sample.is_repeated else 0.0
        return max(own, self.variance) if math.isfinite(own) else math.inf


@dataclass(frozen=True)
class FigureDifference:
    """Difference of two means, and what its variance consists of."""

    value: float
    by_images: float
    """variance from images; NaN where no images are paired"""
    by_seeds: float
    """variance from seeds; NaN where nothing was repeated, or all seeds are equal and no images are paired"""
    freedom: float
    """degrees of freedom of the variance"""
    num_images: int
    """number of images that are paired"""

    @property
    def is_paired(self) -> bool:
        """True where both were measured on the same images."""
        return not math.isnan(self.by_images)

    @property
    def has_seeds(self) -> bool:
        """True where the spread over seeds is known."""
        return not math.isnan(self.by_seeds)

    @property
    def error(self) -> float:
        """Standard error; NaN where neither images nor seeds show it."""
        parts = [part for part in (self.by_images, self.by_seeds) if not math.isnan(part)]
        return math.sqrt(sum(parts)) if parts else math.nan

    @property
    def probability(self) -> float:
        """Probability of so large a difference, of either sign, between equals; 1 where no error is known."""
        if math.isnan(self.error) or not self.value:
            return 1.0
        return student_two_sided(self.value / self.error, self.freedom) if self.error else 0.0


def compare_samples(first: SeedStatistics, second: SeedStatistics, spread: SeedSpread) -> FigureDifference:
    """Return first minus second; images of different sets are never paired.

    Seeds that are all equal, as recalls over few images are by chance, show no spread by themselves.
    """
    differences = paired_differences(first, second)
    by_images = float((differences**2).sum()) / len(differences) ** 2 if len(differences) else math.nan
    raw = by_seeds = math.nan
    if spread.freedom:
        raw = sum(spread.variance_of(sample) / len(sample.by_seed) for sample in (first, second))
        counted = sum(spread.noise / len(sample.by_seed) for sample in (first, second))
        by_seeds = max(0.0, raw - counted) if len(differences) else raw or math.nan
    freedom = _freedom(by_images, effective_number(differences), by_seeds, raw, spread.freedom)
    value = 0.0 if first.equals(second) else first.mean - second.mean
    return FigureDifference(value, by_images, by_seeds, freedom, len(differences))


def paired_differences(first: SeedStatistics, second: SeedStatistics) -> FloatArray:
    """Return the differences on images that both were measured on, (N,); none of different sets."""
    if not first.has_images or first.images.image_set != second.images.image_set:
        return np.empty(0)
    means = first.images.means, second.images.means
    return drop_uncounted(means[0] - means[1]) if means[0].shape == means[1].shape else np.empty(0)


def effective_number(differences: FloatArray) -> float:
    """Return the number of images that differences of the same size would be on: (sum d^2)^2 / sum d^4.

    The variance has one degree of freedom less, since it is not known better than from so many.
    """
    squares = differences**2
    total = float((squares**2).sum())
    return float(squares.sum()) ** 2 / total if total else 0.0


def _freedom(by_images: float, num_differing: float, by_seeds: float, raw: float, seeds: int) -> float:
    """Return the degrees of freedom of the sum of both variances, each known by its own."""
    parts = [(by_images, by_images, num_differing - 1), (by_seeds, raw, seeds)]
    present = [part for part in parts if not math.isnan(part[0])]
    total = sum(part for part, _, _ in present)
    spent = [math.inf if own <= 0 < size else size**2 / own for _, size, own in present if size]
    return total**2 / sum(spent) if spent and total else 0.0


def _mean(values: Iterable[float], weights: list[int]) -> float:
    return sum(v * weight for v, weight in zip(values, weights, strict=True)) / sum(weights)
