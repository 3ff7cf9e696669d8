"""Python stacks of this process's threads and of its loader's workers, for a report of ranks that hang.

No source lines are shown: to read them from a disk that does not answer would hang, too.
"""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType

STACK_SIGNAL = signal.SIGURG
"""Signal on which a worker writes its stacks; a process that does not listen ignores it."""

ANSWER_SECONDS = 0.2
"""Seconds in which a worker writes its stacks."""

MAX_WORKERS = 16
"""Workers that are asked: more would take longer than other ranks wait for the stacks."""

_answers: list[int] = []
"""Descriptor of a file in memory, shared with workers, that they write their stacks into; none at first."""


def open_answers() -> None:
    """Open the file of the workers' stacks; for use before they are forked."""
    if not _answers:
        _answers.append(os.memfd_create("stacks"))


def answer_with_stacks() -> None:
    """Have this process, a worker, write its stacks on STACK_SIGNAL, also from within a library's code."""
    if _answers:
        faulthandler.register(STACK_SIGNAL, _answers[0], all_threads=True)


def describe_stacks(left_out: frozenset[str] = frozenset()) -> str:
    """Return the stacks of all threads but some, by name: the main thread's first, then the workers'."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    frames = sorted(sys._current_frames().items(), key=lambda item: item[0] != main)
    threads = [
        "\n".join([f"thread {names.get(ident, 'of a library')}", *describe_frames(frame)])
        for ident, frame in frames
        if names.get(ident) not in left_out
    ]
    return "\n".join([*threads, *worker_stacks()])


def describe_frames(frame: FrameType | None) -> Iterator[str]:
    """Yield a line for each call of a stack, the innermost first."""
    while frame:
        code = frame.f_code
        yield f"  {code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
        frame = frame.f_back


def worker_stacks() -> Iterator[str]:
    """Yield the stacks of each worker of this process's loader, or that it does not answer."""
    for worker in multiprocessing.active_children()[:MAX_WORKERS] if _answers else ():
        begin = os.fstat(_answers[0]).st_size
        with suppress(OSError):  # it has ended
            os.kill(worker.pid or os.getpid(), STACK_SIGNAL)
        time.sleep(ANSWER_SECONDS)
        answer = os.pread(_answers[0], 1 << 20, begin).decode(errors="replace").rstrip()
        yield f"worker {worker.name} (pid {worker.pid})\n{answer or '  does not answer'}"
