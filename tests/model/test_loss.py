import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from cosmos.config.params import DistillTermParams, LossParams
from cosmos.model.cosmos import StudentViews, TeacherViews
from cosmos.model.loss import CosmosLoss, GatheredViews, nce, sigmoid_loss, term_weights


def views(count: int, batch: int, dim: int, seed: int) -> Tensor:
    return normalize(torch.randn(count, batch, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def rows(x: Tensor) -> GatheredViews:
    return GatheredViews(x, x)


@settings(deadline=None, max_examples=25)
@given(
    v=st.integers(1, 4),
    k=st.integers(1, 4),
    b=st.integers(1, 6),
    scale=st.floats(1, 100),
    seed=st.integers(0, 99),
)
def test_nce_is_the_mean_of_both_cross_entropies_of_every_pair(
    v: int, k: int, b: int, scale: float, seed: int
) -> None:
    x, y, t = views(v, b, 5, seed), views(k, b, 5, seed + 1), torch.tensor(scale)
    labels = torch.arange(b)
    for i in range(v):
        for j in range(k):
            logits = t * x[i] @ y[j].T
            expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
            torch.testing.assert_close(nce(rows(x), rows(y), t)[i, j], expected, atol=1e-4, rtol=1e-4)


def test_nce_of_embeddings_that_all_agree_is_the_logarithm_of_the_batch() -> None:
    same = torch.ones(2, 7, 4) / 2
    assert float(nce(rows(same), rows(same), torch.tensor(10.0)).mean()) == pytest.approx(math.log(7))


def test_sigmoid_loss_judges_every_pair_on_its_own() -> None:
    x, y = views(1, 3, 4, 0), views(1, 3, 4, 1)
    logits = 10 * x[0] @ y[0].T - 5
    signs = 2 * torch.eye(3) - 1
    expected = -logsigmoid(signs * logits).sum() / 3
    torch.testing.assert_close(
        sigmoid_loss(rows(x), rows(y), torch.tensor(10.0), torch.tensor(-5.0))[0, 0], expected
    )


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
    f, g = rows(s.image[:2]), rows(s.text)
    torch.testing.assert_close(losses.contrastive, nce(f, g, s.logit_scale).mean())
    terms = [
        nce(rows(x), rows(y), s.distill_logit_scale).mean()
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
