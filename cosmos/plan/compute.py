"""Floating-point operations of a step by part, from dimensions alone: the same numbers as training logs.

`cosmos.training.flops` counts them of the model and the batch that are trained, which takes torch; tests hold
the two together. What counts, and what does not, stands there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cosmos.config.params import LossParams, Params
from cosmos.plan.dimensions import ModelDimensions, TowerDimensions
from cosmos.plan.workload import GLOBAL_VIEWS, Workload


@dataclass(frozen=True)
class SampleFlops:
    """Floating-point operations that a step takes for a sample, forward and backward, by part."""

    image: float
    """the student's image tower"""
    text: float
    """the student's text tower"""
    pools: float
    """token mappings and cross-attention pools"""
    teacher: float
    loss: float
    """products of the loss, which training does not log; they grow with the batch"""
    repeated: float
    """products that micro-batches and checkpointing compute again, which training does not log"""

    @property
    def logged(self) -> float:
        """Operations that the result needs, as `flops_per_sample` in metrics.jsonl counts them."""
        return self.image + self.text + self.pools + self.teacher

    @property
    def computed(self) -> float:
        """Operations that the device computes."""
        return self.logged + self.loss + self.repeated


@dataclass(frozen=True)
class Sequences:
    """Numbers of sequences, of their tokens, and of pairs of tokens that attend to each other."""

    count: int
    tokens: int
    pairs: int

    @classmethod
    def of(cls, lengths: Iterable[int]) -> "Sequences":
        """Return sequences of the given lengths."""
        lengths = list(lengths)
        return cls(len(lengths), sum(lengths), sum(length**2 for length in lengths))

    def plus(self, other: "Sequences") -> "Sequences":
        """Return both together."""
        return Sequences(self.count + other.count, self.tokens + other.tokens, self.pairs + other.pairs)


def sample_flops(workload: Workload) -> SampleFlops:
    """Return the operations of a step for each sample, the mean over the captions of the dataset's facts."""
    params, lengths = workload.params, workload.data.caption_lengths
    passes = count_passes(ModelDimensions.of(params), params, lengths)
    distills = params.loss.distills
    return SampleFlops(
        image=(3 * passes.image + 2 * passes.patches) / len(lengths),
        text=3 * passes.text / len(lengths),
        pools=3 * passes.pools / len(lengths),
        teacher=passes.teacher / len(lengths) if distills else 0.0,
        loss=loss_flops(params),
        repeated=repeated_flops(workload, passes) / len(lengths),
    )


@dataclass(frozen=True)
class ForwardPasses:
    """Operations of the forward passes over a batch, by part."""

    image: int
    """the student's image tower, behind the embeddings of patches"""
    text: int
    pools: int
    patches: int
    """embeddings of the patches of all crops"""
    teacher: int
    checkpointed: int
    """blocks of both of the student's towers, where their activations are computed again"""


def count_passes(
    dimensions: ModelDimensions, params: Params, lengths: Sequence[Sequence[int]]
) -> ForwardPasses:
    """Return the operations of the passes over a batch whose samples have captions of these lengths."""
    views, size, context = params.views, len(lengths), dimensions.context_length
    large, small = dimensions.image_tokens(views.image_size), dimensions.image_tokens(views.local_size)
    global_crops = Sequences.of([large] * GLOBAL_VIEWS * size)
    crops = global_crops.plus(Sequences.of([small] * params.num_local_crops * size))
    whole = dimensions.uses_pools
    num_more = whole * size * (large - 1), whole * size * (context - 1)
    captions = Sequences.of(length for row in lengths for length in row[int(whole) :])
    if whole:  # caption 1 is computed with its padding, to which images attend
        captions = captions.plus(Sequences.of([context] * size))
    taught = Sequences.of(length for row in lengths for length in row[:GLOBAL_VIEWS])
    image, text, dim = dimensions.image, dimensions.text, dimensions.embed_dim
    num_views = GLOBAL_VIEWS + params.num_local_crops
    pools = pools_flops(dimensions, large - 1, num_views, len(lengths[0])) if whole else 0
    return ForwardPasses(
        image=tower_pass(image, dim, crops, num_more[0]),
        text=tower_pass(text, dim, captions, num_more[1]),
        pools=size * pools,
        patches=patches_pass(dimensions, crops),
        teacher=patches_pass(dimensions, global_crops)
        + tower_pass(image, dim, global_crops, 0)
        + tower_pass(text, dim, taught, 0),
        checkpointed=blocks_again(image, crops, num_more[0]) + blocks_again(text, captions, num_more[1]),
    )


def patches_pass(dimensions: ModelDimensions, crops: Sequences) -> int:
    """Return the operations of the embeddings of patches; a crop has one token more than patches."""
    return 2 * dimensions.patch_weights * (crops.tokens - crops.count)


def tower_pass(tower: TowerDimensions, embed_dim: int, sequences: Sequences, num_more: int) -> int:
    """Return the operations of a tower's blocks and projection, as `cosmos.training.flops.tower_flops`."""
    projected = 2 * tower.width * embed_dim * sequences.count
    return blocks_pass(tower, sequences, num_more, tower.block_weights) + projected


def blocks_pass(tower: TowerDimensions, sequences: Sequences, num_more: int, weights: int) -> int:
    """Return the operations of a tower's blocks, of which each has `weights` in its products."""
    first = 3 * tower.width**2
    attended = tower.layers * (first * sequences.tokens + 2 * tower.width * sequences.pairs)
    finished = (tower.layers - 1) * sequences.tokens + sequences.count + num_more
    return 2 * (attended + (weights - first) * finished)


def blocks_again(tower: TowerDimensions, sequences: Sequences, num_more: int) -> int:
    """Return the operations of blocks that are computed again: of all but the MLP's second product."""
    return blocks_pass(tower, sequences, num_more, tower.block_weights - tower.width * tower.hidden)


def pools_flops(dimensions: ModelDimensions, num_patches: int, num_views: int, num_captions: int) -> int:
    """Return the operations of token mappings and pools for a sample."""
    of_patch, of_token = dimensions.mapping_weights
    context = dimensions.context_length
    mapped = 2 * (of_patch * num_patches + of_token * context)
    dim = dimensions.embed_dim
    return mapped + pool_pass(dim, num_captions, num_patches) + pool_pass(dim, num_views, context)


def pool_pass(dim: int, num_queries: int, num_tokens: int) -> int:
    """Return the operations of a pool, as `cosmos.training.flops.pool_flops`."""
    return 2 * dim * (dim * (2 * num_queries + 2 * num_tokens) + 2 * num_queries * num_tokens)


def repeated_flops(workload: Workload, passes: ForwardPasses) -> int:
    """Return the operations that are computed again: blocks that are not kept, embeddings of micro-batches.

    Norms and activations, which `cheap` computes again, are no products.
    """
    is_split = min(workload.micro_batches, workload.batch_per_rank) > 1
    embedded = passes.image + passes.text + passes.pools + passes.patches
    checkpoints = workload.activation_checkpointing == "all"
    return is_split * embedded + checkpoints * passes.checkpointed


def loss_flops(params: Params) -> float:
    """Return the operations of the loss for a sample: its rows of each pair of views against the batch.

    A matrix of logits is a product, and so is each gradient that is taken from it: of the rows, and of the
    columns where they are the student's (`cosmos.model.pairwise_loss`).
    """
    dim, views, loss = ModelDimensions.of(params).embed_dim, params.views, params.loss
    contrastive = views.num_captions * GLOBAL_VIEWS * (3 if loss.contrastive_weight else 1)
    products = contrastive + (distill_products(params) if loss.distills else 0)
    return 2.0 * params.pretrain.batch_size * dim * products


def distill_products(params: Params) -> int:
    """Return the number of products of the distillation terms; one without weight has logits alone."""
    image, text = GLOBAL_VIEWS + params.num_local_crops, params.views.num_captions
    counts = dict(zip(term_names(), (image, image, text, text), strict=True))
    weighted = weighted_terms(params.loss)
    return sum(GLOBAL_VIEWS * count * (1 + (name in weighted)) for name, count in counts.items())


def term_names() -> tuple[str, ...]:
    """Return the names of the distillation terms, student's modality first."""
    return "image_to_image", "image_to_text", "text_to_image", "text_to_text"


def weighted_terms(loss: LossParams) -> set[str]:
    """Return the names of the distillation terms that have a weight, as `cosmos.model.loss.term_weights`."""
    if not loss.distill_weight:
        return set()
    if loss.distillation in ("image-only", "text-only"):
        return {"image_to_image" if loss.distillation == "image-only" else "text_to_text"}
    return {name for name, weight in loss.distill_terms.model_dump().items() if weight}
