"""Losses of all pairs of views and their gradients, computed together, one matrix of logits (B, N) at a time.

The matrix z = s x y^T of a pair of views is read along both sides and gives the gradients at once: it is
computed once and not kept. For nce, with the log-sum-exps r of its rows and c of its columns,
d loss / d z = (exp(z - r) + exp(z - c)) / 2 - I, divided by the number of rows and of pairs.

With several ranks, each has its own rows of z. They exchange the log-sum-exps of the columns. Then each has
the whole gradient of its rows x, and a share of that of y, which the backward pass of `gather_rows` sums.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from cosmos.distributed.exchange import logsumexp_over_ranks
from cosmos.distributed.group import rank, world_size

LOGITS_AT_ONCE = 2**20
"""Number of logits of the pairs that are computed together; at least one pair's."""

LossOfLogits = Callable[[Tensor], tuple[Tensor, Callable[[], Tensor]]]
"""Function of logits (V, B, K, N), which it may overwrite: the sum of all rows' losses, and its gradient."""


@dataclass(frozen=True)
class WeightedViews:
    """Views (K, N, D) of the samples of all ranks, and the weight of the loss against them."""

    rows: Tensor
    weight: float


@dataclass(frozen=True)
class PairwiseLosses:
    """Losses of views x against several stacks of views y: means over the pairs of views. All are scalars."""

    total: Tensor
    """weighted sum, with gradients"""
    terms: tuple[Tensor, ...]
    """loss against each of the stacks, without gradients"""


def nce_losses(x: Tensor, targets: Sequence[WeightedViews], scale: Tensor) -> PairwiseLosses:
    """Return the contrastive losses nce of this rank's views (V, B, D) and each of the targets."""
    return _pairwise_losses(_nce_of_logits, x, targets, scale, None)


def sigmoid_losses(
    x: Tensor, targets: Sequence[WeightedViews], scale: Tensor, bias: Tensor
) -> PairwiseLosses:
    """Return SigLIP's losses (arXiv 2303.15343, algorithm 1) of this rank's views (V, B, D) and each target.

    Each of the N x N pairs of samples is a binary decision: this rank's rows of x make its share.
    """
    return _pairwise_losses(_sigmoid_loss_of_logits, x, targets, scale, bias)


def _pairwise_losses(
    criterion: LossOfLogits, x: Tensor, targets: Sequence[WeightedViews], scale: Tensor, bias: Tensor | None
) -> PairwiseLosses:
    stacks, weights = [target.rows for target in targets], [target.weight for target in targets]
    with torch.autocast(x.device.type, enabled=False):
        total, *terms = _PairwiseLoss.apply(
            criterion, weights, torch.is_grad_enabled(), x, scale, bias, *stacks
        )
    return PairwiseLosses(total, tuple(terms))


# losses of logits


def _own(logits: Tensor) -> Tensor:
    """Return the logits of each row and its own column, as a view: (V, B, K, N) -> (V, K, B)."""
    return logits.diagonal(offset=rank() * logits.shape[1], dim1=1, dim2=3)


def _nce_of_logits(logits: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
    """Return nce of logits: half of the cross-entropies of their rows and of their columns."""
    rows, columns = logits.log_softmax(dim=3), _log_softmax_of_columns(logits)

    def gradient() -> Tensor:
        mean = rows.exp_().lerp_(columns.exp_(), 0.5)
        _own(mean).sub_(1)
        return mean

    return -(_own(rows).sum() + _own(columns).sum()) / 2, gradient


def _log_softmax_of_columns(logits: Tensor) -> Tensor:
    """Return the logarithm of the softmax over the rows of all ranks."""
    columns = logits.log_softmax(dim=1)
    if world_size() > 1:
        mine = logits.amax(dim=1) - columns.amax(dim=1)
        columns += (mine - logsumexp_over_ranks(mine))[:, None]
    return columns


def _sigmoid_loss_of_logits(logits: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
    """Return the logistic losses of logits: a row belongs to its own column, and to no other."""
    own = _own(logits)
    own.neg_()

    def gradient() -> Tensor:
        logits.sigmoid_()
        own.neg_()
        return logits

    return softplus(logits).sum(), gradient


# gradients


class _PairwiseLoss(torch.autograd.Function):
    """Weighted sum of losses, and the losses; the gradients of the sum are computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, criterion: LossOfLogits, weights: list[float], trains: bool, *inputs: Any) -> Any:
        x, scale, bias, *stacks = inputs
        needed = [trains and needs for needs in ctx.needs_input_grad[3:]]
        rows = _Rows.of(x, scale, bias, needed)
        gradients = [_zeros(y) if needs else None for y, needs in zip(stacks, needed[3:], strict=True)]
        terms = [
            rows.loss_against(y, criterion, weight, gradient)
            for y, weight, gradient in zip(stacks, weights, gradients, strict=True)
        ]
        ctx.save_for_backward(*rows.gradients(needed), *gradients)
        ctx.mark_non_differentiable(*terms)
        return torch.stack([w * term for w, term in zip(weights, terms, strict=True)]).sum(), *terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Any) -> Any:
        gradients = (saved if saved is None else saved * outer[0] for saved in ctx.saved_tensors)
        return None, None, None, *gradients


@dataclass(frozen=True)
class _Rows:
    """Views of this rank's samples, and sums of gradients: None where none is needed."""

    views: Tensor
    """(V, B, D)"""
    scale: Tensor
    bias: Tensor | None
    views_gradient: Tensor | None
    """(V, B, D), but for the factor `scale`"""
    bias_gradient: Tensor | None

    @classmethod
    def of(cls, views: Tensor, scale: Tensor, bias: Tensor | None, needed: Sequence[bool]) -> Self:
        """Return rows whose gradients are zero so far; that of the scale follows from that of the views."""
        needs_views, needs_bias = needed[0] or needed[1], bias is not None and needed[2]
        return cls(
            views, scale, bias, _zeros(views) if needs_views else None, _zeros(scale) if needs_bias else None
        )

    def loss_against(
        self, y: Tensor, criterion: LossOfLogits, weight: float, y_gradient: Tensor | None
    ) -> Tensor:
        """Return the mean loss of all pairs with views y (K, N, D); add its weighted gradients."""
        count = len(self.views) * len(y) * self.views.shape[1]
        losses = [
            self._add_pairs(i, y[j], criterion, weight / count, _part(y_gradient, j))
            for i, j in _blocks(self.views, y)
        ]
        return torch.stack(losses).sum() / count

    def _add_pairs(
        self, i: slice, y: Tensor, criterion: LossOfLogits, factor: float, y_gradient: Tensor | None
    ) -> Tensor:
        """Return the sum of the losses of some pairs of views, and add their gradients times `factor`."""
        shape = (-1, self.views.shape[1], *y.shape[:2])
        x, y = (self.views[i] * self.scale).flatten(0, 1), y.flatten(0, 1)
        logits = x @ y.T if self.bias is None else torch.addmm(self.bias, x, y.T)
        loss, gradient_of_logits = criterion(logits.view(shape))
        sums = (_part(self.views_gradient, i), y_gradient, self.bias_gradient)
        if factor and any(gradient is not None for gradient in sums):
            _add_gradients(sums, gradient_of_logits().view(len(x), len(y)), x, y, factor)
        return loss

    def gradients(self, needed: Sequence[bool]) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of views, scale and bias."""
        views, scale = self.views_gradient, None
        if views is None:
            return None, None, self.bias_gradient
        if needed[1]:  # a view at a time: the products of all are as large as the views
            scale = torch.stack([(x * dx).sum() for x, dx in zip(self.views, views, strict=True)]).sum()
        return views.mul_(self.scale) if needed[0] else None, scale, self.bias_gradient


def _add_gradients(
    sums: tuple[Tensor | None, ...], logits_gradient: Tensor, x: Tensor, y: Tensor, factor: float
) -> None:
    """Add gradients of views x (V B, D), y (K N, D) and bias, from those of the logits (V B, K N)."""
    x_sum, y_sum, bias_sum = sums
    if x_sum is not None:
        x_sum.flatten(0, 1).addmm_(logits_gradient, y, alpha=factor)
    if y_sum is not None:
        y_sum.flatten(0, 1).addmm_(logits_gradient.T, x, alpha=factor)
    if bias_sum is not None:
        bias_sum.add_(logits_gradient.sum(), alpha=factor)


def _part(sums: Tensor | None, views: slice) -> Tensor | None:
    """Return the sums of some views, if there are any."""
    return None if sums is None else sums[views]


def _zeros(tensor: Tensor) -> Tensor:
    """Return contiguous zeros, of which parts can be flattened and added to in place."""
    return torch.zeros_like(tensor, memory_format=torch.contiguous_format)


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield the views of x and of y whose pairs are computed together."""
    pairs = max(1, LOGITS_AT_ONCE // (x.shape[1] * y.shape[1]))
    at_once = max(1, pairs // len(y)), min(pairs, len(y))
    for i in range(0, len(x), at_once[0]):
        for j in range(0, len(y), at_once[1]):
            yield slice(i, i + at_once[0]), slice(j, j + at_once[1])
