"""A training step as one of many ranks, in one process: its exchanges are counted, and nothing is computed.

torch's fake process group answers each exchange at once, with this rank's own values in place of others'. The
step runs on fake tensors, which have shapes and types and no values: so a step of any size takes seconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.batch import Batch
from cosmos.data.order import batch_per_rank
from cosmos.distributed.group import ProcessRank
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import NUM_GLOBAL
from cosmos.training.step import Learner, RankFlags

COLLECTIVES = {
    "_allgather_base_": "all_gather",
    "allgather_": "all_gather",
    "allreduce_": "all_reduce",
    "_reduce_scatter_base_": "reduce_scatter",
    "broadcast_": "broadcast",
    "barrier": "barrier",
}
"""Names of collective operations, by those of torch's operators."""

TAKES_ALL = ("_reduce_scatter_base_",)
"""Operators whose second argument is of the size of all ranks, not the first, which is their result."""


@dataclass(frozen=True)
class CollectiveCall:
    """Call of a collective operation by a rank."""

    collective: str
    shapes: tuple[tuple[int, ...], ...]
    """shapes of what is gathered or summed up, whole"""
    dtype: torch.dtype
    num_bytes: int
    """bytes of these on this rank"""


class CollectiveRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record of the collective operations inside, also of those that DistributedDataParallel begins."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[CollectiveCall] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, after its call is added where it is a collective operation."""
        if func.namespace == "c10d":
            name = func.overloadpacket.__name__
            self.calls.append(describe_call(name, args[name in TAKES_ALL]))
        return func(*args, **(kwargs or {}))


def describe_call(operator: str, whole: Any) -> CollectiveCall:
    """Return the call of one of torch's operators on a tensor, or nested lists of them."""
    tensors: list[Tensor] = tree_leaves(whole)
    return CollectiveCall(
        COLLECTIVES.get(operator, operator),
        tuple(tuple(tensor.shape) for tensor in tensors),
        tensors[0].dtype,
        sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    )


@contextmanager
def fake_ranks(rank: int, num_ranks: int) -> Iterator[ProcessRank]:
    """Be one of many ranks inside; there is no group of one rank, as in training."""
    process = ProcessRank(rank, num_ranks, torch.device("cpu"))
    if num_ranks == 1:
        yield process
        return
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=num_ranks)
    try:
        yield process
    finally:
        dist.destroy_process_group()


def record_step(params: Params, machine: Machine, rank: int, num_ranks: int) -> list[CollectiveCall]:
    """Return the collective operations of a rank's step, in order, without those of a log line.

    The model is built in memory; the step takes none. Raises InputError for a batch that the ranks cannot
    share.
    """
    batch_size = batch_per_rank(params.pretrain.batch_size, num_ranks)
    recorder = CollectiveRecorder()
    with fake_ranks(rank, num_ranks) as process:
        learner = Learner(ModelConfig.of(params), params.pretrain, machine, process)
        if isinstance(learner.replica, DistributedDataParallel):
            learner.replica.register_comm_hook(None, sum_up_bucket)
        with recorder:
            with FakeTensorMode(allow_non_fake_inputs=True):
                learner.compute_gradients(empty_batch(params, learner, batch_size))
            learner.agree(torch.tensor(True), torch.tensor(1.0), RankFlags(), 0)
    return recorder.calls


def sum_up_bucket(
    state: None,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    """Sum up a bucket of gradients, as DistributedDataParallel does: its own way waits for a real group."""
    dist.all_reduce(bucket.buffer())
    result = torch.futures.Future[Tensor]()
    result.set_result(bucket.buffer())
    return result


def empty_batch(params: Params, learner: Learner, size: int) -> Batch:
    """Return a batch of views of the right shapes, with captions of full length."""
    views, context = params.views, learner.student.context_length
    global_crops = torch.empty(size, NUM_GLOBAL, 3, views.image_size, views.image_size)
    local_crops = torch.empty(size, params.num_local_crops, 3, views.local_size, views.local_size)
    tokens = torch.zeros(size, views.num_captions, context, dtype=torch.int64)
    lengths = np.full(tokens.shape[:2], context)
    return Batch(global_crops, local_crops, tokens, lengths, ("",) * size)
