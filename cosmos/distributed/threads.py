"""Threads of this process's arithmetic on the CPU: their number, and how they wait for each other.

torch computes by libgomp, whose threads wait for the slowest of them in a loop of milliseconds. Nothing is
faster while they have the cores for themselves, and nothing slower while others want them. libgomp cuts the
loop short while it has more threads than there are cores: so, while others want the cores, it is given more.
"""

import ctypes
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import torch

from cosmos.distributed.cores import usable_cores
from cosmos.distributed.environment import exported_local_world_size

NUMBERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
WAYS_TO_WAIT = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Variables by which users say how many threads there are, and how they wait."""

WATCH_SECONDS = 1.0
"""Time between two looks at how long threads waited for a core."""

CROWDED, FREE = 0.2, 0.1
"""Seconds of waiting for a core, for each second on one, from which, and below which, threads wait asleep."""

MAX_CROWD = 128
"""Sleeping threads that may be added, of a machine with more cores than this process uses."""

TASKS = Path("/proc/self/task")


@contextmanager
def computing_threads(number: int) -> Iterator[None]:
    """Compute inside by so many threads, which sleep where they wait while others want the cores.

    0: as many as the environment says, or else as this process has cores. torch sees the cores of the machine
    and of the affinity, but neither a quota nor other ranks of the node.
    """
    if number or default_number() != torch.get_num_threads():  # setting the same number changes MKL's ways
        torch.set_num_threads(number or default_number())
    if torch.get_num_threads() == 1 or any(name in os.environ for name in WAYS_TO_WAIT):
        yield
        return
    stop = Event()
    watcher = Thread(target=watch_cores, args=(stop,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def default_number() -> int:
    """Return torch's number of threads where the environment sets it, or else at most the cores for them."""
    number = torch.get_num_threads()
    if any(name in os.environ for name in NUMBERS):
        return number
    return max(1, min(number, usable_cores() // exported_local_world_size()))


def watch_cores(stop: Event) -> None:
    """Crowd libgomp while threads of this process wait for cores; return once `stop` is set."""
    with ExitStack() as crowd:
        is_crowded, before = False, core_times()
        while not stop.wait(WATCH_SECONDS):
            now = core_times()
            waited = share_waited(before, now)
            if not is_crowded and waited > CROWDED:
                crowd.enter_context(crowding())
            elif is_crowded and waited < FREE:
                crowd.close()
            is_crowded = waited > (FREE if is_crowded else CROWDED)
            before = now


def core_times() -> dict[str, tuple[int, int]]:
    """Return the time that each thread of this process was on a core, and waited for one, in nanoseconds."""
    times = dict[str, tuple[int, int]]()
    for task in TASKS.iterdir():
        with suppress(OSError, ValueError):  # it has ended; or this kernel does not count
            ran, waited, _ = (task / "schedstat").read_text().split()
            times[task.name] = int(ran), int(waited)
    return times


def share_waited(before: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]]) -> float:
    """Return the time that threads waited for a core between two looks, over their time on one."""
    both = before.keys() & now.keys()
    ran, waited = (sum(now[task][i] - before[task][i] for task in both) for i in (0, 1))
    return waited / max(ran, 1)


@contextmanager
def crowding() -> Iterator[None]:
    """Give libgomp, inside, more threads than there are cores; the added ones sleep."""
    added = max(1, len(os.sched_getaffinity(0)) + 1 - torch.get_num_threads())
    if added > MAX_CROWD:
        yield
        return
    leave = Event()
    thread = Thread(target=hold_threads, args=(1 + added, leave), daemon=True)
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()


def hold_threads(number: int, leave: Event) -> None:
    """Have libgomp start a team of so many threads, which do nothing and end with this thread."""
    nothing = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p)
    for path in libgomp_paths():
        with suppress(OSError, AttributeError):  # a library without the function
            ctypes.CDLL(path).GOMP_parallel(nothing, None, ctypes.c_uint(number), ctypes.c_uint(0))
    leave.wait()


def libgomp_paths() -> set[str]:
    """Return the paths of the libgomp libraries that this process has loaded."""
    maps = Path("/proc/self/maps").read_text(errors="surrogateescape")  # in any locale
    return set(re.findall(r"\s(/.*/libgomp[^/\s]*)$", maps, re.MULTILINE))
