"""Crops of an image, cut, resized and flipped as drawn; their colours are still those of the image."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from cosmos.config.params import ViewParams
from cosmos.data.views.draws import Draws, ViewDistribution

Bytes = NDArray[np.uint8]


class Crops(NamedTuple):
    """Crops of one size as bytes, and the draws of their views."""

    pixels: Bytes
    """(V, S, S, 3)"""
    draws: Draws
    """(V,)"""


class ImageViews:
    """Random views of an image: two global ones, then n local ones. Source: COSMOS, image views."""

    def __init__(self, views: ViewParams) -> None:
        self._distribution = ViewDistribution(views)
        self._global_size, self._local_size = views.image_size, views.local_size

    def crop(self, image: Image.Image, rng: np.random.Generator) -> tuple[Crops, Crops]:
        """Draw the views of an RGB image; return the two global crops and the n local ones."""
        draws = self._distribution.draw(image.width, image.height, rng)
        pixels = np.asarray(image)
        return _crops(pixels, draws[:2], self._global_size), _crops(pixels, draws[2:], self._local_size)


def _crops(pixels: Bytes, draws: Draws, size: int) -> Crops:
    crops = np.empty((len(draws), size, size, 3), np.uint8)
    for crop, draw in zip(crops, draws, strict=True):
        resized = resize_crop(pixels, draw["corner"], draw["extent"], size)
        crop[...] = resized[:, ::-1] if draw["is_flipped"] else resized
    return Crops(crops, draws)


def resize_crop(pixels: Bytes, corner: NDArray[np.int64], extent: NDArray[np.int64], size: int) -> Bytes:
    """Return a crop of (H, W, 3) bytes, resized to (size, size, 3), as by Pillow: bicubic, antialiased.

    torch's kernel for bytes is within a level of Pillow's.
    """
    (left, upper), (width, height) = corner, extent
    crop = torch.from_numpy(pixels[upper : upper + height, left : left + width].copy())
    resized = interpolate(crop.permute(2, 0, 1)[None], (size, size), mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()
