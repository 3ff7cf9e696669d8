"""Metrics of perception and composition: shares of items that an encoder gets right. A tie is wrong.

Embeddings are normalised, (N, D) one of each item, (P, 2, D) two of each pair.
"""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from cosmos.config.figures import (
    GROUP_SCORE,
    IMAGE_SCORE,
    KIND_SCORE,
    MEAN_OVER_KINDS,
    TEXT_SCORE,
    Figures,
)
from cosmos.errors import InputError
from cosmos.run.statistics.image_values import AnswerCounts, FloatArray

PREFERENCE_CHANCE = 1 / 2
"""Expected share of `captions_preferred` for random cosines."""

PAIR_CHANCE = 1 / 4
"""Expected share of `captions_chosen`, and of `images_chosen`, for random cosines."""

COMPOSITION_CHANCE = {TEXT_SCORE.name: PAIR_CHANCE, IMAGE_SCORE.name: PAIR_CHANCE, GROUP_SCORE.name: 1 / 6}
"""`composition_scores` of random cosines: 4 of the 24 orders of a pair's cosines begin with both own ones."""


def captions_preferred(images: Tensor, captions: Tensor, negatives: Tensor) -> Tensor:
    """Return True, (N,), where an image (N, D) is closer to its caption (N, D) than to its negative (N, D).

    Source: SugarCrepe.
    """
    return _cosines(images, captions) > _cosines(images, negatives)


def captions_chosen(images: Tensor, captions: Tensor) -> Tensor:
    """Return True, (P,), where both images of a pair (P, 2, D) choose their own caption (P, 2, D).

    Source: Winoground, text score.
    """
    scores = _pair_cosines(images, captions)
    own = scores.diagonal(dim1=1, dim2=2)
    return (own > scores.flip(2).diagonal(dim1=1, dim2=2)).all(dim=1)


def images_chosen(images: Tensor, captions: Tensor) -> Tensor:
    """Return True, (P,), where both captions of a pair (P, 2, D) choose their own image (P, 2, D).

    Source: Winoground, image score; MMVP-VLM.
    """
    return captions_chosen(captions, images)


def composition_scores(images: Tensor, captions: Tensor) -> Figures:
    """Return the shares of pairs (P, 2, D) with right captions, images and both: `text`, `image`, `group`."""
    return {name: share_of_right(right) for name, right in composed_pairs(images, captions).items()}


def composed_pairs(images: Tensor, captions: Tensor) -> dict[str, Tensor]:
    """Return True, (P,), by score: where captions, images and both of a pair (P, 2, D) are right.

    Source: Winoground.
    """
    text, image = captions_chosen(images, captions), images_chosen(images, captions)
    return {TEXT_SCORE.name: text, IMAGE_SCORE.name: image, GROUP_SCORE.name: text & image}


def shares_by_kind(right: Tensor, kinds: Sequence[str]) -> Figures:
    """Return the share of right items (N,) of each kind, in order of appearance, and the `mean` over kinds.

    Raises InputError for a kind of that name.
    """
    rows: dict[str, list[int]] = {}
    for row, kind in enumerate(kinds):
        rows.setdefault(kind, []).append(row)
    if MEAN_OVER_KINDS.name in rows:
        raise InputError("a kind of items is called mean, as the mean over kinds is; rename it")
    shares = {KIND_SCORE.key(kind): share_of_right(right[own]) for kind, own in rows.items()}
    return {**shares, MEAN_OVER_KINDS.name: fmean(shares.values())}


def values_by_kind(
    right: Tensor, kinds: Sequence[str], images: Sequence[int], num_images: int
) -> dict[str, FloatArray]:
    """Return the values of the images, (num_images,), of each of the `shares_by_kind` of items (N,).

    `images`: image, or pair, of each item, (N,).
    """
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    answers = AnswerCounts.of_queries(
        images, num_images, right.cpu().numpy(), [numbers[kind] for kind in kinds]
    )
    by_kind = {KIND_SCORE.key(kind): answers.of_group(number).values() for kind, number in numbers.items()}
    return {**by_kind, MEAN_OVER_KINDS.name: answers.values()}


def chance_by_kind(kinds: Sequence[str], chance: float) -> Figures:
    """Return the expected `shares_by_kind` of guessing, which is right in a share `chance` of the items."""
    return dict.fromkeys([*map(KIND_SCORE.key, kinds), MEAN_OVER_KINDS.name], chance)


def share_of_right(right: Tensor) -> float:
    """Return the share of True in (N,) bool."""
    return right.double().mean().item()


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return cosines of vectors (..., D) in float64, summed alike for all: equal vectors tie exactly."""
    return torch.sum(first.double() * second.double(), dim=-1)


def _pair_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return cosines in pairs: (P, 2, D) and (P, 2, D) -> (P, 2, 2), a row for each of the first."""
    return _cosines(first[:, :, None], second[:, None])
