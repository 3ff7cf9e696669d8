"""Shapes of a step on a rank: tokens of both towers, and the bytes that each part of the model keeps of them.

Bytes are those of CUDA. Under autocast, products are computed in two bytes and norms in four.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from cosmos.config.machine import ActivationCheckpointing
from cosmos.config.params import ViewParams
from cosmos.config.section import Precision
from cosmos.plan.dimensions import CHANNELS, ModelDimensions, TowerDimensions
from cosmos.plan.workload import Workload

FLOAT = 4
"""Bytes of a number in float32."""

TOKEN = 8
"""Bytes of a token's id."""

NUM_GLOBAL = 2
"""Global views of a sample, in each modality."""

PADDING = 1 / 0.95
"""Tokens computed for one that is needed, of captions that are packed: at most 5% are padding."""


@dataclass(frozen=True)
class TowerShape:
    """Tokens of a tower that a micro-batch computes at once, and the bytes that its parts keep."""

    dimensions: TowerDimensions
    tokens: float
    rows: float
    """tokens that are computed behind the last block's attention"""
    sequences: float
    product: int
    """bytes of a number that comes from a product"""
    stream: int
    """bytes of a number of the states between blocks"""
    checkpointing: ActivationCheckpointing
    kept_by_inputs: float
    head_weights: int
    """weights of the projection of the embeddings"""
    gelu_copies: int
    """tensors as large as the MLP's inside that its activation keeps, its value included"""

    @property
    def kept_by_attention(self) -> float:
        """Bytes kept of the first half of a block: norm, projections, values that are attended to."""
        width = self.dimensions.width
        return self.tokens * (width * (FLOAT + 5 * self.product) + 2 * FLOAT + FLOAT * self.dimensions.heads)

    def kept_by_mlp(self, rows: float) -> float:
        """Return the bytes kept of the second half of a block, for so many tokens: attended values, MLP."""
        width, hidden = self.dimensions.width, self.dimensions.hidden
        inside = self.gelu_copies * hidden
        return rows * (width * (FLOAT + self.product) + self.product * (width + inside) + 2 * FLOAT)

    def shared(self, rows: float) -> float:
        """Return the bytes that cheap checkpointing keeps beside a block's input: products and attention."""
        width, hidden = self.dimensions.width, self.dimensions.hidden
        attended = self.tokens * (4 * width * self.product + FLOAT * self.dimensions.heads)
        return attended + self.product * rows * (width + hidden)

    def kept_by_block(self, rows: float) -> float:
        """Return the bytes kept of a block that computes `rows` tokens behind its attention."""
        states = self.stream * self.tokens * self.dimensions.width
        match self.checkpointing:
            case "none":
                return self.kept_by_attention + self.kept_by_mlp(rows)
            case "cheap":
                return states + self.shared(rows)
            case "all":
                return states

    def computed_again(self, rows: float) -> float:
        """Return the bytes that a block's activations take when the backward pass computes them again."""
        if self.checkpointing == "none":
            return 0
        width = self.dimensions.width
        whole = self.kept_by_attention + self.kept_by_mlp(rows)
        states = FLOAT * self.tokens * width if self.stream == FLOAT else 0
        kept = self.shared(rows) - self.product * rows * width if self.checkpointing == "cheap" else 0
        return whole - states - kept

    def block_workspace(self, rows: float) -> float:
        """Return the bytes of a block's own gradients where they are the most: in its MLP."""
        width, hidden = self.dimensions.width, self.dimensions.hidden
        stream = self.stream + (self.product if self.product < self.stream else 0)
        weights = self.product * width * hidden if self.product < FLOAT else 0
        return rows * (stream * width + self.product * hidden) + weights + self.computed_again(rows)

    @property
    def last_workspace(self) -> float:
        """Bytes of the last block's own gradients: in its MLP, or in its attention, of all tokens."""
        width = self.dimensions.width
        attention = self.tokens * width * (self.stream + 7 * self.product) - self.kept_by_mlp(self.rows)
        return max(self.block_workspace(self.rows), attention + self.computed_again(self.rows))

    @property
    def kept_by_head(self) -> float:
        """Bytes kept of the last norm and of the projection of a token of each sequence."""
        width = self.dimensions.width
        return self.rows * (FLOAT * width + 2 * FLOAT) + self.sequences * width * self.product


@dataclass(frozen=True)
class PoolShape:
    """Cross-attention pool with the mapping of its tokens, and the bytes that they keep."""

    dim: int
    width: int
    """channels of the tokens before they are mapped"""
    tokens: float
    queries: float
    heads: int
    product: int

    @property
    def kept(self) -> float:
        """Bytes kept of mapping, norms, projections and attention."""
        copies = 1 if self.product < FLOAT else 0
        of_token = self.product * self.width + self.dim * (2 * FLOAT + (2 + copies) * self.product)
        of_query = self.dim * (2 * FLOAT + (4 + copies) * self.product) + FLOAT * self.heads
        return self.tokens * of_token + self.queries * of_query

    @property
    def workspace(self) -> float:
        """Bytes of gradients of keys and values."""
        return self.tokens * self.dim * (FLOAT + 4 * self.product)

    @property
    def weights(self) -> int:
        """Number of weights of the mapping and of the pool's projections."""
        return self.width * self.dim + 4 * self.dim**2

    @property
    def parameters(self) -> int:
        """Number of their parameters, with biases and norms."""
        return self.weights + 9 * self.dim


@dataclass(frozen=True)
class StepShape:
    """All that the memory of a step depends on."""

    model: ModelDimensions
    views: ViewParams
    global_tokens: float
    """tokens of a global caption, mean"""
    local_tokens: float
    precision: Precision
    batch: int
    """samples of the rank"""
    num_ranks: int = 1
    micro_batches: int = 1
    checkpointing: ActivationCheckpointing = "none"

    @classmethod
    def of(cls, workload: Workload) -> Self:
        """Return the shape of a workload's step on a rank."""
        params, data = workload.params, workload.data
        return cls(
            ModelDimensions.of(params),
            params.views,
            data.mean_global_tokens,
            data.mean_local_tokens,
            params.pretrain.precision,
            workload.batch_per_rank,
            workload.num_ranks,
            min(workload.micro_batches, workload.batch_per_rank),
            workload.activation_checkpointing,
        )

    @property
    def samples(self) -> int:
        """Samples of the largest micro-batch."""
        return -(-self.batch // self.micro_batches)

    @property
    def product(self) -> int:
        """Bytes of a number that comes from a product."""
        return FLOAT if self.precision == "float32" else 2

    @property
    def cast_size(self) -> int:
        """Bytes of the copy of a weight that autocast makes."""
        return 0 if self.precision == "float32" else 2

    @property
    def num_images(self) -> int:
        """Number of image views of a sample."""
        return NUM_GLOBAL + self.views.num_local_crops

    @property
    def num_captions(self) -> int:
        """Number of captions of a sample."""
        return self.views.num_captions

    @property
    def pixels(self) -> int:
        """Number of values of a sample's crops."""
        views = self.views
        return CHANNELS * (NUM_GLOBAL * views.image_size**2 + views.num_local_crops * views.local_size**2)

    @property
    def input_bytes(self) -> int:
        """Bytes of a sample's crops and tokens."""
        return FLOAT * self.pixels + TOKEN * self.num_captions * self.model.context_length

    def image_tokens(self, num_local_crops: int) -> int:
        """Return the tokens of a sample's global crops and of so many local ones."""
        model, views = self.model, self.views
        whole, local = model.image_tokens(views.image_size), model.image_tokens(views.local_size)
        return NUM_GLOBAL * whole + num_local_crops * local

    def caption_tokens(self, num_global: int, num_local: int) -> float:
        """Return the tokens that are computed of so many packed captions of a sample, padding included."""
        tokens = PADDING * (num_global * self.global_tokens + num_local * self.local_tokens)
        return min(tokens, self.model.context_length * (num_global + num_local))

    @property
    def text_tokens(self) -> float:
        """Tokens that are computed of a sample's captions: the pools need all states of the first one."""
        num_local = self.num_captions - NUM_GLOBAL
        if not self.model.uses_pools:
            return self.caption_tokens(NUM_GLOBAL, num_local)
        return self.model.context_length + self.caption_tokens(NUM_GLOBAL - 1, num_local)

    @cached_property
    def image(self) -> TowerShape:
        """Image tower of a micro-batch."""
        model, samples = self.model, self.samples
        tokens = self.image_tokens(self.views.num_local_crops)
        whole = model.image_tokens(self.views.image_size) - 1 if model.uses_pools else 0
        inputs = self.pixels * self.product + tokens * (FLOAT * model.image.width + 2 * FLOAT)
        return self._tower(model.image, tokens, whole, self.num_images, self.product, samples * inputs)

    @cached_property
    def text(self) -> TowerShape:
        """Text tower of a micro-batch; its states are in float32, as the embeddings of tokens are."""
        model = self.model
        whole = model.context_length - 1 if model.uses_pools else 0
        inputs = self.samples * TOKEN * self.text_tokens
        return self._tower(model.text, self.text_tokens, whole, self.num_captions, FLOAT, inputs)

    def _tower(
        self, tower: TowerDimensions, tokens: float, whole: int, views: int, stream: int, inputs: float
    ) -> TowerShape:
        """Return a tower that computes so many tokens and sequences a sample, `whole` of them to the end."""
        samples, model = self.samples, self.model
        return TowerShape(
            tower,
            samples * tokens,
            samples * (whole + views),
            samples * views,
            self.product,
            stream,
            self.checkpointing,
            inputs,
            tower.width * model.embed_dim,
            3 if model.has_quick_gelu else 2,
        )

    @property
    def pools(self) -> tuple[PoolShape, ...]:
        """Pools of patches by texts and of a text's tokens by images, where the objective has them."""
        model, samples = self.model, self.samples
        if not model.uses_pools:
            return ()
        patches = model.image_tokens(self.views.image_size) - 1
        sizes = (
            (model.image.width, patches, self.num_captions),
            (model.text.width, model.context_length, self.num_images),
        )
        return tuple(
            PoolShape(
                model.embed_dim, width, samples * tokens, samples * queries, model.pool_heads, self.product
            )
            for width, tokens, queries in sizes
        )
