"""Stacks of threads and workers."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cosmos.distributed.stacks import answer_with_stacks, describe_stacks, open_answers


def hold_on(ready: Callable[[], object]) -> None:
    answer_with_stacks()
    ready()
    time.sleep(60)


def test_stacks_of_threads_and_workers_name_file_line_and_function() -> None:
    open_answers()
    fork, over = multiprocessing.get_context("fork"), threading.Event()
    ready = fork.Event()
    worker = fork.Process(target=hold_on, args=[ready.set], name="worker 0", daemon=True)
    worker.start()
    thread = threading.Thread(target=over.wait, name="saving")
    thread.start()
    assert ready.wait(10)
    stacks = describe_stacks(frozenset({"left out"}))
    over.set()
    worker.kill()
    assert stacks.startswith("thread MainThread\n")
    assert f"  {Path(__file__)}:" in stacks
    assert "in test_stacks_of_threads_and_workers_name_file_line_and_function" in stacks
    assert "thread saving\n" in stacks
    assert f"worker worker 0 (pid {worker.pid})\n" in stacks
    assert " in hold_on" in stacks.partition("worker worker 0")[2]
