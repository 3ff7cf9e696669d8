"""Colours of views by OpenCV, view by view, on one core: for workers that make whole views."""

import cv2
import numpy as np
import torch
from cv2.typing import MatLike
from numpy.typing import NDArray
from torch import Tensor

from cosmos.data.image_crops import normalise
from cosmos.data.views.changes import GREY, SOLARISED_FROM, box_kernels, hue_turns, mix_coefficients
from cosmos.data.views.crops import Crops

cv2.setNumThreads(1)  # workers share the cores; and a process with OpenCV's threads could not be forked

Pixels = NDArray[np.float32]
"""(S, S, 3), between 0 and 255"""

Coefficients = NDArray[np.float32]

_UNCHANGED = np.array([1, 0, 0, 0], np.float32)


def colour_in_worker(crops: Crops) -> Tensor:
    """Return the views (V, 3, S, S) of crops: coloured and blurred as drawn, normalised, float32."""
    draws, size = crops.draws, crops.pixels.shape[1]
    views = np.empty((len(draws), 3, size, size), np.float32)
    coefficients = mix_coefficients(draws), hue_turns(draws), box_kernels(draws["sigma"])
    for view, crop, draw, *changes in zip(views, crops.pixels, draws, *coefficients, strict=True):
        pixels = _jittered(crop.astype(np.float32), draw, *changes[:2])
        if draw["sigma"]:
            pixels = blur_crop(pixels, changes[2])
        if draw["is_solarised"]:
            pixels = np.where(pixels < SOLARISED_FROM, pixels, 255 - pixels)
        view[...] = pixels.transpose(2, 0, 1)
    return normalise(torch.from_numpy(views))


def _jittered(pixels: Pixels, draw: np.void, mixes: Coefficients, turn: np.float32) -> Pixels:
    """Mix the colours of a view, and turn its hue in between."""
    for slot, mix in enumerate(mixes):
        if draw["is_jittered"] and draw["hue_slot"] == slot:
            pixels = turn_hue(pixels, turn)
        if not np.array_equal(mix, _UNCHANGED):
            pixels = mix_colours(pixels, mix)
    return pixels


def mix_colours(pixels: Pixels, mix: Coefficients) -> Pixels:
    """Mix each pixel with its grey and the mean grey (see `mix_coefficients`)."""
    itself, grey, mean_grey, constant = map(float, mix)
    matrix = np.empty((3, 4))
    matrix[:, :3] = itself * np.eye(3) + grey * np.array(GREY)
    matrix[:, 3] = constant + (mean_grey * np.dot(cv2.mean(pixels)[:3], GREY) if mean_grey else 0)
    mixed = np.asarray(cv2.transform(pixels, matrix), np.float32)
    return mixed.clip(0, 255, out=mixed)


def turn_hue(pixels: Pixels, turn: np.float32) -> Pixels:
    """Turn the hue of each pixel by `turn` sixths of the colour wheel, 0 to 6: OpenCV knows no others."""
    wheel = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), np.float32)
    wheel[:, :, 0] += 60 * turn
    return np.asarray(cv2.cvtColor(wheel, cv2.COLOR_HSV2RGB), np.float32)


def blur_crop(pixels: Pixels, kernel: Coefficients) -> Pixels:
    """Blur by a box (see `box_kernels`), three times."""
    blurred: MatLike = pixels
    for _ in range(3):
        blurred = cv2.sepFilter2D(blurred, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)
