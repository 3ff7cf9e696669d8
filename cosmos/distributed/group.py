"""The process group that a launcher's environment describes, and this process's rank and device in it.

Launchers export RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (torchrun's names). A process
without them is alone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from cosmos.distributed.device_memory import take_gpu
from cosmos.distributed.environment import (
    exported_listener,
    exported_local_rank,
    exported_meeting,
    exported_rank,
    exported_world_size,
)
from cosmos.distributed.flight_recorder import record_flights
from cosmos.distributed.rank_beats import open_keys
from cosmos.distributed.rank_watch import RankWatch, waiting_for_ranks
from cosmos.distributed.roll_call import call_roll
from cosmos.errors import HangError, InputError, short_reason

GROUP_TIMEOUT = timedelta(days=2)
"""Time after which torch itself gives an exchange up: longer than any wait that the watch allows."""


NO_FOLDER = Path(os.devnull)
"""Folder of a process group whose hangs leave no report, but for the log's line."""


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
def process_group(device: str, limit: timedelta, folder: Path = NO_FOLDER) -> Iterator[ProcessRank]:
    """Bring up the environment's process group, and take it down at the end; `device` as in Machine.

    Ranks that wait for longer than `limit` for others that do not move end the process, and leave a report in
    `folder`, if it is there. Raises InputError for a device that is not there, OutOfMemoryError for one that
    other processes fill, and HangError for ranks that do not come.
    """
    chosen = pick_device(device, exported_local_rank())
    process = ProcessRank(exported_rank(), exported_world_size(), chosen)
    if chosen.type == "cuda":
        take_gpu(chosen)
    if process.world_size == 1:
        yield process
        return
    with joined_group(process, limit, folder):
        yield process
        # not after an exception: taking the group down could wait for ranks that are gone
        dist.destroy_process_group()


@contextmanager
def joined_group(process: ProcessRank, limit: timedelta, folder: Path) -> Iterator[None]:
    """Bring up the group of all ranks, and watch over them for the time of the block."""
    store = dist.PrefixStore(f"group-{next(_group_numbers)}", open_store(process, limit))  # type: ignore[attr-defined]
    open_keys(store, process.rank)
    roll = call_roll(store, process.rank, process.world_size, limit)
    watch = RankWatch(store.clone(), roll, process.rank, limit.total_seconds(), folder)
    with watch.watching():
        with waiting_for_ranks("connection of the ranks"):
            init_group(process, store, folder)
        yield


def init_group(process: ProcessRank, store: Any, folder: Path) -> None:
    """Connect the ranks that have met in `store`."""
    backend = "nccl" if process.device.type == "cuda" else "gloo"
    if backend == "nccl":
        record_flights(folder)
    dist.init_process_group(
        backend, timeout=GROUP_TIMEOUT, store=store, rank=process.rank, world_size=process.world_size
    )


_group_numbers = count()
_stores: list[Any] = []


def open_store(process: ProcessRank, limit: timedelta) -> Any:
    """Return the store at which the ranks of this process's groups meet; its socket can be opened once."""
    if not _stores:
        _stores.append(connect_store(process, limit))
    return _stores[0]


def connect_store(process: ProcessRank, limit: timedelta) -> Any:
    """Return a new connection to the store, which the first rank's process has, or torch's launcher.

    It is at the socket of rank 0 that `cosmos` opened, or else where torch's launcher says: torch then
    listens on every network interface, whatever MASTER_ADDR says. Raises HangError where rank 0 does not
    answer in time.
    """
    place = exported_meeting()
    serves = process.is_first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        return dist.TCPStore(  # type: ignore[attr-defined]
            *place,
            process.world_size,
            serves,
            timeout=limit,
            wait_for_workers=False,
            master_listen_fd=exported_listener() if serves else None,
        )
    except RuntimeError as error:
        raise HangError(
            f"rank 0 does not answer at {place[0]}:{place[1]}: it was not started, or is held up; "
            f"its log says more ({short_reason(error)})"
        ) from error


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
        with waiting_for_ranks("end of the session"):
            dist.barrier()
