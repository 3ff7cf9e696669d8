"""CLIP's two towers, from open_clip: their architectures, and the states that COSMOS needs of each.

open_clip owns parameters, initialisation and blocks. Its own `forward` gives no states of padded text and
takes no crops smaller than the position grid, so the order in which its modules are called is written here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, scaled_dot_product_attention

from cosmos.config.evaluate_params import Attention
from cosmos.config.near_names import near_names
from cosmos.config.params import ModelParams
from cosmos.errors import InputError
from cosmos.model.packing import GroupShape, Lengths, first_rows, pack_captions


@dataclass(frozen=True)
class Architecture:
    """Arguments of open_clip's CLIP."""

    embed_dim: int
    vision: CLIPVisionCfg
    text: CLIPTextCfg
    quick_gelu: bool


def architecture(model: ModelParams, image_size: int) -> Architecture:
    """Return the towers that `model` names, for global crops of `image_size` pixels.

    Raises InputError for a name that open_clip does not know and for a config that is not a plain ViT.
    """
    config = inline_config(model) if model.architecture == "inline" else named_config(model.architecture)
    vision = CLIPVisionCfg(**{**config["vision_cfg"], "image_size": image_size})
    text = CLIPTextCfg(**config["text_cfg"])
    unsupported = [*unsupported_settings(vision, "vision"), *unsupported_settings(text, "text")]
    if unsupported:
        raise InputError(
            f"model.architecture: {model.architecture} is not a plain ViT ({', '.join(unsupported)})"
        )
    if image_size % int(vision.patch_size):
        raise InputError(
            f"views.image_size: {image_size} is not a multiple of the patch size {vision.patch_size}"
        )
    return Architecture(config["embed_dim"], vision, text, config.get("quick_gelu", False))


def inline_config(model: ModelParams) -> dict[str, Any]:
    """Return an inline architecture in the form of open_clip's own configs."""
    vision, text = model.inline.vision, model.inline.text
    return {
        "embed_dim": model.inline.embed_dim,
        "vision_cfg": vision.model_dump(),
        "text_cfg": text.model_dump(),
    }


def named_config(name: str, source: str = "model.architecture") -> dict[str, Any]:
    """Return open_clip's config of a name, which stands in `source`.

    Raises InputError, with names like it, for an unknown one.
    """
    config: dict[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        near = near_names(name, ["inline", *(n for n in open_clip.list_models() if n.startswith("ViT-"))])
        raise InputError(f"{source}: open_clip has no {name!r}; {near}")
    return config


# settings in which plain ViTs differ from each other
_VARIABLE = {
    "layers",
    "width",
    "head_width",
    "heads",
    "mlp_ratio",
    "patch_size",
    "image_size",
    "context_length",
}
_VARIABLE |= {"vocab_size", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"}


def unsupported_settings(config: CLIPVisionCfg | CLIPTextCfg, tower: str) -> list[str]:
    """Return settings with which a tower is no plain CLIP ViT, so that `image_states` would not follow it."""
    values = ((field.name, getattr(config, field.name), field.default) for field in fields(config))
    return [
        f"{tower}.{name}={value}"
        for name, value, plain in values
        if (name not in _VARIABLE and value != plain) or (name == "layers" and not isinstance(value, int))
    ]


def position_embedding(visual: nn.Module, height: int, width: int) -> Tensor:
    """Return the position embedding of `height` x `width` patches, (1 + height x width, C).

    It is the grid's own embedding where the sizes agree. Otherwise its patch part is resized by bicubic
    interpolation with scale factor (patches + 0.1) / side of the grid, as DINO does; the class position is
    untouched.
    """
    table: Tensor = visual.positional_embedding  # type: ignore[assignment]
    side = math.isqrt(table.shape[0] - 1)
    if (height, width) == (side, side):
        return table
    grid = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = ((height + 0.1) / side, (width + 0.1) / side)
    resized = interpolate(grid.float(), scale_factor=scale, mode="bicubic", align_corners=False)
    return torch.cat([table[:1], resized.flatten(2).squeeze(0).T.to(table.dtype)])


def image_states(clip: CLIP, crops: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Compute states of tokens after the last norm, from crops by size, (n, 3, H, W) each: -> (R, C).

    `rows` are the tokens' places among those of all crops; a crop has 1 + patches of them, the class first.
    """
    visual = clip.visual
    parts = [_first_states(visual, images)[0] for images in crops]
    shapes = [part.shape[:2] for part in parts]
    packed = torch.cat([part.flatten(0, 1) for part in parts])
    states: Tensor = visual.ln_post(
        clip.run_blocks(visual.transformer, packed, shapes, rows, is_causal=False)
    )
    return states


def _first_states(visual: nn.Module, images: Tensor) -> tuple[Tensor, torch.Size]:
    """Return the first block's input, (B, 3, H, W) -> (B, 1 + patches, C), and patches per column and row."""
    patches: Tensor = visual.conv1(images)  # type: ignore[operator]
    grid = patches.shape[-2:]
    tokens = patches.flatten(2).transpose(1, 2)
    first = visual.class_embedding.to(tokens.dtype).expand(tokens.shape[0], 1, -1)  # type: ignore[operator]
    states = torch.cat([first, tokens], dim=1) + position_embedding(visual, *grid).to(tokens.dtype)
    return visual.ln_pre(states), grid  # type: ignore[operator]


def patch_embeddings(visual: nn.Module, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
    """Embed the patches, not normalised, for each kind of attention in the last block.

    (B, 3, H, W) -> (B, rows, columns, D) each. A patch is embedded as the class token is: `ln_post`, then
    `proj`. The blocks before the last run once, whatever is asked for.
    """
    states, grid = _first_states(visual, images)
    *earlier, last = visual.transformer.resblocks  # type: ignore[union-attr,misc]
    for block in earlier:
        states = block(states)
    ends = {"plain": last, "csa": partial(correlative_block, last)}
    patches = (visual.ln_post(ends[kind](states)[:, 1:]) for kind in attention)  # type: ignore[operator]
    return [(states @ visual.proj).reshape(len(images), *grid, -1) for states in patches]


def correlative_block(block: nn.Module, states: Tensor) -> Tensor:
    """Apply open_clip's residual block with correlative self-attention: (B, T, C) -> (B, T, C).

    Its attention weights are softmax(q q^T d^-1/2) + softmax(k k^T d^-1/2), d the width of a head: a sum, not
    a mean. Source: SCLIP.
    """
    attn: nn.MultiheadAttention = block.attn  # type: ignore[assignment]
    projected = linear(block.ln_1(states), attn.in_proj_weight, attn.in_proj_bias)  # type: ignore[operator]
    heads = projected.reshape(*projected.shape[:2], 3, attn.num_heads, attn.head_dim)
    q, k, v = heads.permute(2, 0, 3, 1, 4)
    attended = scaled_dot_product_attention(q, q, v) + scaled_dot_product_attention(k, k, v)
    states = states + block.ls_1(attn.out_proj(attended.transpose(1, 2).flatten(2)))  # type: ignore[operator]
    return states + block.ls_2(block.mlp(block.ln_2(states)))  # type: ignore[operator,no-any-return]


def text_states(clip: CLIP, ids: Tensor, shapes: Sequence[GroupShape], rows: Tensor) -> Tensor:
    """Compute states of the tokens at `rows` after the last norm: packed ids (T,), (R,) -> (R, C).

    A caption may be shorter than the context: attention is causal, so later tokens change nothing.
    """
    positions = [clip.positional_embedding[:length].repeat(count, 1) for count, length in shapes]
    packed = clip.token_embedding(ids) + torch.cat(positions)
    states: Tensor = clip.ln_final(clip.run_blocks(clip.transformer, packed, shapes, rows, is_causal=True))
    return states


def end_states(states: Tensor, tokens: Tensor) -> Tensor:
    """Return the state at each caption's end-of-text token, which has the largest id: (B, L, C) -> (B, C)."""
    return states[torch.arange(len(states), device=states.device), tokens.argmax(dim=-1)]


def num_image_tokens(visual: nn.Module, images: Tensor) -> int:
    """Return the number of tokens of an image, class and patches."""
    height, width = visual.conv1.stride  # type: ignore[misc]
    return 1 + (images.shape[-2] // height) * (images.shape[-1] // width)  # type: ignore[no-any-return]


def encode_image(clip: CLIP, images: Tensor) -> Tensor:
    """Embed images, not normalised: (B, 3, H, W) -> (B, D)."""
    classes = first_rows([(len(images), num_image_tokens(clip.visual, images))], images.device)
    embeddings: Tensor = image_states(clip, [images], classes) @ clip.visual.proj
    return embeddings


def encode_text(clip: CLIP, tokens: Tensor, lengths: Lengths) -> Tensor:
    """Embed texts, not normalised: (B, L), and their lengths (B,) -> (B, D)."""
    packed = pack_captions(tokens, lengths)
    embeddings: Tensor = text_states(clip, packed.ids, packed.shapes, packed.ends) @ clip.text_projection
    return embeddings
