"""Batch that a step trains on."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosmos.data.shards.damage import SampleDamage
from cosmos.data.views.device_colours import UncolouredCrops


@dataclass(frozen=True)
class Batch:
    """Part of a step on a rank. B samples, n local crops, K captions, L tokens.

    The first two captions are the global ones. Pixels are normalised by CLIP's mean and standard deviation.
    """

    global_crops: Tensor
    """(B, 2, 3, S, S) float32"""
    local_crops: Tensor
    """(B, n, 3, s, s) float32"""
    tokens: Tensor
    """(B, K, L) int64, padded with 0 behind the end-of-text token"""
    lengths: NDArray[np.int64]
    """(B, K): lengths of the captions, end of text included, for which no GPU is waited for"""
    keys: tuple[str, ...]
    """the samples' names"""
    damage: tuple[SampleDamage, ...] = ()
    """damaged samples in whose place others were read"""

    @property
    def num_replaced(self) -> int:
        """Number of samples that were read in place of damaged ones."""
        return len(self.damage)

    def __len__(self) -> int:
        return len(self.keys)

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which it is copied to a GPU without waiting."""
        return replace(
            self,
            global_crops=self.global_crops.pin_memory(),
            local_crops=self.local_crops.pin_memory(),
            tokens=self.tokens.pin_memory(),
        )

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        return replace(
            self,
            global_crops=self.global_crops.to(device, non_blocking=True),
            local_crops=self.local_crops.to(device, non_blocking=True),
            tokens=self.tokens.to(device, non_blocking=True),
        )

    def split(self, parts: int) -> list["Batch"]:
        """Return the batch in `parts` consecutive parts of nearly the same size (`parts` <= B)."""
        bounds = [round(i * len(self) / parts) for i in range(parts + 1)]
        return [
            Batch(
                self.global_crops[start:stop],
                self.local_crops[start:stop],
                self.tokens[start:stop],
                self.lengths[start:stop],
                self.keys[start:stop],
            )
            for start, stop in pairwise(bounds)
        ]


@dataclass(frozen=True)
class UncolouredBatch:
    """Batch whose crops are bytes, a quarter of the views' size; their colours are computed on the device."""

    rest: Batch
    """the batch without crops"""
    global_crops: UncolouredCrops
    local_crops: UncolouredCrops

    def pin_memory(self) -> "UncolouredBatch":
        """Return the batch in page-locked memory, from which it is copied to a GPU without waiting."""
        return UncolouredBatch(
            self.rest.pin_memory(), self.global_crops.pin_memory(), self.local_crops.pin_memory()
        )

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`, with its views."""
        return replace(
            self.rest.to(device),
            global_crops=self.global_crops.colour_on(device),
            local_crops=self.local_crops.colour_on(device),
        )
