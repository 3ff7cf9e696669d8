"""Ranks as threads of this process: their exchanges are real, and any number of them starts at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch.distributed as dist
from torch._C._distributed_c10d import _set_thread_isolation_mode  # type: ignore[attr-defined]
from torch.testing._internal.distributed import multi_threaded_pg
from torch.testing._internal.distributed.multi_threaded_pg import ProcessLocalGroup

from cosmos.distributed.whereabouts import HERE

Value = TypeVar("Value")


def run_threads(num_ranks: int, function: Callable[[int], Value]) -> list[Value]:
    """Call a function, with its rank, in each thread of a process group; return the values, by rank."""
    store = dist.HashStore()  # type: ignore[attr-defined]

    def become_rank(rank: int) -> Value:
        try:
            dist.init_process_group("threaded", rank=rank, world_size=num_ranks, store=store)
            return function(rank)
        except BaseException as error:
            # ends the other ranks' waits
            ProcessLocalGroup.exception_handle(error)  # type: ignore[no-untyped-call]
            raise
        finally:
            dist.destroy_process_group()

    whereabouts = HERE.activity, HERE.exchange
    _set_thread_isolation_mode(True)
    multi_threaded_pg._install_threaded_pg()  # type: ignore[no-untyped-call]
    try:
        with ThreadPoolExecutor(num_ranks) as pool:
            return list(pool.map(become_rank, range(num_ranks)))
    finally:
        ProcessLocalGroup.reset()  # type: ignore[no-untyped-call]
        multi_threaded_pg._uninstall_threaded_pg()  # type: ignore[no-untyped-call]
        _set_thread_isolation_mode(False)
        HERE.activity, HERE.exchange = whereabouts  # threads that share marks do not nest
