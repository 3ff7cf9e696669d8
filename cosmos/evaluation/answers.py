"""An encoder's answers on single samples, from the embeddings that its figures were measured with."""

import math
from collections.abc import Iterator
from functools import singledispatch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosmos.evaluation.classification.measure import ClassificationDataset
from cosmos.evaluation.classification.metrics import unique_names
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.perception.measure import CaptionedPairs, HardNegatives, SharedImages
from cosmos.evaluation.retrieval.measure import RetrievalDataset
from cosmos.evaluation.retrieval.metrics import split_rows
from cosmos.run.statistics.answers import (
    NUM_FIRST,
    ClassAnswers,
    PairAnswers,
    RankedAnswers,
    RetrievalAnswers,
)


@singledispatch
def sample_answers(content: object, embedder: Embedder) -> RetrievalAnswers | ClassAnswers | PairAnswers:
    """Return an encoder's answers on a dataset of retrieval, classification or perception.

    Raises as `Embedder`, and TypeError for content of another kind.
    """
    raise TypeError(f"no answers of {type(content).__name__}")


@sample_answers.register
def _(content: RetrievalDataset, embedder: Embedder) -> RetrievalAnswers:
    images, captions = embedder.images(content.images), embedder.texts(content.captions)
    owners, numbers = torch.tensor(content.caption_to_image), torch.arange(len(images))
    return RetrievalAnswers(
        content.images,
        content.captions,
        owners.numpy(),
        of_images=rank_candidates(images, captions, numbers, owners),
        of_captions=rank_candidates(captions, images, owners, numbers),
    )


@sample_answers.register
def _(content: ClassificationDataset, embedder: Embedder) -> ClassAnswers:
    prompts, labels = content.prompts, torch.tensor(content.labels)
    classes = embedder.classes(prompts.class_names, prompts.templates)
    ranked = rank_candidates(embedder.images(content.images), classes, labels, torch.arange(len(classes)))
    return ClassAnswers(content.images, labels.numpy(), tuple(unique_names(prompts.class_names)), ranked)


@sample_answers.register
def _(content: HardNegatives, embedder: Embedder) -> PairAnswers:
    images = content.images.embed(embedder)
    captions = embedder.texts(content.captions + content.negatives)
    scores = pair_scores(images[:, None], torch.stack(captions.chunk(2), dim=1))
    return PairAnswers(
        content.images.images,
        np.array(content.images.index)[:, None],
        tuple(zip(content.captions, content.negatives, strict=True)),
        content.kinds,
        scores,
        margins=scores[:, 0, 0] - scores[:, 0, 1],
    )


@sample_answers.register
def _(content: CaptionedPairs, embedder: Embedder) -> PairAnswers:
    scores = pair_scores(*content.embed(embedder))
    return PairAnswers(
        content.images.images,
        _in_pairs(content.images),
        tuple(zip(content.captions[::2], content.captions[1::2], strict=True)),
        content.kinds,
        scores,
        margins=pair_margins(scores, content.images_choose),
    )


def rank_candidates(
    queries: Tensor, candidates: Tensor, query_groups: Tensor, candidate_groups: Tensor
) -> RankedAnswers:
    """Rank normalised candidates (N, D) for each query (Q, D); a query's own are those of its group.

    `query_groups` (Q,), `candidate_groups` (N,): each query has a candidate of its group. Similarities are
    computed in chunks, as they are for figures.
    """
    return RankedAnswers.joined(list(_rank_chunks(queries, candidates, query_groups, candidate_groups)))


def _rank_chunks(
    queries: Tensor, candidates: Tensor, query_groups: Tensor, candidate_groups: Tensor
) -> Iterator[tuple[NDArray[np.float64], ...]]:
    """Yield the fields of RankedAnswers of each chunk of queries."""
    chunks = split_rows(queries, len(candidates))
    groups = query_groups.tensor_split(len(chunks))
    for chunk, own_groups in zip(chunks, groups, strict=True):
        scores, own = chunk @ candidates.T, own_groups[:, None] == candidate_groups
        best, places = scores.masked_fill(~own, -math.inf).max(dim=1)
        others = scores.masked_fill(own, -math.inf).amax(dim=1)
        first = scores.topk(min(NUM_FIRST, len(candidates)), dim=1)
        ranks = torch.count_nonzero(scores > best[:, None], dim=1)
        yield tuple(part.numpy() for part in (first.indices, first.values, places, best, others, ranks))


def pair_scores(images: Tensor, captions: Tensor) -> NDArray[np.float64]:
    """Return cosines of each item's images (N, n, D) with its captions (N, 2, D): (N, n, 2) in float64."""
    scores: NDArray[np.float64] = (
        (images.double()[:, :, None] * captions.double()[:, None]).sum(dim=-1).numpy()
    )
    return scores


def pair_margins(scores: NDArray[np.float64], images_choose: bool) -> NDArray[np.float64]:
    """Return the smallest lead of own over other cosines (P, 2, 2), (P,): as captions choose their images.

    `images_choose`: and as images choose their captions. Source: Winoground, image and group score.
    """
    own = np.diagonal(scores, axis1=1, axis2=2)
    leads = own - np.diagonal(scores[:, ::-1], axis1=1, axis2=2)
    if images_choose:
        leads = np.concatenate([leads, own - np.diagonal(scores[:, :, ::-1], axis1=1, axis2=2)], axis=1)
    smallest: NDArray[np.float64] = leads.min(axis=1)
    return smallest


def _in_pairs(images: SharedImages) -> NDArray[np.int64]:
    """Return the places of the images of pairs, (P, 2)."""
    return np.array(images.index).reshape(-1, 2)
