"""Batches of a loader's worker processes: each arrives, or an error of ours says why it does not.

torch waits for ever for a batch that a worker cannot send, as where /dev/shm is full. Of a worker that was
killed it raises an error wherever the training process is then, also in the midst of a save.
"""

import errno
import os
import re
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from threading import current_thread, main_thread
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from cosmos.errors import CosmosError, TransientError

SHARED_MEMORY_REMEDY = (
    "make it larger (docker run --shm-size=8g), free it, or set COSMOS_WORKERS=0; the same command goes on"
)
MEMORY_REMEDY = "give the job more, or lower COSMOS_WORKERS; the same command goes on"

SECONDS_OF_END = 5.0
"""Time in which a process whose connections are closed has ended, too."""


@dataclass(frozen=True)
class _Unsent:
    """Error that comes in place of a batch that a worker could not send."""

    reason: str
    number: int
    """error number of the operating system; 0 for an error of no such number"""

    def error(self) -> Exception:
        """Return the error to raise in the process that waits for the batch."""
        if self.number in (errno.ENOSPC, errno.ENOMEM):
            return _full_shared_memory(os.strerror(self.number))
        if self.number:
            return OSError(self.number, os.strerror(self.number), "workers that read data")
        return RuntimeError(f"a worker cannot send a batch: {self.reason}")


def report_unsent_batches(worker: int = 0) -> None:
    """Have this process, a worker, send an error in place of a batch that it cannot send."""

    def send_error(queue: "Queue[Any]", error: Exception, item: tuple[Any, Any]) -> None:
        with suppress(ValueError):  # of a queue that was closed since another batch came to nothing
            queue.put((item[0], _Unsent(str(error), error_number(error))))

    Queue._on_queue_feeder_error = send_error  # type: ignore[attr-defined]  # is there to be replaced


def error_number(error: BaseException | None) -> int:
    """Return the number of the operating system's error behind an error; 0 where there is none.

    The C++ of torch tells it in its message alone.
    """
    while error:
        logged = re.search(r"\((\d+)\)$", str(error).partition("\n")[0])
        if isinstance(error, OSError) and error.errno:
            return error.errno
        if isinstance(error, RuntimeError) and logged:
            return int(logged[1])
        error = error.__context__
    return 0


def _end_workers(iterator: _MultiProcessingDataLoaderIter) -> None:
    """End the workers of an iterator that is given up, also of one that could not start all of them."""
    with suppress(AttributeError, RuntimeError):  # of what it lacks, and of threads that cannot start
        iterator._shutdown_workers()


_MultiProcessingDataLoaderIter.__del__ = _end_workers  # type: ignore[method-assign]  # torch's prints a traceback


def load(loader: DataLoader[Any]) -> Generator[Any, None, None]:
    """Yield a loader's batches; its workers end with the generator.

    Raises TransientError where shared memory does not suffice for batches, CosmosError where a worker ends,
    and OSError where the system refuses processes or files to them.
    """
    iterator = _begin(loader)
    try:
        yield from _items(iterator)
    finally:
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            _end_workers(iterator)


def _begin(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start a loader's workers, without torch's handler of SIGCHLD: `_items` looks at them itself."""
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        return iter(loader)
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or "workers that read data") from None
    finally:
        if current_thread() is main_thread():
            signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)


def _items(iterator: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except (OSError, RuntimeError, EOFError) as error:
            if (failure := _worker_failure(iterator, error)) is error:
                raise
            raise failure from error
        if isinstance(item, _Unsent):
            raise item.error()
        yield item


def _worker_failure(iterator: Iterator[Any], error: Exception) -> Exception:
    """Return the error that explains why a batch did not come; `error` itself where it is none of workers."""
    if not isinstance(iterator, _MultiProcessingDataLoaderIter):
        return error
    if isinstance(error, ConnectionError | EOFError):
        _await_end(iterator._workers)
    ended = [worker for worker in iterator._workers if worker.exitcode]
    if ended:
        return _end_of(ended[0])
    number = error_number(error)
    return _Unsent(str(error), number).error() if number and not isinstance(error, OSError) else error


def _await_end(workers: Sequence[BaseProcess]) -> None:
    """Wait until one of the workers has ended: its connections are closed, and it has an exit code soon."""
    closed = wait([worker.sentinel for worker in workers], SECONDS_OF_END)
    for worker in workers:
        if worker.sentinel in closed:
            worker.join(SECONDS_OF_END)


def _end_of(worker: BaseProcess) -> CosmosError:
    """Return the error for a worker that ended before its work was done."""
    code = worker.exitcode or 0
    end = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    if code == -signal.SIGBUS:
        return _full_shared_memory(end)
    return CosmosError(
        f"worker {worker.name}, which read data (process {worker.pid}), ended by {end}, most likely for want"
        f" of memory; {MEMORY_REMEDY}"
    )


def _full_shared_memory(reason: str) -> TransientError:
    return TransientError(
        f"/dev/shm: too small for the batches of workers ({reason}); {SHARED_MEMORY_REMEDY}"
    )
