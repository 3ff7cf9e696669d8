import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cosmos.config.params import DistillTermParams, LossParams
from cosmos.model.cosmos import StudentViews, TeacherViews
from cosmos.model.loss import CosmosLoss, term_weights
from cosmos.model.pairwise_loss import WeightedViews, nce_losses


def views(count: int, batch: int, dim: int, seed: int) -> Tensor:
    return normalize(torch.randn(count, batch, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def nce(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    return nce_losses(x, [WeightedViews(y, 1)], scale).terms[0]


def test_nce_of_embeddings_that_all_agree_is_the_logarithm_of_the_batch() -> None:
    same = torch.ones(2, 7, 4) / 2
    assert float(nce(same, same, torch.tensor(10.0))) == pytest.approx(math.log(7))


def student(seed: int = 0) -> StudentViews:
    f, g, c, d = (
        views(5, 6, 8, seed),
        views(4, 6, 8, seed + 1),
        views(5, 6, 8, seed + 2),
        views(4, 6, 8, seed + 3),
    )
    return StudentViews(f, g, c, d, torch.tensor(14.0), torch.tensor(10.0), torch.tensor(0.0))


TEACHER = TeacherViews(views(2, 6, 8, 10), views(2, 6, 8, 11))


def test_published_objective_is_clip_of_global_crops_plus_a_quarter_of_each_distill_term() -> None:
    s = student()
    losses = CosmosLoss(LossParams())(s, TEACHER)
    torch.testing.assert_close(losses.contrastive, nce(s.image[:2], s.text, s.logit_scale))
    terms = [
        nce(x, y, s.distill_logit_scale)
        for x in (s.image_distill, s.text_distill)
        for y in (TEACHER.image, TEACHER.text)
    ]
    torch.testing.assert_close(losses.distill, torch.stack(terms).mean())
    torch.testing.assert_close(losses.total, losses.contrastive + losses.distill)


def test_every_term_has_a_weight() -> None:
    weights = DistillTermParams(image_to_image=1, image_to_text=2, text_to_image=0, text_to_text=0.5)
    losses = CosmosLoss(LossParams(contrastive_weight=3, distill_weight=0.1, distill_terms=weights))(
        student(), TEACHER
    )
    distill = losses.image_to_image + 2 * losses.image_to_text + 0.5 * losses.text_to_text
    torch.testing.assert_close(losses.distill, distill)
    torch.testing.assert_close(losses.total, 3 * losses.contrastive + 0.1 * distill)


def test_ablations_leave_terms_out() -> None:
    assert term_weights(LossParams(distillation="image-only")).model_dump() == {
        "image_to_image": 1.0,
        "image_to_text": 0,
        "text_to_image": 0,
        "text_to_text": 0,
    }
    assert term_weights(LossParams(distillation="text-only")).text_to_text == 1.0
    assert not any(term_weights(LossParams(distillation="none")).model_dump().values())
    assert float(CosmosLoss(LossParams(distillation="none"))(student(), TEACHER).distill) == 0
