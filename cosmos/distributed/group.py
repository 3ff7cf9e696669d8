"""The process group that a launcher's environment describes, and this process's rank and device in it.

Launchers export RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (torchrun's names). A process
without them is alone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

import torch
import torch.distributed as dist

from cosmos.distributed.device_memory import take_gpu
from cosmos.distributed.environment import (
    STORE_LISTENER,
    exported_listener,
    exported_local_rank,
    exported_rank,
    exported_world_size,
)
from cosmos.errors import InputError


@dataclass(frozen=True)
class ProcessRank:
    """Rank and device of this process, and the size of its group."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """True on the rank that writes files and speaks."""
        return self.rank == 0


@contextmanager
def process_group(device: str, timeout: timedelta) -> Iterator[ProcessRank]:
    """Bring up the environment's process group, and take it down at the end; `device` as in Machine.

    `timeout` is how long ranks wait for each other before they give up. Raises InputError for a device that
    is not there, and OutOfMemoryError for one that other processes fill.
    """
    chosen = pick_device(device, exported_local_rank())
    process = ProcessRank(exported_rank(), exported_world_size(), chosen)
    if chosen.type == "cuda":
        take_gpu(chosen)
    if process.world_size > 1:
        init_group("nccl" if chosen.type == "cuda" else "gloo", process, timeout)
    yield process
    # not after an exception: taking the group down could wait for ranks that are gone
    if process.world_size > 1:
        dist.destroy_process_group()


def init_group(backend: str, process: ProcessRank, timeout: timedelta) -> None:
    """Bring up the group: at the socket of rank 0 that `cosmos` opened, or else as torch does.

    torch's own store listens on every network interface, whatever MASTER_ADDR says.
    """
    if STORE_LISTENER not in os.environ:
        dist.init_process_group(backend, timeout=timeout)
        return
    meeting = open_store(process.world_size, process.is_first)
    meeting.set_timeout(timeout)
    store = dist.PrefixStore(f"group-{next(_group_numbers)}", meeting)  # type: ignore[attr-defined]
    dist.init_process_group(
        backend, timeout=timeout, store=store, rank=process.rank, world_size=process.world_size
    )


_group_numbers = count()


@cache
def open_store(world_size: int, is_first: bool) -> Any:
    """Return the store at which the ranks of this process's groups meet; its socket can be opened once."""
    return dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        world_size,
        is_first,
        master_listen_fd=exported_listener(),
    )


def pick_device(device: str, local_rank: int = 0) -> torch.device:
    """Return the torch device of a rank; `auto` (where there is CUDA) and `cuda` are the rank's own GPU.

    Raises InputError for a name that is no device, and for a GPU that is not there.
    """
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
    """Return the number of processes in the group; 1 without one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this process's rank in the group; 0 without one."""
    return dist.get_rank() if dist.is_initialized() else 0


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        dist.barrier()
