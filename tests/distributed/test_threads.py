"""Threads of arithmetic: as many as there are cores for, and asleep where they wait beside others."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, get_native_id

import pytest
import torch

from cosmos.distributed import threads
from cosmos.distributed.threads import (
    NUMBERS,
    TASKS,
    WAYS_TO_WAIT,
    computing_threads,
    core_times,
    crowding,
    libgomp_paths,
    share_waited,
    watch_cores,
)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment that says nothing of threads; eight of them, as torch would take."""
    before = torch.get_num_threads()
    for name in (*NUMBERS, *WAYS_TO_WAIT, "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(8)
    yield monkeypatch
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("number", "cores", "environment", "expected"),
    [
        (0, 8, {}, 8),
        (0, 64, {}, 8),  # torch counts no hyperthreads
        (0, 2, {}, 2),
        (0, 8, {"LOCAL_WORLD_SIZE": "4"}, 2),
        (0, 1, {"LOCAL_WORLD_SIZE": "8"}, 1),
        (0, 2, {"OMP_NUM_THREADS": "8"}, 8),
        (0, 2, {"MKL_NUM_THREADS": "8"}, 8),
        (3, 2, {"OMP_NUM_THREADS": "8"}, 3),
    ],
)
def test_a_setting_then_the_environment_then_the_cores_decide_how_many_there_are(
    unset: pytest.MonkeyPatch, number: int, cores: int, environment: dict[str, str], expected: int
) -> None:
    unset.setattr(threads, "usable_cores", lambda: cores)
    for name, value in environment.items():
        unset.setenv(name, value)
    with computing_threads(number):
        assert torch.get_num_threads() == expected


def tasks() -> set[str]:
    return {path.name for path in TASKS.iterdir()}


def test_libgomp_has_more_threads_than_cores_while_others_want_them(unset: pytest.MonkeyPatch) -> None:
    assert libgomp_paths()
    before, cores, deadline = tasks(), len(os.sched_getaffinity(0)), time.monotonic() + 30
    torch.set_num_threads(cores)
    with crowding():
        while (
            len(added := tasks() - before) < 2
        ):  # the one that holds them, and one more than there are cores
            assert time.monotonic() < deadline
            time.sleep(0.01)
    while added & tasks():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    torch.set_num_threads(1)
    unset.setattr(threads, "MAX_CROWD", cores - 1)
    before = tasks()
    with crowding():
        assert tasks() <= before


def test_others_are_noticed_and_forgotten_and_a_little_changes_nothing(unset: pytest.MonkeyPatch) -> None:
    shares, said = iter([0.0, 0.15, 0.3, 0.15, 0.05, 0.15, 0.5]), list[str]()
    stop = Event()

    def look(*_: object) -> float:
        said.append("look")
        share = next(shares)
        if share == 0.5:
            stop.set()
        return share

    @contextmanager
    def crowd() -> Iterator[None]:
        said.append("crowd")
        yield
        said.append("alone")

    unset.setattr(threads, "WATCH_SECONDS", 0.001)
    unset.setattr(threads, "share_waited", look)
    unset.setattr(threads, "crowding", crowd)
    watch_cores(stop)
    assert said == ["look"] * 3 + ["crowd"] + ["look"] * 2 + ["alone"] + ["look"] * 2 + ["crowd", "alone"]


def test_the_share_is_of_threads_that_were_there_at_both_looks() -> None:
    before = {"1": (100, 10), "2": (50, 0), "ended": (9, 9)}
    now = {"1": (300, 60), "2": (50, 30), "begun": (1_000_000, 0)}
    assert share_waited(before, now) == pytest.approx(80 / 200)
    assert share_waited({}, now) == 0


def test_a_thread_that_computes_was_on_a_core() -> None:
    before, began = core_times(), time.thread_time()
    while time.thread_time() < began + 0.05:
        pass
    own = str(get_native_id())
    assert core_times()[own][0] > before[own][0]


@pytest.mark.parametrize("variable", WAYS_TO_WAIT)
def test_how_threads_wait_is_left_to_who_has_said_it(unset: pytest.MonkeyPatch, variable: str) -> None:
    watchers = list[Event]()

    def watch(stop: Event) -> None:
        watchers.append(stop)
        stop.wait()

    unset.setattr(threads, "watch_cores", watch)
    with computing_threads(2):
        pass
    assert len(watchers) == 1
    unset.setenv(variable, "1")
    with computing_threads(2), computing_threads(1):
        assert len(watchers) == 1
