"""Cross-attention of a model of COSMOS as maps: an image's patches by texts, a text's tokens by the image.

An embedding attends to all tokens of the other modality at once (COSMOS, section 3.2). The map of a word is
that of the word alone as a text.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cosmos.model.cosmos import Cosmos
from cosmos.model.packing import GroupShape
from cosmos.model.towers import end_states, image_states, num_image_tokens, text_states


@dataclass(frozen=True)
class AttentionMaps:
    """Weights of cross-attention, means over heads, between an image and T texts."""

    of_texts: Tensor
    """(T, rows, columns): weights of the patches by each text; they add up to 1"""
    of_image: Tensor
    """(L,): weights of the first text's tokens, padding included, by the image; they add up to 1"""


@torch.inference_mode()
def attention_maps(model: Cosmos, image: Tensor, tokens: Tensor) -> AttentionMaps:
    """Return the maps of an image (3, S, S) and texts (T, L), all on the model's device."""
    f, patches = _image_tokens(model, image)
    g, first_tokens = _text_tokens(model, tokens)
    by_text = model.visual.attn_cross_pool.weights(g[:, None], model.image_token_mapping(patches))
    by_image = model.text_attn_cross_pool.weights(f[None], model.text_token_mapping(first_tokens))
    side = math.isqrt(patches.shape[1])
    return AttentionMaps(by_text[:, 0].reshape(-1, side, side).float(), by_image[0, 0].float())


def _image_tokens(model: Cosmos, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the embedding (1, D), not normalised, and the states of the patches, (1, N, C)."""
    images = image[None]
    rows = torch.arange(num_image_tokens(model.visual, images), device=image.device)
    states = image_states(model, [images], rows)
    return states[:1] @ model.visual.proj, states[None, 1:]


def _text_tokens(model: Cosmos, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the embeddings (T, D), not normalised, and the states of all tokens of the first, (1, L, C)."""
    shapes: tuple[GroupShape, ...] = ((len(tokens), tokens.shape[1]),)
    rows = torch.arange(tokens.numel(), device=tokens.device)
    states = text_states(model, tokens.flatten(), shapes, rows).view(*tokens.shape, -1)
    return end_states(states, tokens) @ model.text_projection, states[:1]
