"""Dimensions of a model without torch are those of the model that is built."""

import pytest
import torch

from cosmos.config.params import (
    Distillation,
    InlineParams,
    LossParams,
    ModelParams,
    Params,
    TextParams,
    ViewParams,
    VisionParams,
)
from cosmos.errors import InputError
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.towers import num_image_tokens
from cosmos.plan.dimensions import ModelDimensions


def params_of(architecture: str, loss: LossParams | None = None, image_size: int = 224) -> Params:
    views = ViewParams(image_size=image_size)
    return Params(model=ModelParams(architecture=architecture), views=views, loss=loss or LossParams())


def assert_same_numbers(params: Params) -> None:
    with torch.device("meta"):
        model = ModelConfig.of(params).build()
    dimensions = ModelDimensions.of(params)
    parameters = list(model.parameters())
    assert dimensions.num_parameters == sum(p.numel() for p in parameters)
    assert dimensions.num_trained == sum(p.numel() for p in parameters if p.requires_grad)
    visual, text = model.visual.transformer, model.transformer
    assert (dimensions.image.layers, dimensions.text.layers) == (len(visual.resblocks), len(text.resblocks))
    heads = visual.resblocks[0].attn.num_heads, text.resblocks[0].attn.num_heads
    assert (dimensions.image.heads, dimensions.text.heads) == heads
    crop = torch.empty(1, 3, params.views.local_size, params.views.local_size, device="meta")
    assert dimensions.image_tokens(params.views.local_size) == num_image_tokens(model.visual, crop)


@pytest.mark.parametrize("architecture", ["inline", "ViT-B-16", "ViT-B-32-quickgelu", "ViT-H-14"])
def test_numbers_of_parameters_are_those_of_the_model(architecture: str) -> None:
    assert_same_numbers(params_of(architecture))


@pytest.mark.parametrize("kind", ["no-cross-attention", "image-only", "none"])
def test_parameters_that_the_objective_does_not_reach_are_not_trained(kind: Distillation) -> None:
    assert_same_numbers(params_of("inline", LossParams(distillation=kind), image_size=64))


def test_the_bias_of_siglip_and_odd_sizes_are_counted() -> None:
    inline = InlineParams(
        embed_dim=24,
        vision=VisionParams(width=48, layers=2, head_width=12, patch_size=4),
        text=TextParams(width=20, layers=1, heads=5, vocab_size=100, context_length=9),
    )
    loss, views = LossParams(contrastive="siglip"), ViewParams(image_size=20, local_size=8)
    assert_same_numbers(Params(model=ModelParams(inline=inline), loss=loss, views=views))


def test_an_architecture_that_is_unknown_or_no_plain_vit_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"model\.architecture: open_clip has no 'ViT-B-17'; near it: .*ViT-B-16"
    ):
        ModelDimensions.of(params_of("ViT-B-17"))
    with pytest.raises(InputError, match=r"RN50 is not a plain ViT \(vision\.layers=\[3, 4, 6, 3\]\)"):
        ModelDimensions.of(params_of("RN50"))
    with pytest.raises(InputError, match=r"ViT-B-16-SigLIP is not a plain ViT \(vision\.timm_model_name="):
        ModelDimensions.of(params_of("ViT-B-16-SigLIP"))
