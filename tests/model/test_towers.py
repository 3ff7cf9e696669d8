from typing import Any

import pytest
import torch
from torch.nn.functional import interpolate

from cosmos.config.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from cosmos.model.cosmos import Cosmos
from cosmos.model.packing import caption_lengths
from cosmos.model.towers import (
    architecture,
    correlative_block,
    encode_image,
    encode_text,
    image_states,
    num_image_tokens,
    patch_embeddings,
    position_embedding,
)

SMALL = ModelParams(
    inline=InlineParams(
        embed_dim=16,
        vision=VisionParams(width=16, layers=2, head_width=8, patch_size=8),
        text=TextParams(width=16, layers=2, heads=2, vocab_size=64, context_length=12),
    )
)


def model() -> Cosmos:
    torch.manual_seed(0)
    return Cosmos(SMALL, LossParams(), 32)


def captions(count: int) -> torch.Tensor:
    tokens = torch.randint(1, 60, (count, 12), generator=torch.Generator().manual_seed(1))
    for i, row in enumerate(tokens):
        end = 1 + i % 11
        row[end], row[end + 1 :] = 63, 0
    return tokens


@torch.no_grad()
def test_embeddings_are_those_of_open_clip() -> None:
    clip, images, tokens = model(), torch.randn(3, 3, 32, 32), captions(5)
    torch.testing.assert_close(encode_image(clip, images), clip.encode_image(images))
    embeddings = encode_text(clip, tokens, caption_lengths(tokens))
    torch.testing.assert_close(embeddings, clip.encode_text(tokens))


@torch.no_grad()
def test_captions_sorted_and_cut_by_length_give_the_same_embeddings_in_the_given_order() -> None:
    clip, tokens = model(), captions(70)
    embeddings = encode_text(clip, tokens, caption_lengths(tokens))
    torch.testing.assert_close(embeddings, clip.encode_text(tokens), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_crops_of_two_sizes_in_one_pass_have_the_states_that_each_has_alone() -> None:
    clip = model()
    visual = clip.visual
    crops = [torch.randn(2, 3, 32, 32), torch.randn(3, 3, 16, 24)]
    assert [num_image_tokens(visual, images) for images in crops] == [17, 7]
    together = image_states(clip, crops, torch.arange(2 * 17 + 3 * 7))
    alone = [
        image_states(clip, [images], torch.arange(len(images) * n))
        for images, n in zip(crops, (17, 7), strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone))


def test_positions_of_a_local_crop_are_resized_and_the_class_keeps_its_own() -> None:
    visual = model().visual
    resized = position_embedding(visual, 2, 2)
    grid = visual.positional_embedding[1:].T.reshape(1, 16, 4, 4)
    scale = (2 + 0.1) / 4
    expected = interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    assert resized.shape == (5, 16)
    torch.testing.assert_close(resized[0], visual.positional_embedding[0])
    torch.testing.assert_close(resized[1:], expected[0].flatten(1).T)
    assert position_embedding(visual, 4, 4) is visual.positional_embedding


@torch.no_grad()
def test_patches_are_embedded_as_the_class_token_is_and_lie_in_rows_and_columns() -> None:
    clip = model().eval()
    visual = clip.visual
    images = torch.randn(2, 3, 24, 40)
    (patches,) = patch_embeddings(visual, images, ["plain"])
    states = image_states(clip, [images], torch.arange(2 * 16)).reshape(2, 16, -1) @ visual.proj
    assert patches.shape == (2, 3, 5, 16)
    torch.testing.assert_close(patches[:, 1, 2], states[:, 1 + 1 * 5 + 2])


def by_hand(block: Any, states: torch.Tensor) -> torch.Tensor:
    """A block with correlative self-attention, a head at a time."""
    attn = block.attn
    q, k, v = (block.ln_1(states) @ attn.in_proj_weight.T + attn.in_proj_bias).chunk(3, dim=-1)
    attended = []
    for head in torch.arange(attn.embed_dim).chunk(attn.num_heads):
        by_queries, by_keys = (
            (x[..., head] @ x[..., head].transpose(1, 2) / attn.head_dim**0.5).softmax(dim=-1) for x in (q, k)
        )
        attended.append((by_queries + by_keys) @ v[..., head])
    between: torch.Tensor = states + attn.out_proj(torch.cat(attended, dim=-1))
    after: torch.Tensor = between + block.mlp(block.ln_2(between))
    return after


@torch.no_grad()
def test_correlative_attention_is_a_sum_of_two_softmaxes_of_queries_and_of_keys() -> None:
    block = model().eval().visual.transformer.resblocks[-1]
    states = torch.randn(2, 7, 16)
    torch.testing.assert_close(correlative_block(block, states), by_hand(block, states))


@torch.no_grad()
def test_correlative_attention_is_the_last_blocks_alone() -> None:
    clip = model().eval()
    visual, images, seen = clip.visual, torch.randn(2, 3, 32, 32), []
    *_, last = visual.transformer.resblocks
    handle = last.register_forward_pre_hook(lambda _, states: seen.append(states[0]))
    clip.encode_image(images)
    handle.remove()
    expected = visual.ln_post(by_hand(last, seen[0]))[:, 1:] @ visual.proj
    (patches,) = patch_embeddings(visual, images, ["csa"])
    torch.testing.assert_close(patches.flatten(1, 2), expected)


@torch.no_grad()
def test_both_kinds_of_attention_run_the_blocks_before_the_last_once() -> None:
    visual = model().eval().visual
    images = torch.randn(2, 3, 32, 32)
    calls: list[Any] = []
    visual.transformer.resblocks[0].register_forward_hook(lambda *_: calls.append(None))
    plain, csa = patch_embeddings(visual, images, ["plain", "csa"])
    assert len(calls) == 1
    torch.testing.assert_close(patch_embeddings(visual, images, ["csa"])[0], csa)
    assert not plain.allclose(csa)


@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-B-32", "ViT-B-16-quickgelu"])
def test_open_clip_vits_are_known_by_name(name: str) -> None:
    arch = architecture(ModelParams(architecture=name), 224)
    assert (arch.embed_dim, arch.vision.width) == (512, 768)
    assert arch.quick_gelu == name.endswith("quickgelu")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ViT-B-17", "ViT-B-16"),
        ("RN50", "not a plain ViT"),
        ("coca_ViT-B-32", "not a plain ViT"),
        ("ViT-B-16-SigLIP", "not a plain ViT"),
    ],
)
def test_other_architectures_are_refused_with_what_is_wrong(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        architecture(ModelParams(architecture=name), 224)


def test_an_image_size_that_does_not_fit_the_patches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"views\.image_size: 100"):
        architecture(ModelParams(architecture="ViT-B-16"), 100)
