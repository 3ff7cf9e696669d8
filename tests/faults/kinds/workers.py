"""Preparations by two processes, killed together, or the first alone: none goes on, the same command ends."""

import os
import signal
import time
from unittest.mock import patch

from cosmos.data import preparation
from tests.faults.children import processes_below
from tests.faults.tries import Try
from tests.faults.works import PREPARE

SECONDS = 4.0
"""Time that a preparation takes with two new processes, about."""

LONGEST_END = 30.0
"""Seconds after which a process whose parent was killed must have ended, on a machine that has other work."""


def attempt(attempt: Try) -> None:
    """Kill a preparation at one to three moments, then let it finish."""
    attempt.copy_world()
    PREPARE.begin(attempt)
    for _ in range(attempt.rng.choice([1, 1, 2, 3])):
        is_for_all, seconds = attempt.rng.random() < 0.5, attempt.rng.uniform(0, SECONDS)
        attempt.tell(f"SIGKILL to {'all processes' if is_for_all else 'the first process'} after {seconds} s")
        running = attempt.start(*PREPARE.arguments, meddle=work_in_two)
        time.sleep(seconds)
        (os.killpg if is_for_all else os.kill)(running.pid, signal.SIGKILL)
        ended = running.wait()
        assert ended.status in (0, -signal.SIGKILL), f"did not go on after a kill\n{ended.describe()}"
        await_end_of_all(attempt)
    PREPARE.finish(attempt, work_in_two)
    hidden = [path.name for path in (attempt.place / "data" / "photos").rglob(".*")]
    assert not hidden, f"left for ever: {hidden}"


def work_in_two() -> None:
    """Have this process, a command's, prepare with two others, in a process group of their own."""
    os.setpgid(0, 0)
    patch.object(preparation, "usable_cores", lambda: 2).start()  # whatever this machine has


def await_end_of_all(attempt: Try) -> None:
    """Raise AssertionError for a process of a killed command that goes on."""
    end = time.monotonic() + LONGEST_END
    while left := processes_below(attempt.place):
        assert time.monotonic() < end, f"processes {left} go on without the first one"
        time.sleep(0.05)
