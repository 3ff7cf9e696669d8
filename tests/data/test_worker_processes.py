import errno
import gc
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cosmos.data.worker_processes import load, report_unsent_batches
from cosmos.errors import CosmosError, TransientError


class Items(Dataset[Any]):
    """Four items, the third of which is what a call returns in a worker."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.call() if index == 2 else torch.full((4,), index)


class Unsendable:
    """Item whose sending fails with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


def loader(call: Callable[[], Any]) -> "DataLoader[Any]":
    return DataLoader(Items(call), batch_size=None, num_workers=1, worker_init_fn=report_unsent_batches)


def no_space() -> Exception:
    text = "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"
    return RuntimeError(text)


def item_of_no_allowed_size() -> Tensor:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return torch.zeros(1000)


def test_all_batches_arrive_in_order() -> None:
    arrived = list(load(loader(lambda: torch.full((4,), 2))))
    assert [int(item[0]) for item in arrived] == [0, 1, 2, 3]


def test_full_shared_memory_is_named_with_its_remedy_after_the_batches_before_it() -> None:
    batches = load(loader(lambda: Unsendable(no_space())))
    assert [int(next(batches)[0]) for _ in range(2)] == [0, 1]
    with pytest.raises(TransientError, match=r"^/dev/shm: too small .*--shm-size=8g.*COSMOS_WORKERS=0"):
        next(batches)


def test_a_worker_that_is_ended_meanwhile_says_nothing_of_what_it_cannot_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Queue, "_on_queue_feeder_error", None)  # as it was, once this test ends
    report_unsent_batches()
    queue: Queue[Any] = multiprocessing.Queue()
    queue.close()
    queue._on_queue_feeder_error(no_space(), (0, None))  # type: ignore[attr-defined]


def test_a_batch_that_a_limit_keeps_back_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=r"File too large.*workers that read data"):
        list(load(loader(item_of_no_allowed_size)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_is_killed_is_named_with_the_signal(number: signal.Signals) -> None:
    with pytest.raises(CosmosError, match=rf"read data \(process \d+\), ended by {number.name}"):
        list(load(loader(lambda: os.kill(os.getpid(), number))))


def test_a_worker_that_exits_is_named_with_its_status() -> None:
    with pytest.raises(CosmosError, match="ended by exit status 3"):
        list(load(loader(partial(os._exit, 3))))


def test_a_worker_that_is_killed_raises_nothing_elsewhere() -> None:
    batches = load(loader(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    next(batches)
    assert signal.getsignal(signal.SIGCHLD) in (signal.SIG_DFL, None)
    batches.close()


def refuse(*arguments: Any) -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def refuse_thread(thread: threading.Thread) -> NoReturn:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    ("place", "refusal", "message"),
    [
        ("os.fork", refuse, "Resource temporarily unavailable.*workers that read data"),
        ("threading.Thread.start", refuse_thread, "can't start new thread"),
    ],
)
def test_workers_that_cannot_start_are_an_error_of_the_system_and_nothing_more_is_said(
    place: str,
    refusal: Callable[..., NoReturn],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)
    monkeypatch.setattr(place, refusal)
    with pytest.raises((OSError, RuntimeError), match=message):
        list(load(loader(lambda: torch.zeros(4))))
    gc.collect()
    assert not reports
    assert not multiprocessing.active_children()


def test_an_error_in_the_code_of_a_worker_keeps_its_class() -> None:
    with pytest.raises(ZeroDivisionError):
        list(load(loader(lambda: 1 / 0)))
