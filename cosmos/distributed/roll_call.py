"""Roll call: the processes that are the ranks of a job, or the names of those that do not come."""

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cosmos.config.number_text import format_duration
from cosmos.config.process_space import host_of_space, process_space
from cosmos.errors import HangError

POLL_SECONDS_OF_ROLL = 0.1
"""Seconds between two looks for ranks that have not come."""

COMPLETE = "roll"
"""Key of the list of all ranks' processes, which the first rank writes once all are there."""

STATES = {
    "T": "stopped by a signal (SIGSTOP)",
    "t": "stopped by a debugger",
    "D": "waiting in the kernel for a disk or a device",
    "Z": "ended",
}
"""Words for the states of a process that does not run; of a kernel's letters, see proc(5)."""


@dataclass(frozen=True)
class RankProcess:
    """Process of a rank."""

    rank: int
    space: str
    """host, and which of that name, as of `process_space`"""
    pid: int
    started: str
    """time at which it started, in ticks of its host: another process may get its id"""

    @classmethod
    def here(cls, rank: int) -> "RankProcess":
        """Return this process."""
        return cls(rank, process_space(), os.getpid(), process_status(os.getpid())[1])

    @property
    def is_here(self) -> bool:
        """True for a process of this host."""
        return self.space == process_space()

    def state(self) -> str:
        """Return the state of a process of this host in words: "" while it runs, and for other hosts."""
        if not self.is_here:
            return ""
        letter, started = process_status(self.pid)
        return STATES["Z"] if started != self.started else STATES.get(letter, "")

    def is_running_here(self) -> bool:
        """Return True for a process of this host that has not ended."""
        return self.is_here and not self.has_ended()

    def has_ended(self) -> bool:
        """Return True for a process of this host that has ended."""
        return self.state() == STATES["Z"]

    def __str__(self) -> str:
        return f"rank {self.rank} ({host_of_space(self.space)}, pid {self.pid})"


def process_status(pid: int) -> tuple[str, str]:
    """Return the letter of a process's state and the time of its start; "" for both where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError):
        return "", ""


def call_roll(store: Any, rank: int, world_size: int, limit: timedelta) -> tuple[RankProcess, ...]:
    """Return the processes of all ranks, by rank, once all have come to `store`.

    Raises HangError that names those that have not come within `limit`, or the first one if it leaves.
    """
    keys = [f"process-{number}" for number in range(world_size)]
    try:
        store.set(keys[rank], json.dumps(astuple(RankProcess.here(rank))))
        await_keys(store, keys if rank == 0 else [COMPLETE], keys, limit)
        if rank == 0:
            store.set(COMPLETE, json.dumps([json.loads(store.get(key)) for key in keys]))
        return tuple(RankProcess(*process) for process in json.loads(store.get(COMPLETE)))
    except RuntimeError as error:  # of a connection that the first rank's process closed
        raise HangError(f"rank 0 ended while the ranks met: its log says why ({error})") from error


def await_keys(store: Any, awaited: Sequence[str], keys: Sequence[str], limit: timedelta) -> None:
    """Return once the awaited keys are in the store; raises as `call_roll`.

    It looks again and again, as a call that waits in the store would heed no signal.
    """
    end, pause = time.monotonic() + limit.total_seconds(), POLL_SECONDS_OF_ROLL
    while not store.check(list(awaited)):
        if time.monotonic() > end:
            absent = [number for number, key in enumerate(keys) if not store.check([key])]
            waited = format_duration(limit.total_seconds())
            raise HangError(
                f"{name_ranks(absent)} of {len(keys)} did not come within {waited} "
                "(COSMOS_RANK_WAIT_MINUTES): not started, or held up before they meet; their logs say more"
            )
        time.sleep(pause)
        pause = min(1.0, 1.1 * pause)


def name_ranks(ranks: Iterable[int]) -> str:
    """Return ranks in words: `rank 3`, `ranks 0, 2-5`."""
    numbers, spans = sorted(ranks), list[list[int]]()
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    return f"rank{'s' * (len(numbers) > 1)} {', '.join(texts)}"
