"""A step traced on a device that is not there: memory, operations, types and devices; nothing is computed.

Under FakeTensorMode, tensors have a shape, a type and a device, but no values: to read one raises
DataDependentOutputException. So a step that can be traced waits for no value of a GPU.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from weakref import finalize

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional
from torch.nn.functional import layer_norm, scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.batch import Batch
from cosmos.distributed.group import ProcessRank
from cosmos.model import blocks, towers
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos, StudentViews, TeacherViews
from cosmos.model.loss import CosmosLoss, Losses
from cosmos.training.step import Learner, RankFlags

aten = torch.ops.aten
PRODUCTS = {
    aten.mm,
    aten.addmm,
    aten.addmm_,
    aten.bmm,
    aten.convolution,
    aten.linear,
    aten.matmul,
    aten.conv2d,
}
"""Products, which autocast computes in two bytes; in inference mode, torch leaves the last ones whole."""

LEARNING_RATE, MOMENTUM = 1e-3, 0.99
"""Arguments of a traced step, which change nothing that is traced."""


@dataclass(frozen=True)
class TracedStep:
    """Memory, operations, types and devices of a step."""

    peak: int
    """most bytes that storages had at a time"""
    bytes_kept: int
    """bytes that the forward pass has made and the backward pass needs, when the loss begins"""
    bytes_at_peak: dict[str, int]
    """those bytes, by the part of the step that made them"""
    flops: dict[str, int]
    """floating-point operations of products and attention, by part"""
    reported_flops: int
    """operations that the step itself reports: what its result needs"""
    product_types: dict[str, set[torch.dtype]]
    """types of the results of products, by part"""
    devices: set[str]
    """devices of all tensors"""


def trace_step(
    params: Params, machine: Machine, lengths: Sequence[Sequence[int]], device: str = "cpu"
) -> TracedStep:
    """Trace a step of a rank that is alone, on captions of the given lengths, by sample.

    On `cuda`, which need not be there, all but the backward pass is traced; on `cpu` all of it. Types and
    kernels are those of a GPU on both. The optimiser's state is there, as it is from the second step on.
    """
    target, ledger = torch.device(device), StepLedger()
    with absent_device(target), ledger:
        with torch.device(target):
            learner = TracedLearner(params, machine, target, ledger)
            batch = learner.make_batch(params, np.array(lengths))
        learner.make_optimizer_state()
        ledger.forget()
        result = learner.step(batch, LEARNING_RATE, MOMENTUM)
    return TracedStep(
        ledger.peak,
        ledger.kept,
        ledger.at_peak,
        ledger.flops,
        result.flops,
        ledger.product_types,
        ledger.devices,
    )


class TracedLearner(Learner):
    """Learner that makes the step of training, but for the answers that are read back from the device."""

    def __init__(self, params: Params, machine: Machine, device: torch.device, ledger: "StepLedger") -> None:
        self.ledger = ledger
        # the model is built where it is to be: a module without values cannot be moved
        with patch.object(Cosmos, "to", new=lambda model, device: model):
            super().__init__(ModelConfig.of(params), params.pretrain, machine, ProcessRank(0, 1, device))
        self.loss = _TracedLoss(self.loss.params, ledger)

    def make_batch(self, params: Params, lengths: np.ndarray[Any, Any]) -> Batch:
        """Return a batch without values, whose captions have these lengths, (B, K)."""
        views, (size, num_captions) = params.views, lengths.shape
        with self.ledger.making("inputs"):
            return Batch(
                torch.empty(size, 2, 3, views.image_size, views.image_size),
                torch.empty(size, views.num_local_crops, 3, views.local_size, views.local_size),
                torch.empty(size, num_captions, self.student.context_length, dtype=torch.long),
                lengths,
                tuple(map(str, range(size))),
            )

    def teach(self, batch: Batch) -> TeacherViews:
        """Trace the teacher's pass."""
        with self.ledger.making("teaching"):
            return super().teach(batch)

    def views(self, model: nn.Module, batch: Batch) -> StudentViews:
        """Trace the student's pass."""
        with self.ledger.making("forward"):
            return super().views(model, batch)

    def backward(self, batch: Batch, teacher: TeacherViews) -> Losses:
        """Trace the backward pass and all that is in it; on a GPU that is not there, its results alone."""
        on_gpu = self.process.device.type == "cuda"
        context = (
            patch.object(torch.autograd, "backward", new=self.make_gradients) if on_gpu else nullcontext()
        )
        with self.ledger.making("backward"), context:
            return super().backward(batch, teacher)

    def make_optimizer_state(self) -> None:
        """Make what the first step makes."""
        with self.ledger.making("update"):
            self.make_gradients()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def make_gradients(self, *outputs: Any) -> None:
        """Make the gradients that a backward pass makes, which autograd cannot run without a driver."""
        for parameter in self.student.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None

    def agree(
        self, is_finite: Tensor, loss: Tensor, flags: RankFlags, num_replaced: int
    ) -> tuple[float, bool, RankFlags, int]:
        """Return that all is finite: the one place where a step reads values."""
        return 0.0, True, RankFlags(), 0

    def update(self, momentum: float) -> None:
        """Trace the update."""
        with self.ledger.making("update"):
            super().update(momentum)


@dataclass(frozen=True)
class _TracedLoss(CosmosLoss):
    ledger: "StepLedger"

    def __call__(self, student: StudentViews, teacher: TeacherViews) -> Losses:
        self.ledger.kept = self.ledger.live["forward"]
        with self.ledger.making("loss"):
            return super().__call__(student, teacher)


class StepLedger(TorchDispatchMode):
    """Storages that are alive, and products that were computed, by the part of the step that made them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.part = "building"
        self.live: Counter[str] = Counter()
        self.storages: set[int] = set()
        self.forget()

    def forget(self) -> None:
        """Begin all figures anew; storages that are alive stay so."""
        self.peak, self.kept, self.at_peak = 0, 0, dict[str, int]()
        self.flops, self.devices = Counter[str](), set[str]()
        self.product_types: dict[str, set[torch.dtype]] = defaultdict(set)

    @contextmanager
    def making(self, part: str) -> Iterator[None]:
        """Return a context in which storages and products are of this part."""
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.prim.device.default:
            return result
        operator = func.overloadpacket
        if formula := FLOPS.get(operator):
            self.flops[self.part] += formula(*args, **(kwargs or {}), out_val=result)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.add(tensor)
                if operator in PRODUCTS:
                    self.product_types[self.part].add(tensor.dtype)
        self.note_peak()
        return result

    def add(self, tensor: Tensor) -> None:
        """Count the storage of a tensor until it is freed."""
        storage = tensor.untyped_storage()
        key, part, size = storage._cdata, self.part, storage.nbytes()
        if key not in self.storages:
            self.storages.add(key)
            self.live[part] += size
            self.devices.add(str(tensor.device))
            finalize(storage, self.free, key, part, size)

    def free(self, key: int, part: str, size: int) -> None:
        """Count a storage no longer."""
        self.storages.discard(key)
        self.live[part] -= size

    def note_peak(self) -> None:
        """Keep the bytes by part when there are more than ever before."""
        total = self.live.total()
        if total > self.peak:
            self.peak, self.at_peak = total, dict(self.live)


# operations


def _attention_flops(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_gradient_flops(gradient: Tensor, *args: Any, **kwargs: Any) -> int:
    """Return the operations of four products; the scores that kernels compute again are left out."""
    return 2 * _attention_flops(*args[:3])


_KERNELS = ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention")
FLOPS = {
    **flop_registry,
    aten.addmm_: flop_registry[aten.addmm],  # which torch's own counter leaves out
    **{getattr(aten, f"_scaled_dot_product_{kernel}"): _attention_flops for kernel in _KERNELS},
    **{
        getattr(aten, f"_scaled_dot_product_{kernel}_backward"): _attention_gradient_flops
        for kernel in _KERNELS
    },
}
"""Formulas of operations by operator."""


# devices that are not there


@contextmanager
def absent_device(device: torch.device) -> Iterator[None]:
    """Return a context in which tensors on `device` have no values, and the device need not be there."""
    is_missing = device.type == "cuda" and not torch.cuda.is_available()
    with (
        _missing_gpu() if is_missing else nullcontext(),
        FakeTensorMode(),
        patch.object(FakeTensor, "__deepcopy__", _copy_without_values, create=True),
        _gpu_rules(),
    ):
        yield


@contextmanager
def _missing_gpu() -> Iterator[None]:
    """Have autocast take a missing GPU for one with bf16; or else it warns and disables itself."""
    with (
        patch.object(torch.cuda.amp.common, "amp_definitely_not_available", return_value=False),
        patch.object(torch.cuda, "is_bf16_supported", return_value=True),
    ):
        yield


@contextmanager
def _gpu_rules() -> Iterator[None]:
    """Have types and kernels be those of a GPU: norms in float32 under autocast, and attention that is fused.

    A CPU's autocast leaves a norm in the type of its input; without a driver, torch takes no fused kernel.
    """
    with ExitStack() as stack:
        stack.enter_context(patch.object(functional, "layer_norm", new=_norm_in_float32))
        for module in (functional, blocks, towers):
            stack.enter_context(patch.object(module, "scaled_dot_product_attention", new=_fused_attention))
        yield


def _norm_in_float32(states: Tensor, *args: Any) -> Tensor:
    with torch.autocast(states.device.type, enabled=False):
        return layer_norm(states.float(), *args)


def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
) -> Any:
    """Return the values attended to, by the kernel that a GPU takes for the type of the query."""
    if query.device.type != "cuda":
        return scaled_dot_product_attention(query, key, value, mask, dropout, is_causal)
    if query.dtype != torch.float32:
        return aten._scaled_dot_product_flash_attention(query, key, value, dropout, is_causal)[0]
    kept = query.requires_grad
    return aten._scaled_dot_product_efficient_attention(query, key, value, mask, kept, dropout, is_causal)[0]


def _copy_without_values(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """Copy a module's tensor; torch's own way would copy its mode, too, and mix the two."""
    copy = tensor.detach().clone()
    return nn.Parameter(copy, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy
