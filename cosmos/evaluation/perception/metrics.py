"""Tests of perception and composition: which items an encoder gets right. A tie is wrong.

Embeddings are normalised, (N, D) one of each item, (P, 2, D) two of each pair.
"""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from cosmos.errors import InputError

COMPOSITION_CHANCE = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}
"""`composition_scores` of random cosines: 4 of the 24 orders of a pair's cosines begin with both own ones."""


def captions_preferred(images: Tensor, captions: Tensor, negatives: Tensor) -> Tensor:
    """Whether each image (N, D) is closer to its caption (N, D) than to its negative (N, D): (N,) bool.

    Source: SugarCrepe.
    """
    return _cosines(images, captions) > _cosines(images, negatives)


def captions_chosen(images: Tensor, captions: Tensor) -> Tensor:
    """Whether both images of a pair (P, 2, D) choose their own of its captions (P, 2, D): (P,) bool.

    Source: Winoground, text score.
    """
    scores = _pair_cosines(images, captions)
    own = scores.diagonal(dim1=1, dim2=2)
    return (own > scores.flip(2).diagonal(dim1=1, dim2=2)).all(dim=1)


def images_chosen(images: Tensor, captions: Tensor) -> Tensor:
    """Whether both captions of a pair (P, 2, D) choose their own of its images (P, 2, D): (P,) bool.

    Source: Winoground, image score; MMVP-VLM.
    """
    return captions_chosen(captions, images)


def composition_scores(images: Tensor, captions: Tensor) -> dict[str, float]:
    """Shares of pairs (P, 2, D) whose captions, images and both are chosen: `text`, `image`, `group`.

    Source: Winoground.
    """
    text, image = captions_chosen(images, captions), images_chosen(images, captions)
    return {"text": share(text), "image": share(image), "group": share(text & image)}


def shares_by_kind(right: Tensor, kinds: Sequence[str]) -> dict[str, float]:
    """Share of right items (N,) of every kind, in the order of their first items, and `mean` over kinds.

    Raises ValueError for a kind of that name.
    """
    rows: dict[str, list[int]] = {}
    for row, kind in enumerate(kinds):
        rows.setdefault(kind, []).append(row)
    if "mean" in rows:
        raise InputError("a kind of items is called mean, as the mean over kinds is; rename it")
    shares = {kind: share(right[own]) for kind, own in rows.items()}
    return {**shares, "mean": fmean(shares.values())}


def share(right: Tensor) -> float:
    """Share of True in (N,) bool."""
    return right.double().mean().item()


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """Cosines of vectors (..., D) in float64, by sums that are alike for all: equal vectors tie exactly."""
    return torch.sum(first.double() * second.double(), dim=-1)


def _pair_cosines(first: Tensor, second: Tensor) -> Tensor:
    """(P, 2, D) and (P, 2, D) -> (P, 2, 2), a row for each of the first."""
    return _cosines(first[:, :, None], second[:, None])
