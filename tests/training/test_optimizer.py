import pytest
import torch
from torch import nn

from cosmos.training.optimizer import has_weight_decay


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("visual.conv1.weight", (4, 3, 2, 2), True),
        ("transformer.resblocks.0.attn.in_proj_weight", (12, 4), True),
        ("positional_embedding", (77, 4), True),
        ("visual.class_embedding", (4,), False),
        ("transformer.resblocks.0.attn.in_proj_bias", (12,), False),
        ("visual.ln_post.weight", (4,), False),
        ("logit_scale", (), False),
    ],
)
def test_matrices_decay_and_everything_else_does_not(
    name: str, shape: tuple[int, ...], expected: bool
) -> None:
    assert has_weight_decay(name, nn.Parameter(torch.zeros(shape))) is expected
