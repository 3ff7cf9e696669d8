"""Watch over the ranks of a job: where some wait in vain for another, the run says for which, and ends.

Two threads of each rank do it. One tells the rank's position to the store of the process group every few
seconds, and hears the word of the first rank, whose thread judges (`hang_judge`). The other one never waits
for anything: it counts for how long its rank has not moved, and ends the process by the verdict or, where the
first rank is silent, without one. The thread that trains is left alone, as it may wait inside of a library.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, NoReturn

from cosmos.distributed.device_memory import is_out_of_memory
from cosmos.distributed.flight_recorder import dump_flights
from cosmos.distributed.hang_end import FAREWELL_SECONDS, leave_process, limit_end, tell_hang
from cosmos.distributed.hang_judge import HangJudge
from cosmos.distributed.hang_report import Hang, write_hang_report
from cosmos.distributed.rank_beats import (
    WORD_KEY,
    Answer,
    Position,
    WatchedClock,
    Word,
    answer_key,
    beat_key,
)
from cosmos.distributed.roll_call import RankProcess
from cosmos.distributed.stacks import describe_stacks, open_answers
from cosmos.distributed.whereabouts import HERE, exchanging
from cosmos.errors import CosmosError, HangError

LONGEST_PERIOD = 10.0
"""Seconds between two beats, or a tenth of the limit where that is less."""

ANSWER_PERIODS, ANSWER_MARGIN = 3, 5.0
"""Periods, and seconds on top, in which a rank answers a call."""

LOST_SECONDS = 1.0
"""Seconds in which a process whose connections are closed ends."""

WATCH_THREADS = frozenset({"rank beats", "rank watch"})

HANG_REMEDY = "what was saved is kept, and the same command goes on from it"

_watches: list["RankWatch"] = []


class RankWatch:
    """Watch of this process, a rank of `roll`, from the roll call until the process group is taken down."""

    def __init__(
        self, store: Any, roll: Sequence[RankProcess], rank: int, limit: float, folder: Path
    ) -> None:
        """`limit`: seconds after which ranks that do not move hang; `folder`: place of the report."""
        self._store, self._roll, self._rank, self._limit, self._folder = store, roll, rank, limit, folder
        self._period = min(LONGEST_PERIOD, limit / 10)
        self._patience = ANSWER_PERIODS * self._period + ANSWER_MARGIN
        self._judge = HangJudge(store, roll, limit, self._patience, folder) if rank == 0 else None
        self._over = Event()
        self._word, self._first = Word(), Position()
        """newest word of the first rank, and its newest position"""
        self._answered = 0
        """number of the newest call that this rank has answered"""
        self._still = self._silence = self._called = 0.0
        """seconds since this rank moved, since the first rank's newest word, and since it called"""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for the time of the block."""
        open_answers()
        works = {"rank beats": self._tell_and_hear, "rank watch": self._count}
        threads = [Thread(target=work, name=name, daemon=True) for name, work in works.items()]
        _watches.append(self)
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            _watches.remove(self)
            self._over.set()
            for thread in threads:  # not for ever: the store may not answer
                thread.join(LONGEST_PERIOD)

    def await_verdict(self) -> None:
        """Wait for the end of this process where the ranks were called to answer."""
        while self._word.call:
            self._over.wait(LOST_SECONDS)

    def ended_ranks(self) -> list[RankProcess]:
        """Return the ranks on this host whose process has ended, or does so in a moment."""
        for _ in range(10):
            if ended := [process for process in self._roll if process.has_ended()]:
                return ended
            self._over.wait(LOST_SECONDS / 10)
        return []

    def _tell_and_hear(self) -> None:
        """Tell this rank's position, judge on the first rank, and hear its word, every period."""
        clock, number = WatchedClock(self._period), 0
        while not self._over.wait(self._period):
            number += 1
            with suppress(RuntimeError):  # the first rank's process, which has the store, is gone
                self._store.set(beat_key(self._rank), Position.here(self._still, number).write())
                if self._judge:
                    self._judge.look(clock.tick())
                word, beat = self._store.multi_get([WORD_KEY, beat_key(0)])
                self._first = Position.read(beat.decode())
                self._hear(Word.read(word.decode()))

    def _hear(self, word: Word) -> None:
        """Note the first rank's newest word, and answer a call."""
        if word.number != self._word.number:
            self._word, self._silence = word, 0.0
        if word.call > self._answered:
            self._answered = word.call
            states = tuple((process.rank, process.state()) for process in self._roll if process.state())
            answer = Answer(describe_stacks(WATCH_THREADS), states)
            self._store.set(answer_key(word.call, self._rank), answer.write())

    def _count(self) -> None:
        """Count for how long this rank has not moved, and end the process where ranks hang."""
        clock, moves = WatchedClock(self._period), HERE.num_moves
        while not self._over.wait(self._period):
            elapsed = clock.tick()
            is_still, moves = HERE.num_moves == moves, HERE.num_moves
            self._still = self._still + elapsed if is_still else 0.0
            self._silence += elapsed
            self._called = self._called + elapsed if self._word.call else 0.0
            if self._word.verdict:
                self._end(self._word.verdict, self._word.silent)
            if self._waits_for_silent_judge():
                self._end(self._report_silence(), (0,))

    def _waits_for_silent_judge(self) -> bool:
        """Return True where this rank waits, and the first rank has no word, or no verdict after a call."""
        limit = self._limit if HERE.exchange else 2 * self._limit
        is_silent = min(self._still, self._silence) >= limit
        return self._rank > 0 and (is_silent or self._called > self._patience + FAREWELL_SECONDS)

    def _report_silence(self) -> str:
        """Return the hang of a silent first rank in a line; the second rank writes the report."""
        limit_end(FAREWELL_SECONDS)
        first, state = self._roll[0], self._roll[0].state()
        processes = {0: first, self._rank: self._roll[self._rank]}
        positions = {0: replace(self._first, still=self._silence), self._rank: Position.here(self._still, 0)}
        hang = Hang(processes, positions, frozenset({0}), {0: state} if state else {})
        text = hang.text({self._rank: describe_stacks(WATCH_THREADS)})
        return hang.summary() + (write_hang_report(self._folder, hang.step, text) if self._rank == 1 else "")

    def _end(self, hang: str, silent: Sequence[int]) -> NoReturn:
        """End this process and, on its host, those that do not answer: they would keep their GPUs."""
        limit_end(FAREWELL_SECONDS + 3 * self._period)
        # at once: launchers end all ranks when one has left
        tell_hang(HangError(f"{hang}; {HANG_REMEDY}"))
        if self._rank == 0:  # once the others have heard it: the store ends with this process
            self._over.wait(3 * self._period)
        dump_flights(self._folder, self._rank)
        for process in self._roll:
            if process.rank in silent and process.rank != self._rank and process.is_running_here():
                with suppress(OSError):
                    os.kill(process.pid, signal.SIGKILL)
        leave_process()


@contextmanager
def waiting_for_ranks(name: str = "") -> Iterator[None]:
    """Mark an exchange, as `exchanging`. Raises CosmosError that names ranks of this host that have ended."""
    try:
        with exchanging(name):
            yield
    except RuntimeError as error:  # of gloo or NCCL: a connection is closed
        for watch in () if is_out_of_memory(error) else _watches:
            watch.await_verdict()
            if ended := watch.ended_ranks():
                place = name or HERE.activity
                raise CosmosError(
                    f'{", ".join(map(str, ended))} ended while others waited in "{place}"; its log says why, '
                    "but for one that was killed, mostly for a lack of memory; the same command goes on from "
                    "the last save"
                ) from error
        raise
