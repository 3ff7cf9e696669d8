"""Intervals of shares, at a stated level: Wilson's, with the number of images that the spread is worth.

Of n images of which each is right or wrong this is Wilson's interval (1927), which has a width even where all
are right. Where images count in part, several times or by class, n is the number of images, each right or
wrong, whose share would spread as much: share (1 - share) / variance. Source: Franco, Little, Louis and Slud
2019, Journal of Survey Statistics and Methodology 7, 334 (Wilson's interval with an effective sample size).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cosmos.run.statistics.image_values import FloatArray, drop_uncounted
from cosmos.run.statistics.student import student_quantile

LEVEL = 0.95
"""Level of all intervals and verdicts: the share of those that are right, in repeated experiments."""

LEVEL_TEXT = f"{LEVEL:.0%}"


@dataclass(frozen=True)
class Interval:
    """Values among which the one lies that infinitely many images would give, at LEVEL."""

    low: float
    high: float

    def margin(self, value: float) -> float:
        """Return the larger distance from a value to an end."""
        return max(self.high - value, value - self.low)

    def as_json(self) -> dict[str, float]:
        """Return the ends as values of JSON."""
        return {"low": self.low, "high": self.high}


def share_interval(values: FloatArray) -> Interval:
    """Return the interval of a share, the mean of the values of images; NaN: an image does not count."""
    counted = drop_uncounted(values)
    return wilson_interval(float(counted.mean()), variance_of_mean(counted), len(counted), math.inf)


def variance_of_mean(values: FloatArray) -> float:
    """Return the variance of the mean of values that were drawn independently; 0 of one value."""
    return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0


def wilson_interval(share: float, variance: float, num_images: int, freedom: float) -> Interval:
    """Return the interval of a share with this variance, which is estimated with these degrees of freedom.

    Without a variance, as where all images are right, each image counts as an answer; without images, or a
    degree of freedom, any share is possible.
    """
    spread, quantile = share * (1 - share), student_quantile((1 - LEVEL) / 2, freedom)
    if math.isinf(quantile) or not num_images:
        return Interval(0.0, 1.0)
    count: float = num_images
    if variance > 0 and spread > 0:  # by the variance of a sample, which has one image less
        count = spread / variance * num_images / max(1, num_images - 1)
    pull = quantile**2 / count
    centre = (share + pull / 2) / (1 + pull)
    half = math.sqrt(pull * spread + pull**2 / 4) / (1 + pull)
    return Interval(max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def intervals_json(values: Mapping[str, FloatArray]) -> dict[str, list[float]]:
    """Return the interval of each metric's share as [low, high], the form that results files have."""
    intervals = {metric: share_interval(values_of_metric) for metric, values_of_metric in values.items()}
    return {metric: [interval.low, interval.high] for metric, interval in intervals.items()}


def interval_of(intervals: Mapping[str, Any], model: str, metric: str) -> Interval | None:
    """Return the interval of a model's figure in a results entry; None where there is none."""
    ends = intervals.get(model, {}).get(metric)
    return Interval(*ends) if ends else None
