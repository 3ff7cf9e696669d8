"""Scales on which figures are forecast: the logarithm of losses and ranks, the log-odds of shares.

On its scale a figure has no bound, and a change of a tenth is worth the same at any level.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cosmos.config.figures import Unit, metric_of
from cosmos.run.statistics.image_values import FloatArray

SHARE_MARGIN = 0.002
"""Share that is added to right and to wrong answers, so that none and all of them have log-odds."""


@dataclass(frozen=True)
class ValueScale:
    """Scale of a kind of figure, and its bounds."""

    lowest: float
    """smallest value that a figure can have"""
    highest: float
    usual_change: float
    """usual fall, on the scale, as the learning rate decays; below 0 for figures that rise"""
    usual_noise: float
    """usual standard deviation, on the scale, of a figure around its trend"""
    usual_spread: float
    """factor by which usual scores of forecasts are wider than Student's with a few degrees of freedom"""
    to_scale: Callable[[FloatArray], FloatArray]
    of_scale: Callable[[FloatArray], FloatArray]

    def values(self, places: FloatArray) -> FloatArray:
        """Return the figures at places of the scale, within their bounds."""
        return np.clip(self.of_scale(np.clip(places, -700, 700)), self.lowest, self.highest)

    def has(self, value: float) -> bool:
        """Return True for a value that is on the scale."""
        return bool(np.isfinite(value)) and self.lowest <= value <= self.highest


def log_odds(shares: FloatArray) -> FloatArray:
    """Return the log-odds of shares, finite for 0 and 1, too."""
    return np.asarray(np.log((shares + SHARE_MARGIN) / (1 - shares + SHARE_MARGIN)))


def share_of_odds(places: FloatArray) -> FloatArray:
    """Return the shares that have these log-odds."""
    return np.asarray((1 + 2 * SHARE_MARGIN) / (1 + np.exp(-places)) - SHARE_MARGIN)


LOSS_SCALE = ValueScale(np.finfo(float).tiny, np.inf, 0.12, 0.04, 1.3, np.log, np.exp)
RANK_SCALE = ValueScale(1.0, np.inf, 0.7, 0.1, 1.0, np.log, np.exp)
SHARE_SCALE = ValueScale(0.0, 1.0, -0.9, 0.2, 1.0, log_odds, share_of_odds)

SCALES: dict[Unit, ValueScale] = {"nats": LOSS_SCALE, "rank": RANK_SCALE, "share": SHARE_SCALE}
"""Scales by the unit of a figure."""


def scale_of(figure: str) -> ValueScale | None:
    """Return the scale of a figure, named as `metric_of` takes it; None for one that is not forecast."""
    metric = metric_of(figure)
    return SCALES.get(metric.unit) if metric and metric.role == "quality" else None
