"""Captions without padding: sorted by length, cut to the longest of each group, packed behind each other.

Only the state at a caption's end counts and attention is causal, so what stands behind it need not be
computed. Lengths come as numbers of the CPU, or a GPU would be waited for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Lengths = NDArray[np.int64]
"""Lengths of captions in tokens, start and end of text included."""

GroupShape = tuple[int, int]
"""Number and length of the sequences of a group, (n, L)."""

MAX_PADDING = 0.05
"""Share of padding among the tokens that are computed of captions."""


@dataclass(frozen=True)
class PackedCaptions:
    """N captions behind each other, T tokens in all, sorted by length and each cut to its group's longest."""

    ids: Tensor
    """(T,) int64: their token ids"""
    shapes: tuple[GroupShape, ...]
    """number and length of each group's captions"""
    ends: Tensor
    """(N,) int64: place of each caption's end among the tokens, in the order in which the captions came"""


def caption_lengths(tokens: Tensor) -> Lengths:
    """Return the lengths of captions, (..., L) -> (...); tokens on a GPU would be waited for.

    The end of text has the largest id.
    """
    lengths: Lengths = tokens.argmax(dim=-1).numpy() + 1
    return lengths


def pack_captions(tokens: Tensor, lengths: Lengths) -> PackedCaptions:
    """Pack captions of the given lengths: (N, L), (N,)."""
    shapes = group_shapes(lengths)
    ends = tokens.argmax(dim=-1)
    order = ends.argsort(stable=True)
    groups = torch.split(order, [count for count, _ in shapes])
    ids = [tokens[group, :length].flatten() for group, (_, length) in zip(groups, shapes, strict=True)]
    rows = first_rows(shapes, tokens.device) + ends[order]
    return PackedCaptions(torch.cat(ids), shapes, rows[order.argsort()])


def first_rows(shapes: Sequence[GroupShape], device: torch.device) -> Tensor:
    """Return the place of each sequence's first token among the packed ones, (sequences,) int64."""
    rows, start = [], 0
    for count, length in shapes:
        rows.append(torch.arange(start, start + count * length, length, device=device))
        start += count * length
    return torch.cat(rows)


def group_shapes(lengths: Lengths) -> tuple[GroupShape, ...]:
    """Return number and length of the fewest groups with at most MAX_PADDING of padding, shortest first.

    Captions sorted by length fill them in order. Solved exactly, over the different lengths.
    """
    values, counts = np.unique(lengths, return_counts=True)
    ends = counts.cumsum()
    # computed tokens of a group of the i-th to the j-th length
    tokens = np.where(np.tri(len(values)).T, values * (ends - (ends - counts)[:, None]), np.inf)
    fewest, firsts = tokens[0], []
    while fewest[-1] * (1 - MAX_PADDING) > lengths.sum():
        totals = np.append(np.inf, fewest[:-1])[:, None] + tokens
        firsts.append(totals.argmin(axis=0))
        fewest = totals.min(axis=0)
    return _shapes(values, ends, firsts)


def _shapes(
    values: NDArray[np.int64], ends: NDArray[np.int64], firsts: list[NDArray[np.int64]]
) -> tuple[GroupShape, ...]:
    """Return the groups' shapes from the first length of each group, by the last one."""
    lasts = [len(values) - 1]
    for first in reversed(firsts):
        lasts.append(int(first[lasts[-1]]) - 1)
    lasts.reverse()
    counts = np.diff(ends[lasts], prepend=0)
    return tuple(zip(counts.tolist(), values[lasts].tolist(), strict=True))
