"""Blocks of open_clip's transformers over packed sequences.

Sequences of several lengths lie behind each other, as rows of one matrix. Norms, products and activations
see all of them at once; attention alone is computed for each group of sequences of one length. Modules and
names of parameters are open_clip's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
    noop_context_fn,
)

from cosmos.config.machine import ActivationCheckpointing
from cosmos.model.packing import GroupShape


@dataclass(frozen=True)
class BlockRunner:
    """Computation of a transformer's blocks: the activations that are kept, and the kernels."""

    checkpointing: ActivationCheckpointing
    project: Callable[[nn.Module, Tensor], Tensor]
    finish: Callable[[nn.Module, Tensor, Tensor], Tensor]

    def compiled(self) -> "BlockRunner":
        """Return the runner with all but the attention compiled, once for all numbers of tokens.

        What is cheap cannot be told apart in compiled parts: the backward pass computes all of them again.
        """
        project, finish = (torch.compile(part, dynamic=True) for part in (self.project, self.finish))
        checkpointing: ActivationCheckpointing = "none" if self.checkpointing == "none" else "all"
        return BlockRunner(checkpointing, project, finish)

    def __call__(
        self,
        transformer: nn.Module,
        states: Tensor,
        shapes: Sequence[GroupShape],
        rows: Tensor,
        *,
        is_causal: bool,
    ) -> Tensor:
        """Compute the states behind all blocks of the tokens at `rows`: (T, C), (R,) -> (R, C).

        Of the other tokens, the last block computes no more than what those attend to.
        """
        attend = partial(self._attend, shapes=shapes, is_causal=is_causal)

        def whole(block: nn.Module, states: Tensor) -> Tensor:
            return self.finish(block, states, attend(block, states))

        def part(block: nn.Module, states: Tensor) -> Tensor:
            attended = attend(block, states).index_select(0, rows)
            return self.finish(block, states.index_select(0, rows), attended)

        *earlier, last = transformer.resblocks  # type: ignore[misc]
        for block in earlier:
            states = self._keep(whole, block, states)
        return self._keep(part, last, states)

    def _attend(
        self, block: nn.Module, states: Tensor, *, shapes: Sequence[GroupShape], is_causal: bool
    ) -> Tensor:
        """Return the values that a block's heads attend to, before `out_proj`: (T, C) -> (T, C)."""
        projected = self.project(block, states)
        groups = torch.split(projected, [count * length for count, length in shapes])
        heads: int = block.attn.num_heads  # type: ignore[union-attr,assignment]
        pairs = zip(groups, shapes, strict=True)
        return torch.cat([_attend_group(group, shape, heads, is_causal) for group, shape in pairs])

    def _keep(
        self, function: Callable[[nn.Module, Tensor], Tensor], block: nn.Module, states: Tensor
    ) -> Tensor:
        """Return the function's value, with as many of its activations kept as the setting says."""
        if self.checkpointing == "none" or not torch.is_grad_enabled():
            return function(block, states)
        contexts = _selective_contexts if self.checkpointing == "cheap" else noop_context_fn
        result: Tensor = checkpoint(
            function, block, states, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
        )
        return result


def _selective_contexts() -> Any:
    return create_selective_checkpoint_contexts(_policy)  # type: ignore[no-untyped-call]


def _policy(context: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    """Keep the values of attention and products, but not of those that only narrow, which nothing reads.

    The MLP's second product is added to the block's output, and its gradient needs its input alone.
    """
    is_dear = operator in _ATTENTION or (operator in _PRODUCTS and not _narrows(*args))
    return CheckpointPolicy.MUST_SAVE if is_dear else CheckpointPolicy.PREFER_RECOMPUTE


def _narrows(*args: Any) -> bool:
    """Return True for the arguments of a product whose result is narrower than its input."""
    factor: Tensor = args[-1]
    return factor.shape[0] > factor.shape[1]


_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}
_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
}


def project(block: nn.Module, states: Tensor) -> Tensor:
    """Return queries, keys and values of a block's attention: (T, C) -> (T, 3 C)."""
    attn: nn.MultiheadAttention = block.attn  # type: ignore[assignment]
    return linear(block.ln_1(states), attn.in_proj_weight, attn.in_proj_bias)  # type: ignore[operator]


def finish(block: nn.Module, states: Tensor, attended: Tensor) -> Tensor:
    """Return a block's output, from its input and what its heads attend to: (T, C), (T, C) -> (T, C)."""
    states = states + block.ls_1(block.attn.out_proj(attended))  # type: ignore[operator,union-attr]
    return states + block.ls_2(block.mlp(block.ln_2(states)))  # type: ignore[operator,no-any-return]


def _attend_group(projected: Tensor, shape: GroupShape, heads: int, is_causal: bool) -> Tensor:
    """Return `attend` of the n sequences of length L of one group: (n L, 3 C) -> (n L, C)."""
    q, k, v = (part.reshape(*shape, heads, -1).transpose(1, 2) for part in projected.chunk(3, dim=-1))
    attended = scaled_dot_product_attention(q, k, v, is_causal=is_causal)
    return attended.transpose(1, 2).reshape(len(projected), -1)


EAGER = BlockRunner("none", project, finish)
"""Runner that keeps all activations."""
