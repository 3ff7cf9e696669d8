"""Retrieval metrics: pure functions of embeddings. Candidates are counted, never sorted.

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

from cosmos.config.figures import IMAGE_TO_TEXT, RECALLS, TEXT_TO_IMAGE, Figures, RetrievalMetrics
from cosmos.errors import InputError
from cosmos.run.statistics.image_values import AnswerCounts, FloatArray

SIMILARITIES_AT_ONCE = 4_000_000
"""Number of similarities held at once: 16 MB, so that a chunk and its masks stay in the processor's cache."""


@dataclass(frozen=True)
class QueryRanks:
    """Ranks of Q queries among all candidates."""

    ranks: Tensor
    """(Q,) int64: candidates that score strictly higher than the query's best own one"""
    tied: Tensor
    """(Q,) bool: True where a candidate that is not its own scores the same as the best own one"""


@dataclass(frozen=True)
class RetrievalRanks:
    """Ranks of I images among all captions, and of C captions among all images."""

    of_images: QueryRanks
    of_captions: QueryRanks
    caption_to_image: Tensor
    """(C,) index of each caption's image"""

    def figures(self) -> Figures:
        """Return the metrics of both directions."""
        return {**_summarise(IMAGE_TO_TEXT, self.of_images), **_summarise(TEXT_TO_IMAGE, self.of_captions)}

    def image_values(self) -> dict[str, FloatArray]:
        """Return the values of the images, (I,), of each recall: of an image with all its captions."""
        ranks, owners = self.of_images.ranks.cpu().numpy(), self.caption_to_image.cpu().numpy()
        of_captions = self.of_captions.ranks.cpu().numpy()
        by_image = {IMAGE_TO_TEXT.recall(k): AnswerCounts.of_images(ranks < k) for k in RECALLS}
        by_caption = {
            TEXT_TO_IMAGE.recall(k): AnswerCounts.of_queries(owners, len(ranks), of_captions < k)
            for k in RECALLS
        }
        return {metric.name: counts.values() for metric, counts in (by_image | by_caption).items()}


def retrieval_metrics(image_embeddings: Tensor, text_embeddings: Tensor, caption_to_image: Tensor) -> Figures:
    """Return the metrics of `rank_retrieval`."""
    return rank_retrieval(image_embeddings, text_embeddings, caption_to_image).figures()


def rank_retrieval(
    image_embeddings: Tensor, text_embeddings: Tensor, caption_to_image: Tensor
) -> RetrievalRanks:
    """Return ranks in both directions from normalised embeddings (I, D), (C, D).

    `caption_to_image`: index of each caption's image, (C,).
    Similarities are computed in chunks and never held together. Source: COSMOS, evaluation of retrieval.
    Raises InputError for embeddings that are not finite, captions of missing images, images without captions.
    """
    _check_finite(image_embeddings, "image embeddings")
    _check_finite(text_embeddings, "caption embeddings")
    _check_owners(len(image_embeddings), len(text_embeddings), caption_to_image)
    images = torch.arange(len(image_embeddings), device=caption_to_image.device)
    by_image = _similarities(image_embeddings, text_embeddings)
    by_caption = _similarities(text_embeddings, image_embeddings)
    return RetrievalRanks(
        _rank_queries(by_image, images, caption_to_image),
        _rank_queries(by_caption, caption_to_image, images),
        caption_to_image,
    )


def retrieval_chance(num_images: int, caption_to_image: Tensor) -> Figures:
    """Return the expected R@k and mean rank, in both directions, of a random order of the candidates.

    An image with n of C captions has none of them in the first k at probability binom(C-n, k) / binom(C, k),
    and the best of them at place (C+1) / (n+1) on average. Raises InputError as `retrieval_metrics`.
    """
    total = len(caption_to_image)
    own = _check_owners(num_images, total, caption_to_image).tolist()
    expected: dict[str, float] = {}
    for k in RECALLS:
        missed = (math.comb(total - n, k) / math.comb(total, k) if k <= total else 0.0 for n in own)
        expected[IMAGE_TO_TEXT.recall(k).name] = 1 - math.fsum(missed) / num_images
        expected[TEXT_TO_IMAGE.recall(k).name] = min(1.0, k / num_images)
    expected[IMAGE_TO_TEXT.mean_rank.name] = math.fsum((total + 1) / (n + 1) for n in own) / num_images
    expected[TEXT_TO_IMAGE.mean_rank.name] = (num_images + 1) / 2
    return expected


def _similarities(queries: Tensor, candidates: Tensor) -> Iterable[Tensor]:
    """Return chunks of rows of queries x candidates."""
    return (chunk @ candidates.T for chunk in split_rows(queries, len(candidates)))


def split_rows(rows: Tensor, num_candidates: int) -> tuple[Tensor, ...]:
    """Return the rows in chunks of the same size, give or take one.

    No lone row is left at the end: other kernels multiply it, which round otherwise and would hide ties.
    """
    return rows.tensor_split(math.ceil(len(rows) * num_candidates / SIMILARITIES_AT_ONCE))


def _rank_queries(chunks: Iterable[Tensor], query_images: Tensor, candidate_images: Tensor) -> QueryRanks:
    """Return ranks from chunks of rows of scores (Q, N). Own candidates are those of the same image."""
    # Small results allocated between large chunks would keep the chunks' memory from being used again.
    ranks = torch.empty(len(query_images), dtype=torch.long, device=query_images.device)
    tied = torch.empty_like(ranks, dtype=torch.bool)
    first = 0
    for scores in chunks:
        rows = slice(first, first + len(scores))
        own = query_images[rows, None] == candidate_images
        best = scores.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
        ranks[rows] = torch.count_nonzero(scores > best, dim=1)
        tied[rows] = ((scores == best) & ~own).any(dim=1)
        first = rows.stop
    return QueryRanks(ranks, tied)


def _summarise(metrics: RetrievalMetrics, queries: QueryRanks) -> Figures:
    """Return the figures of one direction."""
    ranks = queries.ranks.double()
    # Not torch.median, which takes the lower of the two values in the middle.
    median = ranks.quantile(0.5)
    return {
        **{metrics.recall(k).name: (queries.ranks < k).double().mean().item() for k in RECALLS},
        metrics.mean_rank.name: ranks.mean().item() + 1,
        metrics.median_rank.name: math.floor(median.item()) + 1.0,
        metrics.ties.name: queries.tied.double().mean().item(),
    }


def _check_finite(rows: Tensor, name: str) -> None:
    """Raise InputError, which counts them, where rows hold NaN or infinities."""
    bad = (~rows.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if bad:
        raise InputError(
            f"{len(bad)} of {len(rows)} {name} are not finite, the first number {bad[0]}; take a checkpoint"
            " from before the training diverged"
        )


def _check_owners(num_images: int, num_captions: int, caption_to_image: Tensor) -> Tensor:
    """Return each image's number of captions, (I,). InputError where it is 0, or a caption has no image."""
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
