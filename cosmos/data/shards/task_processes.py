"""Processes that prepare shards: they end with the one that started them."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

from cosmos.data.shards.tasks import ShardOutcome, ShardTask, run_task
from cosmos.errors import CosmosError


def run_tasks(tasks: dict[int, ShardTask], processes: int) -> Iterator[tuple[int, ShardOutcome]]:
    """Yield (number, outcome) of each task, in the order in which they are done.

    Raises CosmosError where a process is killed, and OSError or RuntimeError where none can be started.
    """
    if min(processes, len(tasks)) <= 1:
        yield from ((number, run_task(task)) for number, task in tasks.items())
        return
    # Processes are spawned, since clients of object storage have threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(tasks)), context, initializer=_end_with_parent)
    try:
        numbers = {pool.submit(run_task, task): number for number, task in tasks.items()}
        for future in as_completed(numbers):
            yield numbers[future], future.result()
    except BrokenProcessPool:
        raise CosmosError(
            "a process that prepared a shard was killed, most likely for want of memory; run again where"
            " there is more of it: finished shards are kept"
        ) from None
    finally:
        _end_pool(pool)


def _end_pool(pool: ProcessPoolExecutor) -> None:
    """End a pool and its processes, also one that could not start all of them, or its thread."""
    processes = [*(pool._processes or {}).values()]
    with suppress(RuntimeError):  # it waits for the thread
        pool.shutdown(wait=True, cancel_futures=True)
    for process in processes:  # left by such a pool; at the exit Python waits for them
        process.terminate()
        process.join()


def _end_with_parent() -> None:
    """Make this process end when its parent is killed; else it would wait for work for ever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
