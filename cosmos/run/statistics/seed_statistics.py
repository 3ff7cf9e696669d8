"""A figure of a configuration: its value by each seed, and the values of the images that it is a mean of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import fsum
from statistics import fmean, stdev

import numpy as np

from cosmos.config.number_text import format_number
from cosmos.run.statistics.image_values import FloatArray, drop_uncounted
from cosmos.run.statistics.intervals import Interval, variance_of_mean, wilson_interval


@dataclass(frozen=True, eq=False)
class SeedImages:
    """Values of N images by each of S seeds."""

    image_set: str = ""
    """hash of the images and of the data that they belong to; "" where no values are kept"""
    values: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    """(S, N)"""

    @cached_property
    def means(self) -> FloatArray:
        """Mean over the seeds of each image, (N,); NaN of an image that does not count."""
        return np.asarray(self.values.mean(axis=0))

    @cached_property
    def noise(self) -> float:
        """Variance of a seed's figure that comes from single images, which any seed gets otherwise.

        It is the interaction of seeds and images in an analysis of variance, over N; 0 for one seed.
        """
        counted = self.values[:, ~np.isnan(self.values).any(axis=0)]
        num_seeds, num_images = counted.shape
        if num_seeds < 2 or num_images < 2:
            return 0.0
        rest = counted - counted.mean(axis=0) - counted.mean(axis=1, keepdims=True) + counted.mean()
        return float(np.square(rest).sum() / ((num_seeds - 1) * (num_images - 1)) / num_images)


NO_IMAGES = SeedImages()
"""Images of a figure that is no mean over images, or whose values are not kept."""


@dataclass(frozen=True, eq=False)
class SeedStatistics:
    """Mean and deviation of a figure over the seeds of a configuration, and its interval over images."""

    by_seed: tuple[float, ...]
    images: SeedImages = NO_IMAGES

    @classmethod
    def over(cls, values: Sequence[float], images: SeedImages = NO_IMAGES) -> "SeedStatistics":
        """Return the statistics of values, one per seed, and of the images that they are means of."""
        return cls(tuple(values), images)

    @cached_property
    def mean(self) -> float:
        """Mean over the seeds."""
        try:
            return fmean(self.by_seed)
        except OverflowError:  # of values near the largest float
            return fsum(value / len(self.by_seed) for value in self.by_seed)

    @cached_property
    def deviation(self) -> float:
        """Sample standard deviation over the seeds; NaN for one seed."""
        try:
            return stdev(self.by_seed) if self.is_repeated else math.nan
        except OverflowError:
            return math.nan

    @property
    def is_repeated(self) -> bool:
        """True when there is more than one seed."""
        return len(self.by_seed) > 1

    @property
    def has_images(self) -> bool:
        """True where the values of its images are kept."""
        return bool(self.images.image_set)

    @cached_property
    def interval(self) -> Interval | None:
        """Interval over images, and over seeds where there are several; None where no values are kept.

        The variance of the mean is that of the images' means over seeds, and that of seeds beyond the noise
        that these have already. Source: random effects of two crossed factors, Cornfield and Tukey 1956,
        Annals of Mathematical Statistics 27, 907.
        """
        if not self.has_images:
            return None
        counted = drop_uncounted(self.images.means)
        by_images, by_seeds, freedom = variance_of_mean(counted), 0.0, math.inf
        if self.is_repeated and math.isfinite(self.deviation):
            raw = self.deviation**2 / len(self.by_seed)
            by_seeds = max(0.0, raw - self.images.noise / len(self.by_seed))
            freedom = (len(self.by_seed) - 1) * ((by_images + by_seeds) / raw) ** 2 if raw else math.inf
        return wilson_interval(self.mean, by_images + by_seeds, len(counted), freedom)

    def equals(self, other: "SeedStatistics") -> bool:
        """Return True when the means are the same but for rounding."""
        return math.isclose(self.mean, other.mean, rel_tol=1e-9)

    def as_json(self) -> dict[str, float | None]:
        """Return mean, deviation and interval as values of JSON; those that there are not are null."""
        interval = self.interval
        return {
            "mean": self.mean,
            "deviation": None if math.isnan(self.deviation) else self.deviation,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
        }

    def __str__(self) -> str:
        """Return mean and deviation as text, `0.3 ± 0.01`, or of one seed the interval: `0.3 (0.2-0.4)`."""
        if not math.isnan(self.deviation):
            return f"{format_number(self.mean)} ± {format_deviation(self.deviation)}"
        return format_number(self.mean) + format_interval(self.interval)


def format_deviation(deviation: float) -> str:
    """Return a deviation with two significant digits, or whole from 10 on."""
    return f"{deviation:.2g}" if deviation < 10 else f"{deviation:.0f}"


def format_interval(interval: Interval | None) -> str:
    """Return an interval as text to put behind a share: ` (0.29-0.34)`; "" for none."""
    if interval is None:
        return ""
    digits = max(2, min(6, 1 - math.floor(math.log10(interval.high - interval.low or 1))))
    return f" ({interval.low:.{digits}f}-{interval.high:.{digits}f})"
