"""Losses over the whole batch of all ranks.

For views X (|X| views of B rows) and Y, nce(X, Y, t) is the mean over all pairs (x, y) of
1/2 [CE(t x y^T) + CE(t y x^T)] with labels on the diagonal (COSMOS, arXiv 2412.01814, section 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cosmos.config.params import DistillTermParams, LossParams
from cosmos.distributed.exchange import gather_rows
from cosmos.distributed.group import world_size
from cosmos.model.cosmos import NUM_GLOBAL, StudentViews, TeacherViews
from cosmos.model.pairwise_loss import PairwiseLosses, WeightedViews, nce_losses, sigmoid_losses


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


def gather_views(*stacks: Tensor) -> list[Tensor]:
    """Gather stacks of views (V_i, B, D) from all ranks at once: (V_i, N, D)."""
    if world_size() == 1:
        return list(stacks)
    everything = gather_rows(torch.cat(stacks).transpose(0, 1)).transpose(0, 1)
    return list(torch.split(everything, [len(views) for views in stacks]))


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
        """Return the loss of a batch and its terms. The total has gradients, the terms have none."""
        contrastive = self.contrastive(student)
        distill_total, terms = self.distill_terms(student, teacher)
        weights = term_weights(self.params).model_dump()
        distill = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
        return Losses(contrastive.total + distill_total, contrastive.terms[0], distill, **terms)

    def contrastive(self, student: StudentViews) -> PairwiseLosses:
        """Return the contrastive loss of CLIP or SigLIP between all captions and global images."""
        (image,) = gather_views(student.image[:NUM_GLOBAL])  # fewer than the captions
        targets = [WeightedViews(image, self.params.contrastive_weight)]
        if self.params.contrastive == "siglip":
            return sigmoid_losses(student.text, targets, student.logit_scale, student.logit_bias)
        return nce_losses(student.text, targets, student.logit_scale)

    def distill_terms(self, student: StudentViews, teacher: TeacherViews) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the distillation terms, and the terms; zeros without distillation."""
        if not self.params.distills:
            nothing = torch.zeros_like(student.logit_scale)
            return nothing, dict.fromkeys(DistillTermParams.model_fields, nothing)
        f, g = gather_views(teacher.image, teacher.text)
        share, weights, scale = (
            self.params.distill_weight,
            term_weights(self.params),
            student.distill_logit_scale,
        )
        image_targets = [
            WeightedViews(f, share * weights.image_to_image),
            WeightedViews(g, share * weights.image_to_text),
        ]
        text_targets = [
            WeightedViews(f, share * weights.text_to_image),
            WeightedViews(g, share * weights.text_to_text),
        ]
        image = nce_losses(student.image_distill, image_targets, scale)
        text = nce_losses(student.text_distill, text_targets, scale)
        names = ("image_to_image", "image_to_text", "text_to_image", "text_to_text")
        return image.total + text.total, dict(zip(names, (*image.terms, *text.terms), strict=True))
