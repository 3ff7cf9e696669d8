"""Losses over the whole batch of all ranks.

For views X (|X| views of B rows) and Y, nce(X, Y, t) is the mean over all pairs (x, y) of
1/2 [CE(t x y^T) + CE(t y x^T)] with labels on the diagonal (COSMOS, arXiv 2412.01814, section 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from cosmos.config.params import DistillTermParams, LossParams
from cosmos.distributed.exchange import gather_rows
from cosmos.distributed.group import rank, world_size
from cosmos.model.cosmos import NUM_GLOBAL, StudentViews, TeacherViews


@dataclass(frozen=True)
class Losses:
    """Loss of a rank's rows, and the terms that it is made of. All are scalars."""

    total: Tensor
    contrastive: Tensor
    distill: Tensor
    image_to_image: Tensor
    image_to_text: Tensor
    text_to_image: Tensor
    text_to_text: Tensor


@dataclass(frozen=True)
class GatheredViews:
    """Views (V, B, D) of this rank's samples beside those of the samples of all N/B ranks, (V, N, D)."""

    mine: Tensor
    all: Tensor

    def of(self, views: slice) -> "GatheredViews":
        """Return some of the views."""
        return GatheredViews(self.mine[views], self.all[views])


def gather_views(*views: Tensor) -> list[GatheredViews]:
    """Gather several stacks of views (V_i, B, D) from all ranks at once."""
    if world_size() == 1:
        return [GatheredViews(mine, mine) for mine in views]
    everything = gather_rows(torch.cat(views).transpose(0, 1)).transpose(0, 1)
    parts = torch.split(everything, [len(mine) for mine in views])
    return [GatheredViews(mine, part) for mine, part in zip(views, parts, strict=True)]


def similarities(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """Return scale x y^T of every pair of views: (V, B, D), (K, N, D) -> (V, K, B, N)."""
    return torch.einsum("vbd,knd->vkbn", scale * x, y)


def own_logits(logits: Tensor) -> Tensor:
    """Return the logit of each of this rank's rows with its own column: (V, K, B, N) -> (V, K, B)."""
    return logits.diagonal(offset=rank() * logits.shape[-2], dim1=-2, dim2=-1)


def cross_entropy(logits: Tensor) -> Tensor:
    """Return the mean over rows of CE with the row's own column as label: (V, K, B, N) -> (V, K)."""
    return (logits.logsumexp(dim=-1) - own_logits(logits)).mean(dim=-1)


def nce(x: GatheredViews, y: GatheredViews, scale: Tensor) -> Tensor:
    """Return the contrastive loss nce of every pair of views: (V, K)."""
    forth = similarities(x.mine, y.all, scale)
    # a process on its own has all rows: both directions are one matrix, read along one side and the other
    alone = x.all is x.mine
    back = forth.transpose(-1, -2) if alone else similarities(y.mine, x.all, scale).transpose(0, 1)
    return (cross_entropy(forth) + cross_entropy(back)) / 2


def sigmoid_loss(x: GatheredViews, y: GatheredViews, scale: Tensor, bias: Tensor) -> Tensor:
    """Return SigLIP's loss (arXiv 2303.15343, algorithm 1) of every pair of views: (V, K).

    Each of the N x N pairs is a binary decision: this rank's rows of x against all of y are its whole share.
    """
    logits = similarities(x.mine, y.all, scale) + bias
    own = own_logits(logits)
    others = logsigmoid(-logits).sum(dim=-1) - logsigmoid(-own)
    return -(logsigmoid(own) + others).mean(dim=-1)


def term_weights(loss: LossParams) -> DistillTermParams:
    """Return the weights of the four terms under the chosen kind of distillation."""
    zeros = DistillTermParams(image_to_image=0, image_to_text=0, text_to_image=0, text_to_text=0)
    match loss.distillation:
        case "image-only":
            return zeros.model_copy(update={"image_to_image": 1.0})
        case "text-only":
            return zeros.model_copy(update={"text_to_text": 1.0})
        case "none":
            return zeros
        case _:
            return loss.distill_terms


@dataclass(frozen=True)
class CosmosLoss:
    """Objective of the parameters, in float32 whatever the views were computed in.

    Averaged over the ranks it is the loss of the whole batch, and so are its gradients.
    """

    params: LossParams

    def __call__(self, student: StudentViews, teacher: TeacherViews) -> Losses:
        """Return the loss of a batch and its terms."""
        clip, terms = self.contrastive(student), self.distill_terms(student, teacher)
        weights = term_weights(self.params).model_dump()
        distill = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
        total = self.params.contrastive_weight * clip + self.params.distill_weight * distill
        return Losses(total, clip, distill, **terms)

    def contrastive(self, student: StudentViews) -> Tensor:
        """Return the contrastive loss of CLIP or SigLIP between global images and all captions."""
        image, text = gather_views(student.image[:NUM_GLOBAL], student.text)
        if self.params.contrastive == "siglip":
            return sigmoid_loss(image, text, student.logit_scale, student.logit_bias).mean()
        return nce(image, text, student.logit_scale).mean()

    def distill_terms(self, student: StudentViews, teacher: TeacherViews) -> dict[str, Tensor]:
        """Return the four distillation terms by name; zeros where nothing is distilled."""
        if not self.params.distills:
            return {name: torch.zeros_like(student.logit_scale) for name in DistillTermParams.model_fields}
        c, d, f, g = gather_views(student.image_distill, student.text_distill, teacher.image, teacher.text)
        pairs = {
            "image_to_image": (c, f),
            "image_to_text": (c, g),
            "text_to_image": (d, f),
            "text_to_text": (d, g),
        }
        return {name: nce(x, y, student.distill_logit_scale).mean() for name, (x, y) in pairs.items()}
