import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor

from cosmos.config.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from cosmos.config.section import Precision
from cosmos.errors import TransientError
from cosmos.evaluation.embed import Encoder
from cosmos.model.checkpoint_reference import OpenClipReference
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.encoders import (
    CosmosEncoder,
    OpenClipEncoder,
    baseline_encoder,
    open_clip_baseline,
)
from cosmos.model.plain_clip import clip_description, is_beyond_clip
from cosmos.model.towers import architecture, inline_config

CPU = torch.device("cpu")
SMALL = ModelParams(
    inline=InlineParams(
        embed_dim=16,
        vision=VisionParams(width=16, layers=2, head_width=8, patch_size=8),
        text=TextParams(width=16, layers=2, heads=2, context_length=12),
    )
)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
TOKENS = torch.tensor([[49406, 320, 1929, 49407] + [0] * 8, [49406, 320, 2368, 49407] + [0] * 8])


def cosmos_encoder(precision: Precision = "float32") -> CosmosEncoder:
    torch.manual_seed(0)
    return CosmosEncoder(Cosmos(SMALL, LossParams(), 32).eval(), 32, CPU, precision)


def open_clip_encoder(precision: Precision = "float32", **vision: Any) -> OpenClipEncoder:
    """The CLIP that is in `cosmos_encoder`, or one with other settings of the image tower, from open_clip."""
    arch = architecture(SMALL, 32)
    config = inline_config(SMALL)
    config["vision_cfg"] |= {"image_size": 32, **vision}
    clip = CLIP(arch.embed_dim, config["vision_cfg"], arch.text).eval()
    clip.load_state_dict(cosmos_encoder().model.state_dict(), strict=False)
    open_clip.model.set_model_preprocess_cfg(
        clip, {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    )
    return baseline_encoder("baseline", clip, config, CPU, precision)


def outputs(encoder: Encoder) -> list[Tensor]:
    return [
        encoder.encode_images(IMAGES),
        encoder.encode_texts(TOKENS),
        *encoder.encode_patches(IMAGES, ["csa", "plain"]),
    ]


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("make", [cosmos_encoder, open_clip_encoder])
def test_embeddings_are_float32_of_norm_1_in_every_precision(
    make: Callable[[Precision], Encoder], precision: Precision
) -> None:
    exact = outputs(make("float32"))
    for embeddings, expected in zip(outputs(make(precision)), exact, strict=True):
        assert embeddings.dtype == torch.float32
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(embeddings.shape[:-1]))
        torch.testing.assert_close(embeddings, expected, atol=0.05, rtol=0)


def test_autocast_computes_otherwise_than_float32() -> None:
    exact, coarse = (outputs(cosmos_encoder(precision)) for precision in ("float32", "bf16"))
    assert not any(a.equal(b) for a, b in zip(exact, coarse, strict=True))


def test_patches_lie_in_rows_and_columns_for_each_kind_of_attention() -> None:
    csa, plain = cosmos_encoder().encode_patches(IMAGES, ["csa", "plain"])
    assert csa.shape == plain.shape == (2, 4, 4, 16)
    assert not csa.allclose(plain)


def test_the_clip_in_a_cosmos_model_embeds_as_the_same_clip_from_open_clip_does() -> None:
    for ours, theirs in zip(outputs(cosmos_encoder()), outputs(open_clip_encoder()), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_segmentation_with_an_image_tower_that_is_no_plain_vit_is_refused() -> None:
    encoder = open_clip_encoder(pool_type="avg")
    assert encoder.encode_images(IMAGES).shape == (2, 16)
    with pytest.raises(ValueError, match=r"plain ViT; this one has vision\.pool_type=avg; take another"):
        encoder.encode_patches(IMAGES, ["csa"])


def test_a_baseline_of_a_file_embeds_as_the_model_that_the_file_was_exported_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, path = cosmos_encoder(), tmp_path / "own-baseline.pt"
    weights = {name: w for name, w in encoder.model.state_dict().items() if not is_beyond_clip(name)}
    torch.save(weights, path)
    description = clip_description(ModelConfig(SMALL, LossParams(), 32))
    path.with_suffix(".json").write_text(json.dumps(description))
    open_clip.add_model_config(path.with_suffix(".json"))
    reference = OpenClipReference.parse(f"open_clip:own-baseline:{path}")
    baseline = open_clip_baseline(reference, CPU, "float32")
    for ours, theirs in zip(outputs(encoder), outputs(baseline), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not caplog.records  # open_clip warns of random weights


def test_a_baseline_that_cannot_be_downloaded_for_now_is_a_transient_error() -> None:
    with pytest.raises(TransientError, match="open_clip could not load it"):
        open_clip_baseline(OpenClipReference.parse("open_clip:ViT-B-32:laion2b_s34b_b79k"), CPU, "float32")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("open_clip:ViT-B-32", "write open_clip:<architecture>:<tag>"),
        ("open_clip:ViT-B-16-SigLIP:webli", "its tokenizer is not CLIP's"),
        (
            "open_clip:ViT-B-17:openai",
            "^open_clip:ViT-B-17:openai: open_clip has no 'ViT-B-17'; near it: ",
        ),
        (
            "open_clip:ViT-B-32:openaii",
            "'openaii' is neither a file nor weights .* ViT-B-32; near it: openai",
        ),
        ("open_clip:ViT-B-32:away.pt", "'away.pt' is neither a file nor"),
    ],
)
def test_baselines_that_cannot_be_had_are_named(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        open_clip_baseline(OpenClipReference.parse(name), CPU, "float32")
