"""Draws of image views: the random numbers of each crop and of its colours, without a look at pixels.

Source: COSMOS, image views. The distributions are those of torchvision's RandomResizedCrop and ColorJitter.
"""

import math

import numpy as np
from numpy.typing import NDArray

from cosmos.config.params import ViewParams

VIEW = np.dtype(
    [
        ("corner", np.int64, 2),  # left and upper edge of the crop, in pixels of the image
        ("extent", np.int64, 2),  # its width and height
        ("is_flipped", np.bool_),
        ("is_jittered", np.bool_),  # the next four hold for those
        ("factors", np.float64, 3),  # of brightness, contrast and saturation
        ("slots", np.int64, 3),  # place of each among the three
        ("hue", np.float64),  # turn of the colour wheel, -0.5 to 0.5
        ("hue_slot", np.int64),  # number of the three that come before the hue
        ("is_grey", np.bool_),
        ("sigma", np.float64),  # of the blur, in pixels of the crop; 0: none
        ("is_solarised", np.bool_),
    ]
)
"""Draws of a view, in the order in which they are carried out."""

Draws = NDArray[np.void]
"""Array of VIEW."""

_SMALLEST_LOCAL_CROP = 0.05
"""Share of the image's area."""

_LOG_ASPECT = math.log(4 / 3)
"""Logarithm of the largest ratio of a crop's width to its height, and of its height to its width."""

_TRIES = 10
"""Crops that are drawn; the first that fits into the image is taken."""


class ViewDistribution:
    """Distribution of a sample's views: two global crops, then n local ones."""

    def __init__(self, views: ViewParams) -> None:
        n, scale = views.num_local_crops, views.crop_scale
        self._areas = np.array([(scale, 1.0)] * 2 + [(_SMALLEST_LOCAL_CROP, scale)] * n)
        self._blur = np.array([1.0, 0.1] + [0.5] * n)
        self._solarise = np.array([0.0, 0.2] + [0.0] * n)

    def draw(self, width: int, height: int, rng: np.random.Generator) -> Draws:
        """Draw the views of an image; the first ones do not depend on how many there are."""
        chances = rng.random((len(self._areas), 2 * _TRIES + 16)).T
        tries, (left, upper, *colours) = chances[: 2 * _TRIES].T, chances[2 * _TRIES :]
        draws = np.zeros(len(self._areas), VIEW)
        draws["extent"], fits = _extents(self._areas, tries, width, height)
        free = np.array([width, height]) - draws["extent"]
        drawn = np.floor(np.stack([left, upper], axis=1) * (free + 1)).astype(np.int64)
        draws["corner"] = np.where(fits[:, None], drawn, free // 2)
        self._draw_colours(draws, np.array(colours))
        return draws

    def _draw_colours(self, draws: Draws, chances: NDArray[np.float64]) -> None:
        """Draw all but the crops, from numbers (14, V) between 0 and 1."""
        flip, jitter, hue, hue_slot, grey, blur, sigma, solarise = chances[:8]
        draws["is_flipped"] = flip < 0.5
        draws["is_jittered"] = jitter < 0.8
        draws["factors"] = 1 + np.array([0.4, 0.4, 0.2]) * (2 * chances[8:11].T - 1)
        draws["slots"] = chances[11:14].T.argsort(axis=1)
        draws["hue"] = 0.1 * (2 * hue - 1)
        draws["hue_slot"] = np.floor(4 * hue_slot)
        draws["is_grey"] = grey < 0.2
        draws["sigma"] = np.where(blur < self._blur, 0.1 + 1.9 * sigma, 0)
        draws["is_solarised"] = solarise < self._solarise


def _extents(
    areas: NDArray[np.float64], chances: NDArray[np.float64], width: int, height: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the crops' width and height (V, 2), and which of them were drawn (V,).

    Where none of the tries fits, the largest crop of an allowed shape takes its place, in the middle.
    """
    least, most = areas.T[:, :, None]
    shares, aspects = chances[:, :_TRIES], np.exp(_LOG_ASPECT * (2 * chances[:, _TRIES:] - 1))
    area = width * height * (least + (most - least) * shares)
    tries = np.rint(np.sqrt([area * aspects, area / aspects])).astype(np.int64)
    fit = np.logical_and(*((tries > 0) & (tries <= np.array([width, height])[:, None, None])))
    rows, first = np.arange(len(areas)), fit.argmax(axis=1)
    drawn, fits = tries[:, rows, first].T, fit[rows, first]
    largest = min(width, round(height * 4 / 3)), min(height, round(width / (3 / 4)))
    return np.where(fits[:, None], drawn, largest), fits
