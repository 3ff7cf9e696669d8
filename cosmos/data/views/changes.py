"""Changes of colours as coefficients, for whoever carries them out: in a worker or on a device.

Pixels are float32 between 0 and 255. The coefficients reproduce Pillow, which published views were made with,
but for its rounding of each result to bytes.
"""

import numpy as np
from numpy.typing import NDArray

from cosmos.data.views.draws import Draws

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601)."""

NUM_MIXES = 4
"""Mixes of a view, one after the other: the colour jitter's three as they are drawn, then the greyscale."""

SOLARISED_FROM = 127.5
"""Level from which pixels are inverted; of bytes these are 128 and above."""

NUM_TAPS = 5
"""Pixels in a row that a box of the blur covers at the most."""

_CUT = -0.5
"""Levels by which Pillow makes each jitter darker, on average: it cuts fractions off."""


def mix_coefficients(draws: Draws) -> NDArray[np.float32]:
    """Return the coefficients (N, NUM_MIXES, 4) of N views' mixes.

    A mix makes c0 x + c1 grey(x) + c2 mean(grey) + c3 of a pixel x and clips it to 0 and 255.
    """
    rows = np.arange(len(draws))[draws["is_jittered"]]
    brightness, contrast, saturation = draws["factors"][rows].T
    zero, cut = np.zeros(len(rows)), np.full(len(rows), _CUT)
    jitters = [
        [brightness, zero, zero, cut],
        [contrast, zero, 1 - contrast, cut],
        [saturation, 1 - saturation, zero, cut],
    ]
    mixes = np.zeros((len(draws), NUM_MIXES, 4), np.float32)
    mixes[:, :, 0] = 1
    mixes[rows[:, None], draws["slots"][rows]] = np.array(jitters).transpose(2, 0, 1)
    mixes[draws["is_grey"], -1] = 0, 1, 0, 0
    return mixes


def hue_turns(draws: Draws) -> NDArray[np.float32]:
    """Return the turns (N,) of the hues of N views, in sixths of the colour wheel: 0 to 6.

    Pillow's wheel has 255 hues. It cuts fractions off the turn, and off the hue of each pixel.
    """
    turns: NDArray[np.float32] = ((np.trunc(255 * draws["hue"]) - 0.5) * (6 / 255) % 6).astype(np.float32)
    return turns


def box_kernels(sigmas: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the boxes (N, NUM_TAPS) which, three times over, blur like Gaussians of N `sigmas` (below 2.4).

    Source: Gwosdek et al., extended box filters, which Pillow's GaussianBlur is.
    """
    variances = sigmas**2 / 3
    inner = np.floor((np.sqrt(12 * variances + 1) - 1) / 2)
    outer = (2 * inner + 1) * (inner * (inner + 1) - 3 * variances) / (6 * (variances - (inner + 1) ** 2))
    distances = np.abs(np.arange(NUM_TAPS) - NUM_TAPS // 2) - inner[:, None]
    boxes = np.where(distances <= 0, 1, np.where(distances == 1, outer[:, None], 0))
    kernels: NDArray[np.float32] = (boxes / boxes.sum(axis=1, keepdims=True)).astype(np.float32)
    return kernels
