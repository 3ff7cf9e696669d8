"""Floating-point operations (FLOPs) of a step, and the peak of the device that computes them.

Products of matrices and attention are counted, two operations for each number that is multiplied and added,
as far as the result needs them: no padding behind captions, and nothing that is computed again in the
backward pass. So a share of the peak (MFU: PaLM, arXiv 2204.02311, appendix B) cannot grow by waste.
Attention counts as if it were not causal, as usual. The loss's own products are left out: of a ViT-B/16's
step they are 0.2% at a batch of 4,096.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cosmos.config.gpus import GpuKinds, gpu_of_name
from cosmos.config.section import Precision
from cosmos.data.batch import Batch
from cosmos.model.cosmos import NUM_GLOBAL, Cosmos
from cosmos.model.cross_attention import CrossAttentionPool
from cosmos.model.packing import GroupShape, Lengths
from cosmos.model.towers import num_image_tokens


def peak_flops(device: torch.device, precision: Precision, own: GpuKinds | None = None) -> float:
    """Return the FLOPs per second that a device reaches at most; NaN where they are not known.

    `own`: kinds of GPU that the machine's settings add.
    """
    gpu = gpu_of_name(torch.cuda.get_device_name(device), own) if device.type == "cuda" else None
    return (gpu and gpu.peak_flops(precision)) or math.nan


def step_flops(model: Cosmos, batch: Batch, *, has_teacher: bool) -> int:
    """Return the FLOPs of a step on a batch, forward and backward, and of the teacher's forward pass.

    The backward pass has two products for each one of the forward pass, for the gradients of its two factors;
    of the patches' embeddings one, as pixels have no gradient.
    """
    images = [crop_shape(model, crops) for crops in (batch.global_crops, batch.local_crops)]
    taught = teacher_flops(model, batch, images[:1]) if has_teacher else 0
    return 3 * student_flops(model, batch, images) + 2 * patch_flops(model, images) + taught


def student_flops(model: Cosmos, batch: Batch, images: Sequence[GroupShape]) -> int:
    """Return the FLOPs of the student's forward pass behind the patches' embeddings."""
    if not model.uses_cross_attention:
        return towers_flops(model, images, by_length(batch.lengths))
    size, num_captions, context = batch.tokens.shape
    num_views, num_tokens = sum(count for count, _ in images) // size, images[0][1]
    captions = [(size, context), *by_length(batch.lengths[:, 1:])]
    mapped = num_weights(model.image_token_mapping) * (num_tokens - 1)
    mapped += num_weights(model.text_token_mapping) * context
    pooled = pool_flops(model.visual.attn_cross_pool, num_captions, num_tokens - 1)
    pooled += pool_flops(model.text_attn_cross_pool, num_views, context)
    whole = size * (num_tokens - 1), size * (context - 1)
    return towers_flops(model, images, captions, *whole) + size * (2 * mapped + pooled)


def teacher_flops(model: Cosmos, batch: Batch, images: Sequence[GroupShape]) -> int:
    """Return the FLOPs of the teacher's forward pass."""
    captions = by_length(batch.lengths[:, :NUM_GLOBAL])
    return patch_flops(model, images) + towers_flops(model, images, captions)


def patch_flops(model: Cosmos, images: Sequence[GroupShape]) -> int:
    """Return the FLOPs of the embeddings of patches."""
    return 2 * num_weights(model.visual.conv1) * sum(count * (length - 1) for count, length in images)


def towers_flops(
    model: Cosmos,
    images: Sequence[GroupShape],
    captions: Sequence[GroupShape],
    image_rows: int = 0,
    caption_rows: int = 0,
) -> int:
    """Return the FLOPs of both towers' blocks and projections; rows as of `tower_flops`."""
    visual = model.visual
    image = tower_flops(visual.transformer, visual.proj, images, image_rows)
    return image + tower_flops(model.transformer, model.text_projection, captions, caption_rows)


def tower_flops(
    transformer: nn.Module, projection: Tensor, shapes: Sequence[GroupShape], num_more: int
) -> int:
    """Return the FLOPs of a tower's blocks, and of the projection of a token of each sequence.

    Behind the last block's attention, only these tokens are computed, and `num_more` others.
    """
    block: nn.Module = transformer.resblocks[0]  # type: ignore[index,assignment]
    num_layers = len(transformer.resblocks)  # type: ignore[arg-type]
    first: Tensor = block.attn.in_proj_weight  # type: ignore[union-attr,assignment]
    num_sequences = sum(count for count, _ in shapes)
    num_tokens = sum(count * length for count, length in shapes)
    num_pairs = sum(count * length**2 for count, length in shapes)
    attended = num_layers * (first.numel() * num_tokens + 2 * first.shape[1] * num_pairs)
    finished = (num_layers - 1) * num_tokens + num_sequences + num_more
    rest = (num_weights(block) - first.numel()) * finished
    return 2 * (attended + rest + projection.numel() * num_sequences)


def pool_flops(pool: CrossAttentionPool, num_queries: int, num_tokens: int) -> int:
    """Return the FLOPs of a pool's attention: projections of queries, keys, values and result, and pairs."""
    dim: int = pool.attn.embed_dim
    return 2 * dim * (dim * (2 * num_queries + 2 * num_tokens) + 2 * num_queries * num_tokens)


def num_weights(module: nn.Module) -> int:
    """Return the number of weights by which a module multiplies each of its rows."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)


def crop_shape(model: Cosmos, crops: Tensor) -> GroupShape:
    """Return number and tokens of crops of one size: (B, V, 3, H, W)."""
    return crops.shape[0] * crops.shape[1], num_image_tokens(model.visual, crops)


def by_length(lengths: Lengths) -> list[GroupShape]:
    """Return number and length of the captions of each length."""
    values, counts = np.unique(lengths, return_counts=True)
    return list(zip(counts.tolist(), values.tolist(), strict=True))
