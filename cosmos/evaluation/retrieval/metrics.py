"""Retrieval metrics: pure functions of embeddings or similarities. Candidates are counted, never sorted.

The rank of a query is the number of candidates that score strictly higher than the best of its own; R@k is
the share of queries whose rank is below k. Ties therefore count in the model's favour, so their share is
reported: a model that embeds everything alike has R@1 = 1, and 1 for its share of ties.

Metrics are named `image_to_text_R@1`, ..., and `text_to_image_R@1`, ...: with `R@5`, `R@10`, `mean_rank`,
`median_rank` (both from 1, in candidates) and `ties`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from cosmos.errors import InputError

RECALLS = (1, 5, 10)

CHUNK_ELEMENTS = 4_000_000
"""Similarities held at a time: 16 MB, so that a chunk and its masks stay near the processor's cache."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of Q queries among all candidates."""

    ranks: Tensor
    """(Q,) int64: candidates that score strictly higher than the query's best own one"""
    tied: Tensor
    """(Q,) bool: whether a candidate that is not its own scores the same as the best own one"""


def retrieval_metrics(
    image_embeddings: Tensor, text_embeddings: Tensor, caption_to_image: Tensor
) -> dict[str, float]:
    """Metrics of both directions from normalised embeddings (I, D), (C, D) and each caption's image (C,).

    Similarities are computed in chunks and never held together. Source: COSMOS, evaluation of retrieval.
    Raises ValueError for embeddings that are not finite, captions of missing images, images without captions.
    """
    _check_finite(image_embeddings, "image embeddings")
    _check_finite(text_embeddings, "caption embeddings")
    _check_owners(len(image_embeddings), len(text_embeddings), caption_to_image)
    return _both_directions(
        _similarities(image_embeddings, text_embeddings),
        _similarities(text_embeddings, image_embeddings),
        len(image_embeddings),
        caption_to_image,
    )


def similarity_metrics(similarity: Tensor, caption_to_image: Tensor) -> dict[str, float]:
    """As `retrieval_metrics`, from a matrix of similarities (I, C)."""
    num_images, num_captions = similarity.shape
    _check_finite(similarity, "rows of similarities")
    _check_owners(num_images, num_captions, caption_to_image)
    return _both_directions(
        _chunks(similarity, num_captions), _chunks(similarity.T, num_images), num_images, caption_to_image
    )


def chance_metrics(num_images: int, caption_to_image: Tensor) -> dict[str, float]:
    """What a random order of the candidates is expected to score: R@k and mean rank of both directions.

    An image with n of C captions has none of them in the first k at probability binom(C-n, k) / binom(C, k),
    and the best of them at place (C+1) / (n+1) on average. Raises ValueError as `retrieval_metrics`.
    """
    total = len(caption_to_image)
    own = _check_owners(num_images, total, caption_to_image).tolist()
    expected: dict[str, float] = {}
    for k in RECALLS:
        missed = (math.comb(total - n, k) / math.comb(total, k) if k <= total else 0.0 for n in own)
        expected[f"image_to_text_R@{k}"] = 1 - math.fsum(missed) / num_images
        expected[f"text_to_image_R@{k}"] = min(1.0, k / num_images)
    expected["image_to_text_mean_rank"] = math.fsum((total + 1) / (n + 1) for n in own) / num_images
    expected["text_to_image_mean_rank"] = (num_images + 1) / 2
    return expected


def _both_directions(
    by_image: Iterable[Tensor], by_caption: Iterable[Tensor], num_images: int, caption_to_image: Tensor
) -> dict[str, float]:
    """Metrics from chunks of rows of the similarities (I, C) and of their transpose (C, I)."""
    images = torch.arange(num_images, device=caption_to_image.device)
    image_to_text = _ranks(by_image, images, caption_to_image)
    text_to_image = _ranks(by_caption, caption_to_image, images)
    return _summary("image_to_text", image_to_text) | _summary("text_to_image", text_to_image)


def _similarities(queries: Tensor, candidates: Tensor) -> Iterable[Tensor]:
    """Chunks of rows of queries x candidates."""
    return (part @ candidates.T for part in _chunks(queries, len(candidates)))


def _chunks(rows: Tensor, num_candidates: int) -> tuple[Tensor, ...]:
    """The rows in parts of the same size, give or take one.

    No lone row is left at the end: other kernels multiply it, which round otherwise and would hide ties.
    """
    return rows.tensor_split(math.ceil(len(rows) * num_candidates / CHUNK_ELEMENTS))


def _ranks(chunks: Iterable[Tensor], query_images: Tensor, candidate_images: Tensor) -> Ranks:
    """Ranks from chunks of rows of scores (Q, N), in order. Own candidates are those of the same image."""
    # Small results allocated between large chunks would keep the chunks' memory from being used again.
    ranks = torch.empty(len(query_images), dtype=torch.long, device=query_images.device)
    tied = torch.empty_like(ranks, dtype=torch.bool)
    first = 0
    for scores in chunks:
        here = slice(first, first + len(scores))
        own = query_images[here, None] == candidate_images
        best = scores.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
        ranks[here] = torch.count_nonzero(scores > best, dim=1)
        tied[here] = ((scores == best) & ~own).any(dim=1)
        first = here.stop
    return Ranks(ranks, tied)


def _summary(direction: str, found: Ranks) -> dict[str, float]:
    ranks = found.ranks.double()
    # Not torch.median, which takes the lower of the two values in the middle.
    median = ranks.quantile(0.5)
    return {
        **{f"{direction}_R@{k}": (found.ranks < k).double().mean().item() for k in RECALLS},
        f"{direction}_mean_rank": ranks.mean().item() + 1,
        f"{direction}_median_rank": math.floor(median.item()) + 1.0,
        f"{direction}_ties": found.tied.double().mean().item(),
    }


def _check_finite(rows: Tensor, name: str) -> None:
    bad = (~rows.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if bad:
        raise InputError(
            f"{len(bad)} of {len(rows)} {name} are not finite, the first number {bad[0]}; take a checkpoint"
            " from before the training diverged"
        )


def _check_owners(num_images: int, num_captions: int, caption_to_image: Tensor) -> Tensor:
    """Captions of each image, (I,). ValueError where one has none, or a caption belongs to no image."""
    if caption_to_image.shape != (num_captions,):
        raise InputError(
            f"caption_to_image has the shape {tuple(caption_to_image.shape)}, not one entry for each of"
            f" {num_captions} captions"
        )
    outside = ((caption_to_image < 0) | (caption_to_image >= num_images)).nonzero().flatten().tolist()
    if outside:
        raise InputError(
            f"caption {outside[0]} belongs to image {int(caption_to_image[outside[0]])}, but there are"
            f" {num_images} images; correct caption_to_image or add the image"
        )
    counts = torch.bincount(caption_to_image, minlength=num_images)
    without = (counts == 0).nonzero().flatten().tolist()
    if without or not num_images:
        named = f"image {without[0]} has no caption" if without else "there are no images"
        raise InputError(f"{named}; retrieval needs images that have captions: leave the others out")
    return counts
