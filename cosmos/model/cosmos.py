"""The student's model: open_clip's CLIP with token mappings and cross-attention pools."""

import math
from dataclasses import dataclass

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn.functional import normalize

from cosmos.config.params import LossParams, ModelParams
from cosmos.errors import InputError
from cosmos.model.blocks import EAGER
from cosmos.model.cross_attention import CrossAttentionPool
from cosmos.model.packing import Lengths, first_rows, pack_captions
from cosmos.model.towers import (
    architecture,
    encode_image,
    encode_text,
    end_states,
    image_states,
    num_image_tokens,
    text_states,
)

NUM_GLOBAL = 2
"""Number of global views of a sample, in each modality; the other modality attends to the first's tokens."""


@dataclass(frozen=True)
class StudentViews:
    """Normalised embeddings of a batch's views, view first. V image views and K captions of B samples."""

    image: Tensor
    """(V, B, D) f: image embeddings"""
    text: Tensor
    """(K, B, D) g: text embeddings"""
    image_distill: Tensor
    """(V, B, D) c: embeddings that distil image views: cross-modal ones, or f itself"""
    text_distill: Tensor
    """(K, B, D) d: embeddings that distil text views: cross-modal ones, or g itself"""
    logit_scale: Tensor
    """() factor of the contrastive logits"""
    distill_logit_scale: Tensor
    """() factor of the distillation logits"""
    logit_bias: Tensor
    """() added to the contrastive logits of SigLIP; 0 for CLIP"""

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the fields, in order."""
        return tuple(vars(self).values())


@dataclass(frozen=True)
class TeacherViews:
    """Normalised embeddings of the two global views of each modality, without gradients."""

    image: Tensor
    """(2, B, D) f'"""
    text: Tensor
    """(2, B, D) g'"""


NOTHING_TAUGHT = TeacherViews(torch.empty(0), torch.empty(0))
"""Stand-in for a teacher's views, for a loss that distils nothing."""


class Cosmos(CLIP):  # type: ignore[misc]  # open_clip is not typed
    """Student or teacher of COSMOS (arXiv 2412.01814).

    Parameters have the names of published checkpoints, which is why this is a CLIP and does not hold one.
    """

    def __init__(self, model: ModelParams, loss: LossParams, image_size: int) -> None:
        arch = architecture(model, image_size)
        siglip = (
            {"init_logit_scale": math.log(10), "init_logit_bias": loss.siglip_bias}
            if loss.contrastive == "siglip"
            else {}
        )
        super().__init__(arch.embed_dim, arch.vision, arch.text, quick_gelu=arch.quick_gelu, **siglip)
        dim, heads = arch.embed_dim, model.cross_attention_heads
        if dim % heads:
            raise InputError(
                f"model.cross_attention_heads: {heads} does not divide the embedding's width {dim}"
            )
        self.image_token_mapping = nn.Linear(arch.vision.width, dim)
        self.text_token_mapping = nn.Linear(arch.text.width, dim)
        self.visual.attn_cross_pool = CrossAttentionPool(dim, heads)
        self.text_attn_cross_pool = CrossAttentionPool(dim, heads)
        self.distill_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.run_blocks = EAGER
        self.uses_cross_attention = loss.distillation == "cross-modal"
        self._freeze_unused(loss)

    def _freeze_unused(self, loss: LossParams) -> None:
        """Freeze parameters that the objective never reaches: ranks would wait for their gradients."""
        unused: list[nn.Module] = []
        if not self.uses_cross_attention:
            unused = [self.image_token_mapping, self.text_token_mapping]
            unused += [self.visual.attn_cross_pool, self.text_attn_cross_pool]
        for module in unused:
            module.requires_grad_(False)
        self.distill_logit_scale.requires_grad_(loss.distills)

    def forward(
        self, global_crops: Tensor, local_crops: Tensor, tokens: Tensor, lengths: Lengths
    ) -> StudentViews:
        """Embed every view of a batch: (B, 2, 3, S, S), (B, n, 3, s, s), (B, K, L) -> V = 2 + n, K views.

        `lengths`: (B, K), of the captions.
        """
        if self.uses_cross_attention:
            f, patches = self._image_views(global_crops, local_crops, num_whole=len(global_crops))
            g, text_tokens = self._text_views(tokens, lengths)
            c = f + self.text_attn_cross_pool(f, self.text_token_mapping(text_tokens))
            d = g + self.visual.attn_cross_pool(g, self.image_token_mapping(patches))
        else:
            f, _ = self._image_views(global_crops, local_crops, num_whole=0)
            g = by_view(encode_text(self, *views_first(tokens, lengths)), tokens.shape[1])
            c, d = f, g
        bias = f.new_zeros(()) if self.logit_bias is None else self.logit_bias
        f, g, c, d = (normalize(views.float(), dim=-1) for views in (f, g, c, d))
        return StudentViews(f, g, c, d, self.logit_scale.exp(), self.distill_logit_scale.exp(), bias)

    def _image_views(
        self, global_crops: Tensor, local_crops: Tensor, *, num_whole: int
    ) -> tuple[Tensor, Tensor]:
        """Return embeddings (V, B, D), and states of the first crops' patches, (num_whole, N, C)."""
        crops = [
            crops.transpose(0, 1).flatten(0, 1) for crops in (global_crops, local_crops) if crops.shape[1]
        ]
        shapes = [(len(images), num_image_tokens(self.visual, images)) for images in crops]
        classes = first_rows(shapes, global_crops.device)
        whole = torch.arange(num_whole * shapes[0][1], device=classes.device)
        states = image_states(self, crops, torch.cat([whole, classes[num_whole:]]))
        first = states[: len(whole)].reshape(num_whole, shapes[0][1], self.visual.proj.shape[0])
        embeddings = torch.cat([first[:, 0], states[len(whole) :]]) @ self.visual.proj
        return by_view(embeddings, embeddings.shape[0] // len(global_crops)), first[:, 1:]

    def _text_views(self, tokens: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor]:
        """Return embeddings (K, B, D), and all states of global caption 1, with padding, (B, L, C)."""
        first, length = tokens[:, 0], tokens.shape[-1]
        others = pack_captions(*views_first(tokens[:, 1:], lengths[:, 1:]))
        whole = torch.arange(first.numel(), device=tokens.device)
        ids = torch.cat([first.flatten(), others.ids])
        rows = torch.cat([whole, first.numel() + others.ends])
        states = text_states(self, ids, ((len(first), length), *others.shapes), rows)
        first_states = states[: first.numel()].reshape(*first.shape, -1)
        ends = torch.cat([end_states(first_states, first), states[first.numel() :]])
        return by_view(ends @ self.text_projection, tokens.shape[1]), first_states

    @torch.no_grad()
    def global_views(self, global_crops: Tensor, tokens: Tensor, lengths: Lengths) -> TeacherViews:
        """Embed the global views, as a teacher: (B, 2, 3, S, S), (B, K, L), (B, K) -> (2, B, D)."""
        images = encode_image(self, global_crops.transpose(0, 1).flatten(0, 1))
        texts = encode_text(self, *views_first(tokens[:, :NUM_GLOBAL], lengths[:, :NUM_GLOBAL]))
        f, g = (normalize(by_view(e, NUM_GLOBAL).float(), dim=-1) for e in (images, texts))
        return TeacherViews(f, g)


def views_first(tokens: Tensor, lengths: Lengths) -> tuple[Tensor, Lengths]:
    """Stack captions and their lengths view by view: (B, K, L), (B, K) -> (K B, L), (K B,)."""
    return tokens.transpose(0, 1).flatten(0, 1), lengths.T.flatten()


def by_view(embeddings: Tensor, views: int) -> Tensor:
    """Unstack views: (views x B, D), view major -> (views, B, D)."""
    return embeddings.reshape(views, -1, embeddings.shape[-1])
