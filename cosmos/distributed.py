"""The process group, as the environment describes it, and what ranks tell each other.

Launchers export RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (torchrun's names). Without them a
process is alone, and everything here is the identity.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos.errors import InputError

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among its group."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.rank == 0


@contextmanager
def process_group(device: str, timeout: timedelta) -> Iterator[Ranks]:
    """The group of the environment's variables, taken down at the end; `device` as in Machine.

    `timeout` is how long ranks wait for each other before they give up. Raises ValueError for a device that
    is not there.
    """
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    ranks = Ranks(rank, world_size, pick_device(device, int(os.environ.get("LOCAL_RANK", "0"))))
    if ranks.device.type == "cuda":
        torch.cuda.set_device(ranks.device)
    if world_size > 1:
        dist.init_process_group("nccl" if ranks.device.type == "cuda" else "gloo", timeout=timeout)
    yield ranks
    # not after an exception: taking the group down could wait for ranks that are gone
    if world_size > 1:
        dist.destroy_process_group()


def pick_device(device: str, local_rank: int = 0) -> torch.device:
    """The torch device of a rank; `auto` (where there is CUDA) and `cuda` are the rank's own GPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise InputError(
            f"COSMOS_DEVICE: {device!r} is no device; auto, cpu, cuda or cuda:1 would do"
        ) from None
    if chosen.type != "cuda":
        return chosen
    index = local_rank if chosen.index is None else chosen.index
    if index >= torch.cuda.device_count():
        raise InputError(
            f"COSMOS_DEVICE: no GPU {index} here ({torch.cuda.device_count()} found); auto or cpu would do"
        )
    return torch.device("cuda", index)


def world_size() -> int:
    """Processes in the group; 1 without one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's place in the group; 0 without one."""
    return dist.get_rank() if dist.is_initialized() else 0


class _Gather(torch.autograd.Function):
    """All ranks' rows; backward, each rank gets the sum of what all ranks' losses say of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        gathered = rows.new_empty((world_size() * rows.shape[0], *rows.shape[1:]))
        dist.all_gather_single(gathered, rows.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        gradient: Tensor = grads[0].contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


def gather_rows(rows: Tensor) -> Tensor:
    """(B, ...) of every rank -> (world x B, ...), by rank, with gradients to every rank's rows."""
    if world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of `values` over all ranks."""
    if world_size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / world_size()


def max_over_ranks(values: Tensor) -> Tensor:
    """Elementwise: the largest value of all ranks."""
    if world_size() == 1:
        return values
    largest = values.clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest


def together(compute: Callable[[], T]) -> list[T]:
    """What every rank computed, by rank, on every rank. A ValueError of one is raised on all of them.

    What is computed is pickled on its way: plain values and tensors on the CPU.
    """
    if world_size() == 1:
        return [compute()]
    mine: T | ValueError
    try:
        mine = compute()
    except ValueError as error:
        logger.error("rank %d: %s", rank(), error)  # now: others may take their time
        mine = error
    found: list[T | ValueError] = [mine] * world_size()
    dist.all_gather_object(found, mine)
    results = []
    for item in found:
        if isinstance(item, ValueError):
            raise item
        results.append(item)
    return results


def on_first_rank(compute: Callable[[], T]) -> T:
    """What the first rank alone computed, on every rank. A ValueError is raised on all of them."""
    found = together(lambda: compute() if rank() == 0 else None)
    return cast(T, found[0])


def barrier() -> None:
    """Waits until every rank is here."""
    if world_size() > 1:
        dist.barrier()
