"""Metrics of zero-shot classification: pure functions of embeddings. Classes are counted, never sorted.

An image whose class scores as high as others is right in the share of cases in which they could be put in
order at random: tied with one wrong class for the first place, it counts half at top-1. Names of classes may
repeat (ImageNet has two of missile and of sunglasses), so that no model can do better there; and a model that
embeds everything alike scores what guessing does. The share of images that are tied is reported as well.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cosmos.errors import InputError

TOP = 5
"""Classes that an image's own must be among, for top5."""

CHUNK_ELEMENTS = 4_000_000
"""Scores held at a time: 16 MB."""


@dataclass(frozen=True)
class Places:
    """Places of N images' own classes among all classes, by score."""

    higher: Tensor
    """(N,) int64: classes that score strictly higher"""
    tied: Tensor
    """(N,) int64: other classes that score the same"""

    def within(self, k: int) -> Tensor:
        """Probability, (N,) float64, that the own class is among the first k, ties broken at random."""
        return ((k - self.higher).double() / (self.tied + 1)).clamp(0, 1)


def classification_metrics(
    images: Tensor, class_embeddings: Tensor, labels: Tensor, class_names: Sequence[str]
) -> dict[str, float]:
    """Metrics from normalised embeddings of images (N, D) and classes (C, D), and the images' classes (N,).

    `top1`, `top5` where there are at least five classes, `mean_per_class` (mean accuracy of the classes that
    occur), `ties`, and `accuracy/<class>` of every class that occurs. Raises ValueError for embeddings that
    are not finite, and for labels without a class. Source: CLIP, zero-shot classification; its factor of 100
    on cosines is left out, as it changes no order.
    """
    _check(images, class_embeddings, labels, class_names)
    places = _places(images, class_embeddings, labels)
    right = places.within(1)
    occurring, accuracies = _per_class(right, labels, len(class_names))
    keys = _keys(class_names)
    return {
        "top1": right.mean().item(),
        **({"top5": places.within(TOP).mean().item()} if len(class_names) >= TOP else {}),
        "mean_per_class": accuracies.mean().item(),
        "ties": (places.tied > 0).double().mean().item(),
        **{
            f"accuracy/{keys[i]}": value
            for i, value in zip(occurring.tolist(), accuracies.tolist(), strict=True)
        },
    }


def chance_metrics(num_classes: int) -> dict[str, float]:
    """What guessing is expected to score among C classes: 1 / C, and 5 / C where there are five."""
    top5 = {"top5": TOP / num_classes} if num_classes >= TOP else {}
    return {"top1": 1 / num_classes, **top5, "mean_per_class": 1 / num_classes}


def _places(images: Tensor, class_embeddings: Tensor, labels: Tensor) -> Places:
    """Places from the similarities, in chunks of images."""
    num_chunks = math.ceil(len(images) * len(class_embeddings) / CHUNK_ELEMENTS)
    higher = torch.empty_like(labels)
    tied = torch.empty_like(labels)
    for some in torch.arange(len(images), device=labels.device).tensor_split(num_chunks):
        scores = images[some] @ class_embeddings.T
        own = scores.gather(1, labels[some, None])
        higher[some] = torch.count_nonzero(scores > own, dim=1)
        tied[some] = torch.count_nonzero(scores == own, dim=1) - 1
    return Places(higher, tied)


def _per_class(right: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Classes that occur, (K,), and the mean of `right` (N,) over the images of each, (K,)."""
    counts = torch.bincount(labels, minlength=num_classes)
    occurring = counts.nonzero().flatten()
    sums = torch.bincount(labels, weights=right, minlength=num_classes)
    return occurring, sums[occurring] / counts[occurring]


def _keys(class_names: Sequence[str]) -> list[str]:
    """The names, with their labels where several classes have the same."""
    counts = Counter(class_names)
    return [name if counts[name] == 1 else f"{name} ({label})" for label, name in enumerate(class_names)]


def _check(images: Tensor, class_embeddings: Tensor, labels: Tensor, class_names: Sequence[str]) -> None:
    if not len(images):
        raise InputError("there are no images; classification needs at least one")
    for what, rows in (("images", images), ("classes", class_embeddings)):
        if not rows.isfinite().all():
            raise InputError(
                f"embeddings of {what} are not finite; take a checkpoint from before the training diverged"
            )
    if len(class_embeddings) != len(class_names):
        raise InputError(f"{len(class_embeddings)} embeddings of classes for {len(class_names)} class names")
    if labels.shape != (len(images),):
        raise InputError(
            f"labels have the shape {tuple(labels.shape)}, not one for each of {len(images)} images"
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise InputError(
            f"labels lie between {int(labels.min())} and {int(labels.max())}, but there are"
            f" {len(class_names)} classes; correct the labels or name the missing classes"
        )
