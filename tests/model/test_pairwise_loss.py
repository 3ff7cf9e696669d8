"""Losses of all pairs of views, beside the formula that computes each pair by itself through autograd."""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy, logsigmoid, normalize
from torch.utils._python_dispatch import TorchDispatchMode

from cosmos.distributed.exchange import gather_rows
from cosmos.distributed.group import process_group
from cosmos.model import pairwise_loss
from cosmos.model.pairwise_loss import PairwiseLosses, WeightedViews, nce_losses, sigmoid_losses
from tests.forks import run_ranks
from tests.ranks_as_threads import run_threads

WEIGHTS = (0.7, 1.9)
"""Weights of two stacks of targets."""


def views(count: int, batch: int, seed: int, dim: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, batch, dim, generator=generator, dtype=torch.float64), dim=-1)


def leaves(v: int, k: int, batch: int, seed: int, scale: float = 8.0) -> list[Tensor]:
    """Views x, two stacks of y, scale and bias."""
    stacks = [views(v, batch, seed), views(k, batch, seed + 1), views(2, batch, seed + 2)]
    scalars = [torch.tensor(value, dtype=torch.float64) for value in (scale, -2.0)]
    return [tensor.requires_grad_() for tensor in (*stacks, *scalars)]


def losses_of(kind: str, inputs: list[Tensor], weights: tuple[float, float] = WEIGHTS) -> PairwiseLosses:
    x, y, z, scale, bias = inputs
    targets = [WeightedViews(rows, weight) for rows, weight in zip((y, z), weights, strict=True)]
    if kind == "siglip":
        return sigmoid_losses(x, targets, scale, bias)
    return nce_losses(x, targets, scale)


def plain_nce(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    logits, labels = scale * x @ y.T, torch.arange(len(x))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def plain_sigmoid_loss(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    signs = 2 * torch.eye(len(x), dtype=x.dtype) - 1
    return -logsigmoid(signs * (scale * x @ y.T + bias)).sum() / len(x)


def plain_terms(kind: str, inputs: list[Tensor]) -> list[Tensor]:
    """The mean of each pair of views, one by one."""
    pair_loss = plain_sigmoid_loss if kind == "siglip" else plain_nce
    x, y, z, scale, bias = inputs
    return [
        torch.stack([pair_loss(a, b, scale, bias) for a, b in itertools.product(x, stack)]).mean()
        for stack in (y, z)
    ]


def gradients(total: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True))


def plain_total(kind: str, inputs: list[Tensor]) -> Tensor:
    return sum((w * t for w, t in zip(WEIGHTS, plain_terms(kind, inputs), strict=True)), torch.zeros(()))


@settings(deadline=None, max_examples=50)
@given(
    kind=st.sampled_from(["clip", "siglip"]),
    v=st.integers(1, 4),
    k=st.integers(1, 4),
    batch=st.integers(1, 6),
    scale=st.floats(1, 100),
    at_once=st.sampled_from([1, 50, 2**20]),
    seed=st.integers(0, 99),
)
def test_losses_and_gradients_are_those_of_each_pair_by_itself(
    kind: str, v: int, k: int, batch: int, scale: float, at_once: int, seed: int
) -> None:
    inputs = leaves(v, k, batch, seed, scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairwise_loss, "LOGITS_AT_ONCE", at_once)
        losses = losses_of(kind, inputs)
    torch.testing.assert_close(list(losses.terms), [term.detach() for term in plain_terms(kind, inputs)])
    total = plain_total(kind, inputs)
    torch.testing.assert_close(losses.total, total)
    torch.testing.assert_close(gradients(3 * losses.total, inputs), gradients(3 * total, inputs))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_gradients_are_the_slopes_of_the_loss(kind: str) -> None:
    assert torch.autograd.gradcheck(lambda *inputs: losses_of(kind, list(inputs)).total, leaves(2, 3, 4, 0))


def check_share(rank: int, num_ranks: int, kind: str, batch: int, scale: float) -> None:
    """Check, as one of several ranks, losses and gradients of all against those of the whole batch."""
    whole = leaves(3, 2, num_ranks * batch, 0, scale)
    mine = [t.detach()[:, rank * batch :][:, :batch] if t.ndim else t.detach().clone() for t in whole]
    mine = [tensor.requires_grad_() for tensor in mine]
    stacks = [gather_rows(y.transpose(0, 1)).transpose(0, 1) for y in mine[1:3]]
    total = losses_of(kind, [mine[0], *stacks, *mine[3:]]).total
    mean, expected = gather_rows(total.detach()[None]).mean(), plain_total(kind, whole)
    torch.testing.assert_close(mean, expected.detach())
    # as by DistributedDataParallel: the mean over ranks of what each adds to the parameters
    for ours, theirs in zip(gradients(total, mine), gradients(num_ranks * expected, whole), strict=True):
        share = theirs[:, rank * batch :][:, :batch] if theirs.ndim else theirs
        everything = ours if ours.ndim else gather_rows(ours[None]).sum()
        torch.testing.assert_close(everything, share)


@settings(deadline=None, max_examples=15)
@given(
    kind=st.sampled_from(["clip", "siglip"]),
    num_ranks=st.integers(2, 7),
    batch=st.integers(1, 3),
    scale=st.sampled_from([2.0, 90.0]),
    at_once=st.sampled_from([1, 2**20]),
)
def test_any_number_of_ranks_shares_the_losses_and_gradients_of_one_process(
    kind: str, num_ranks: int, batch: int, scale: float, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairwise_loss, "LOGITS_AT_ONCE", at_once)
        run_threads(num_ranks, lambda rank: check_share(rank, num_ranks, kind, batch, scale))


def check_shares_of_two(rank: int) -> None:
    with process_group("cpu", timedelta(minutes=5)):
        for kind, scale in itertools.product(("clip", "siglip"), (2.0, 90.0)):
            check_share(rank, 2, kind, 3, scale)


@pytest.mark.slow
def test_two_processes_share_the_losses_and_gradients_of_one() -> None:
    run_ranks(check_shares_of_two)


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts of the operations inside, by name, and the size of the largest tensor that they make."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.largest = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        self.counts[function.overloadpacket.__name__] += 1
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.numel())
        return result


def operations(compute: Callable[[], object]) -> Operations:
    counted = Operations()
    with counted:
        compute()
    return counted


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_no_tensor_is_larger_than_the_logits_of_a_pair(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise_loss, "LOGITS_AT_ONCE", 1)
    inputs = leaves(8, 8, 64, 0)
    counted = operations(lambda: gradients(losses_of(kind, inputs).total, inputs))
    assert counted.largest == 64 * 64


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_products_are_computed_for_the_gradients_that_are_needed_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairwise_loss, "LOGITS_AT_ONCE", 1)
    trained = leaves(2, 3, 4, 0)
    taught = [t if i in (0, 3) else t.detach() for i, t in enumerate(trained)]  # as of a teacher's views
    frozen = [tensor.detach() for tensor in trained]
    num_products = [
        operations(lambda inputs=inputs, weights=weights: losses_of(kind, inputs, weights)).counts["addmm_"]  # type: ignore[misc]
        for inputs, weights in [(trained, (1, 1)), (taught, (1, 1)), (trained, (1, 0)), (frozen, (1, 1))]
    ]
    assert num_products == [2 * 10, 10, 2 * 6, 0]
    with torch.no_grad():
        assert not operations(lambda: losses_of(kind, trained)).counts["addmm_"]


@pytest.mark.parametrize("frozen", range(5))
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_what_is_frozen_leaves_the_other_gradients_as_they_are(kind: str, frozen: int) -> None:
    inputs = leaves(2, 3, 4, 0)
    expected = gradients(losses_of(kind, inputs).total, inputs)
    inputs[frozen].requires_grad_(False)
    kept = [i for i in range(5) if i != frozen]
    ours = gradients(losses_of(kind, inputs).total, [inputs[i] for i in kept])
    torch.testing.assert_close(ours, [expected[i] for i in kept], atol=0, rtol=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_view_or_scale_that_is_not_finite_makes_a_loss_that_is_not(
    kind: str, place: int, value: float
) -> None:
    inputs = [tensor.detach() for tensor in leaves(2, 3, 4, 0)]
    inputs[place].view(-1)[0] = value
    assert not losses_of(kind, inputs).total.isfinite()
    assert not losses_of(kind, inputs, (0, 0)).total.isfinite()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_logits_far_apart_keep_loss_and_gradients_finite(kind: str) -> None:
    x = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float32, requires_grad=True)
    inputs = [x, -x.detach(), x.detach(), torch.tensor(100.0), torch.tensor(0.0)]
    losses = losses_of(kind, inputs, (1, 1))
    assert float(losses.terms[0]) == pytest.approx(200)
    assert gradients(losses.total, [x])[0].isfinite().all()


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_autocast_leaves_the_loss_in_float32(kind: str) -> None:
    inputs = [tensor.detach().float().requires_grad_() for tensor in leaves(2, 3, 4, 0)]
    expected = losses_of(kind, inputs).total
    with torch.autocast("cpu", torch.bfloat16):
        total = losses_of(kind, inputs).total
    torch.testing.assert_close(total, expected, atol=0, rtol=0)


def test_a_second_backward_pass_gives_the_same_gradients() -> None:
    inputs = leaves(2, 3, 4, 0)
    total = losses_of("clip", inputs).total
    first = torch.autograd.grad(5 * total, inputs[:4], retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(5 * total, inputs[:4]), first, atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_no_value_is_read_back_from_a_gpu(kind: str) -> None:
    with FakeTensorMode(), torch.device("cuda"):
        inputs = [torch.empty(s, requires_grad=True) for s in ((2, 4, 5), (3, 4, 5), (2, 4, 5), (), ())]
        assert losses_of(kind, inputs).total.device.type == "cuda"
