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

from cosmos.config.figures import CLASS_ACCURACY, MEAN_PER_CLASS, TIES, TOP1, TOP5, Figures
from cosmos.errors import InputError
from cosmos.run.statistics.image_values import AnswerCounts, FloatArray

TOP = 5
"""Number of best classes that an image's own must be among, for top5."""

SCORES_AT_ONCE = 4_000_000
"""Number of scores that are held at once: 16 MB."""


@dataclass(frozen=True)
class ClassRanks:
    """Ranks of N images' own classes among all classes, by score."""

    higher: Tensor
    """(N,) int64: classes that score strictly higher"""
    tied: Tensor
    """(N,) int64: other classes that score the same"""

    def within(self, k: int) -> Tensor:
        """Return the probability, (N,) float64, of the own class among the first k, ties broken at random."""
        return ((k - self.higher).double() / (self.tied + 1)).clamp(0, 1)


@dataclass(frozen=True)
class ClassifiedImages:
    """N images, ranks of their own classes, and the names of the C classes."""

    ranks: ClassRanks
    labels: Tensor
    """(N,) own class of each"""
    class_names: Sequence[str]

    def figures(self) -> Figures:
        """Return the metrics, as `classification_metrics` names them."""
        right = self.ranks.within(1)
        occurring, accuracies = _per_class(right, self.labels, len(self.class_names))
        names = unique_names(self.class_names)
        has_top5 = len(self.class_names) >= TOP
        return {
            TOP1.name: right.mean().item(),
            **({TOP5.name: self.ranks.within(TOP).mean().item()} if has_top5 else {}),
            MEAN_PER_CLASS.name: accuracies.mean().item(),
            TIES.name: (self.ranks.tied > 0).double().mean().item(),
            **{
                CLASS_ACCURACY.key(names[i]): value
                for i, value in zip(occurring.tolist(), accuracies.tolist(), strict=True)
            },
        }

    def image_values(self) -> dict[str, FloatArray]:
        """Return the values of the images, (N,), of each overall accuracy."""
        first, among_five = (self.ranks.within(k).cpu().numpy() for k in (1, TOP))
        counts = {
            TOP1.name: AnswerCounts.of_images(first),
            TOP5.name: AnswerCounts.of_images(among_five),
            MEAN_PER_CLASS.name: AnswerCounts.of_images(first, self.labels.cpu().numpy()),
        }
        has_top5 = len(self.class_names) >= TOP
        return {name: answers.values() for name, answers in counts.items() if name != TOP5.name or has_top5}


def classification_metrics(
    images: Tensor, class_embeddings: Tensor, labels: Tensor, class_names: Sequence[str]
) -> Figures:
    """Return the metrics of `classify_images`.

    `top1`, `top5` where there are at least five classes, `mean_per_class` (mean accuracy of the classes that
    occur), `ties`, and `accuracy/<class>` of every class that occurs.
    """
    return classify_images(images, class_embeddings, labels, class_names).figures()


def classify_images(
    images: Tensor, class_embeddings: Tensor, labels: Tensor, class_names: Sequence[str]
) -> ClassifiedImages:
    """Return ranks from normalised embeddings of images (N, D) and classes (C, D), and true classes (N,).

    Raises InputError for embeddings that are not finite, and for labels without a class. Source: CLIP,
    zero-shot classification; its factor of 100 on cosines is left out, as it changes no order.
    """
    _check_inputs(images, class_embeddings, labels, class_names)
    return ClassifiedImages(_class_ranks(images, class_embeddings, labels), labels, class_names)


def classification_chance(num_classes: int) -> Figures:
    """Return the expected scores of guessing among C classes: 1 / C, and 5 / C where there are five."""
    top5 = {TOP5.name: TOP / num_classes} if num_classes >= TOP else {}
    return {TOP1.name: 1 / num_classes, **top5, MEAN_PER_CLASS.name: 1 / num_classes}


def _class_ranks(images: Tensor, class_embeddings: Tensor, labels: Tensor) -> ClassRanks:
    """Return ranks from the similarities, which are computed in chunks of images."""
    num_chunks = math.ceil(len(images) * len(class_embeddings) / SCORES_AT_ONCE)
    higher = torch.empty_like(labels)
    tied = torch.empty_like(labels)
    for chunk in torch.arange(len(images), device=labels.device).tensor_split(num_chunks):
        scores = images[chunk] @ class_embeddings.T
        own = scores.gather(1, labels[chunk, None])
        higher[chunk] = torch.count_nonzero(scores > own, dim=1)
        tied[chunk] = torch.count_nonzero(scores == own, dim=1) - 1
    return ClassRanks(higher, tied)


def _per_class(right: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return the classes that occur, (K,), and the mean of `right` (N,) over the images of each, (K,)."""
    counts = torch.bincount(labels, minlength=num_classes)
    occurring = counts.nonzero().flatten()
    sums = torch.bincount(labels, weights=right, minlength=num_classes)
    return occurring, sums[occurring] / counts[occurring]


def unique_names(class_names: Sequence[str]) -> list[str]:
    """Return the class names, with their labels where several classes have the same name."""
    counts = Counter(class_names)
    return [name if counts[name] == 1 else f"{name} ({label})" for label, name in enumerate(class_names)]


def _check_inputs(
    images: Tensor, class_embeddings: Tensor, labels: Tensor, class_names: Sequence[str]
) -> None:
    if not len(images):
        raise InputError("there are no images; classification needs at least one")
    for noun, rows in (("images", images), ("classes", class_embeddings)):
        if not rows.isfinite().all():
            raise InputError(
                f"embeddings of {noun} are not finite; take a checkpoint from before the training diverged"
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
