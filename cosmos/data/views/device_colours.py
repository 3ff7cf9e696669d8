"""Colours of views by torch, for a whole batch at once on the device that trains.

Nothing is read back from the device: the host knows the rows that each change concerns.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosmos.data.image_crops import CLIP_MEAN, CLIP_STD
from cosmos.data.views.changes import (
    GREY,
    NUM_MIXES,
    NUM_TAPS,
    SOLARISED_FROM,
    box_kernels,
    hue_turns,
    mix_coefficients,
)
from cosmos.data.views.draws import Draws


class ColourChanges(NamedTuple):
    """Changes of the colours of N views, with the rows that each concerns."""

    mixes: Tensor
    """(NUM_MIXES, N, 4) float32: see `mix_coefficients`"""
    turned_0: Tensor
    """rows whose hue is turned before the first mix"""
    turned_1: Tensor
    """before the second"""
    turned_2: Tensor
    turned_3: Tensor
    turns: Tensor
    """(N,) float32: see `hue_turns`"""
    blurred: Tensor
    """rows that are blurred"""
    kernels: Tensor
    """(blurred rows, NUM_TAPS) float32: see `box_kernels`"""
    solarised: Tensor
    """rows that are solarised"""

    @classmethod
    def of(cls, draws: Draws) -> Self:
        """Return the changes that were drawn for N views, on the CPU."""

        def rows(condition: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.flatnonzero(condition)

        blurred = rows(draws["sigma"] > 0)
        arrays = (
            mix_coefficients(draws).transpose(1, 0, 2),
            *(rows(draws["is_jittered"] & (draws["hue_slot"] == slot)) for slot in range(NUM_MIXES)),
            hue_turns(draws),
            blurred,
            box_kernels(draws["sigma"][blurred]),
            rows(draws["is_solarised"]),
        )
        return cls(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    def map(self, move: Callable[[Tensor], Tensor]) -> Self:
        """Return the changes with each tensor moved."""
        return type(self)(*map(move, self))


class UncolouredCrops(NamedTuple):
    """Crops of a batch as bytes, and the changes of their colours."""

    pixels: Tensor
    """(B, V, S, S, 3) uint8"""
    changes: ColourChanges
    """changes of B x V views"""

    def pin_memory(self) -> Self:
        """Return the crops in page-locked memory."""
        return type(self)(self.pixels.pin_memory(), self.changes.map(Tensor.pin_memory))

    def colour_on(self, device: torch.device) -> Tensor:
        """Return the views (B, V, 3, S, S) on a device: coloured as drawn, normalised, float32."""
        pixels = self.pixels.to(device, non_blocking=True)
        changes = self.changes.map(lambda tensor: tensor.to(device, non_blocking=True))
        views = pixels.flatten(0, 1).permute(0, 3, 1, 2)
        views = views.to(torch.float32, memory_format=torch.contiguous_format)
        return colour(views, changes).view(*pixels.shape[:2], *views.shape[1:])


def colour(views: Tensor, changes: ColourChanges) -> Tensor:
    """Colour N views (N, 3, S, S) between 0 and 255 in place, and normalise them."""
    turned = changes.turned_0, changes.turned_1, changes.turned_2, changes.turned_3
    for rows, mix in zip(turned, changes.mixes, strict=True):
        views.index_copy_(0, rows, turn_hues(views[rows], changes.turns[rows]))
        mix_views(views, mix)
    views.index_copy_(0, changes.blurred, blur_views(views[changes.blurred], changes.kernels))
    dark = views[changes.solarised]
    views.index_copy_(0, changes.solarised, torch.where(dark < SOLARISED_FROM, dark, 255 - dark))
    # numbers of Python, as a tensor of them would have to be copied to the device
    for channel, mean, std in zip(views.unbind(1), CLIP_MEAN, CLIP_STD, strict=True):
        channel.div_(255).sub_(mean).div_(std)
    return views


def mix_views(views: Tensor, mixes: Tensor) -> None:
    """Mix each pixel with its grey and its view's mean grey in place (see `mix_coefficients`)."""
    itself, grey, mean_grey, constant = mixes.T[..., None, None]
    shade = _grey(views)
    shade = grey * shade + (mean_grey * shade.mean((1, 2), keepdim=True) + constant)
    views.mul_(itself[:, None]).add_(shade[:, None]).clamp_(0, 255)


def _grey(views: Tensor) -> Tensor:
    red, green, blue = views.unbind(1)
    return (GREY[0] * red).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def turn_hues(views: Tensor, turns: Tensor) -> Tensor:
    """Turn the hues of N views by N turns, in sixths of the colour wheel."""
    top = views.amax(1)
    chroma = top - views.amin(1)
    hue = _hue(views, top, chroma) + turns[:, None, None]
    hue -= 6 * torch.floor(hue / 6)
    shares = torch.stack([(hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()], dim=1).clamp_(0, 1)
    return shares.mul_(chroma[:, None]).add_((top - chroma)[:, None])


def _hue(views: Tensor, top: Tensor, chroma: Tensor) -> Tensor:
    """Return the hue of each pixel in sixths of the colour wheel, -1 to 5; of grey ones any."""
    red, green, blue = views.unbind(1)
    scale = 1 / torch.where(chroma == 0, 1, chroma)
    green_or_blue = torch.where(top == green, (blue - red) * scale + 2, (red - green) * scale + 4)
    return torch.where(top == red, (green - blue) * scale, green_or_blue)


def blur_views(views: Tensor, kernels: Tensor) -> Tensor:
    """Blur N views by N boxes (see `box_kernels`), three times: a product with a matrix from either side."""
    positions = torch.arange(views.shape[-1], device=views.device)
    taps = torch.arange(NUM_TAPS, device=views.device) - NUM_TAPS // 2
    sources = (positions + taps[:, None]).clamp(0, len(positions) - 1)
    shifts = (sources[..., None] == positions).to(kernels.dtype)
    boxes = (kernels @ shifts.flatten(1)).view(len(views), *shifts.shape[1:])
    blurs = (boxes @ boxes @ boxes)[:, None]
    blurred: Tensor = blurs @ views @ blurs.mT
    return blurred
