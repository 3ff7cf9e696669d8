"""Report of ranks that hang: a line for the log and the exit, and a file with all ranks' stacks."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from cosmos.config.disk_reading import is_dir
from cosmos.config.number_text import format_duration
from cosmos.distributed.rank_beats import Position
from cosmos.distributed.roll_call import RankProcess, name_ranks

MAX_NAMED = 4
"""Missing ranks that the line describes one by one."""

NO_ANSWER = "does not answer"

REPORT_SECONDS = 5.0
"""Seconds in which a report is written."""


@dataclass(frozen=True)
class Hang:
    """Ranks that wait, and those that they wait for in vain; each mapping is by rank."""

    processes: Mapping[int, RankProcess]
    positions: Mapping[int, Position]
    """newest positions; `still` is as of now"""
    silent: frozenset[int]
    """ranks that do not answer"""
    states: Mapping[int, str]
    """states of processes that do not run, in words"""

    @property
    def newest(self) -> Position:
        """Position of a rank in the newest exchange, of one that waits in it if there is one."""
        answering = [self.positions[rank] for rank in self.positions.keys() - self.silent]
        return max(answering, key=lambda position: (position.num_exchanges, bool(position.exchange)))

    @property
    def missing(self) -> list[int]:
        """Ranks that lag behind all others, or do not answer; [] where all are in one exchange.

        On a GPU others may lag, too: they compute ahead of the exchange in which they wait.
        """
        answering = {rank: self.positions[rank] for rank in self.positions.keys() - self.silent}
        oldest = min(position.num_exchanges for position in answering.values())
        is_last = oldest == self.newest.num_exchanges  # then those lag that do not wait
        waits = bool(self.newest.exchange)
        behind = {
            rank
            for rank, position in answering.items()
            if position.num_exchanges == oldest and not (is_last and (position.exchange or not waits))
        }
        return sorted(self.silent | behind)

    @property
    def waiting(self) -> list[int]:
        """Ranks that wait for the missing ones, or for each other."""
        return sorted(self.positions.keys() - set(self.missing))

    @property
    def step(self) -> int:
        """Step at which the ranks wait."""
        return max(position.step for position in self.positions.values())

    def describe(self, rank: int) -> str:
        """Return a rank's process, and where it has been for how long."""
        position, since = self.positions[rank], format_duration(self.positions[rank].still)
        place = f'waiting in "{position.exchange}"' if position.exchange else f'in "{position.activity}"'
        state = [self.states[rank]] if rank in self.states else []
        told = [f"{place} for {since}", *state]
        if rank in self.silent:
            told = [NO_ANSWER, *state, f"it was {place} when it last told, {since} ago"]
        return f"{self.processes[rank]}: {'; '.join(told)}"

    def summary(self) -> str:
        """Return the hang in a line, without the remedy."""
        missing, waited = self.missing, format_duration(self.newest.still)
        exchange = f'"{self.newest.exchange or self.newest.activity}"'
        where = f"at step {self.step}" if self.step else "before the first step"
        if not missing:
            return (
                f"{where}, all {len(self.positions)} ranks wait in {exchange} for {waited}, and none is "
                "missing: the network or a device does not answer, or a rank hangs inside of that"
            )
        described = [*map(self.describe, missing[:MAX_NAMED])]
        described += [f"{len(missing) - MAX_NAMED} more"] if len(missing) > MAX_NAMED else []
        verb = "waits" if len(self.waiting) == 1 else "wait"
        ranks = name_ranks(self.waiting)
        return f"{where}, {ranks} {verb} in {exchange} for {waited}; missing: {', '.join(described)}"

    def text(self, stacks: Mapping[int, str]) -> str:
        """Return the report: every rank's place, then the stacks, those that are alike once."""
        ranks = [*self.missing, *self.waiting]
        lines = [
            f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}: {self.summary()}",
            "\nRanks, the missing ones first",
            *(f"  {self.describe(rank)}" for rank in ranks),
            "\nPython stacks, the innermost call first",
            *grouped_stacks(ranks, stacks),
        ]
        return "\n".join(lines) + "\n"


def grouped_stacks(ranks: Iterable[int], stacks: Mapping[int, str]) -> Iterator[str]:
    """Yield the stacks of ranks, once for all ranks that have the same ones."""
    groups = dict[str, list[int]]()
    for rank in ranks:
        groups.setdefault(stacks.get(rank, f"  {NO_ANSWER}"), []).append(rank)
    for text, alike in groups.items():
        yield f"\n{name_ranks(alike)}\n{text}"


def write_hang_report(folder: Path, step: int, text: str) -> str:
    """Write a report into a run's folder, and return where it is, for a message; "" where it cannot be.

    A disk that hangs, for which ranks may wait, is not waited for.
    """
    file, written = folder / f"hang-{step:08d}.txt", Event()

    def write() -> None:
        with suppress(OSError):
            if is_dir(folder):
                file.write_text(text, encoding="utf-8", errors="backslashreplace")
                written.set()

    writer = Thread(target=write, name="hang report", daemon=True)
    writer.start()
    writer.join(REPORT_SECONDS)
    return f"; all ranks' stacks: {file}" if written.is_set() else ""
