"""Beats of ranks: each one's position in its work, which it tells the first rank every few seconds.

The store of the process group has them, under keys of their own, and the first rank's word for all.
"""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Self

from cosmos.distributed.whereabouts import HERE

WORD_KEY = "word"
"""Key of the first rank's word."""


def beat_key(rank: int) -> str:
    """Return the key of a rank's newest beat."""
    return f"beat-{rank}"


def answer_key(call: int, rank: int) -> str:
    """Return the key of a rank's answer to a call."""
    return f"answer-{call}-{rank}"


def open_keys(store: Any, rank: int) -> None:
    """Make the keys that others read from a rank, so that none of them has to wait for it."""
    store.set(beat_key(rank), "")
    if rank == 0:
        store.set(WORD_KEY, "")


@dataclass(frozen=True)
class Position:
    """Whereabouts of a rank as it tells them."""

    step: int = 0
    activity: str = "start"
    exchange: str = ""
    num_exchanges: int = 0
    still: float = 0.0
    """seconds for which it has not moved"""
    number: int = 0
    """number of the beat, by which each differs from the one before"""

    @classmethod
    def here(cls, still: float, number: int) -> Self:
        """Return the position of this process."""
        return cls(HERE.step, HERE.activity, HERE.exchange, HERE.num_exchanges, still, number)

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the position of a beat; the default one before the first beat."""
        return cls(**json.loads(text)) if text else cls()

    def write(self) -> str:
        """Return the beat of the position."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Answer:
    """Answer of a rank to a call of the first one."""

    stacks: str
    states: tuple[tuple[int, str], ...]
    """rank and state, in words, of each process of the answering one's host that does not run"""

    @classmethod
    def read(cls, text: str) -> Self:
        """Return an answer from its text."""
        stacks, states = json.loads(text)
        return cls(stacks, tuple((rank, state) for rank, state in states))

    def write(self) -> str:
        """Return the text of the answer."""
        return json.dumps([self.stacks, self.states])


@dataclass(frozen=True)
class Word:
    """Word of the first rank to all ranks."""

    number: int = 0
    """number of the word, by which each differs from the one before"""
    call: int = 0
    """number of the call for all ranks' answers; 0 while no rank seems to hang"""
    verdict: str = ""
    """hang in a line, for which all ranks end; "" while they go on"""
    silent: tuple[int, ...] = ()
    """ranks that do not answer, and so end by no word"""

    @classmethod
    def read(cls, text: str) -> Self:
        """Return a word; one that says nothing before the first."""
        values = json.loads(text) if text else {}
        return cls(**{**values, "silent": tuple(values.get("silent", ()))})

    def write(self) -> str:
        """Return the text of the word."""
        return json.dumps(asdict(self))


class WatchedClock:
    """Clock that stands still while its process does: one that was suspended has not waited for anybody."""

    def __init__(self, period: float) -> None:
        self._longest, self._before = 3 * period, time.monotonic()

    def tick(self) -> float:
        """Return the seconds since the last tick, a few periods at most."""
        now = time.monotonic()
        elapsed, self._before = min(now - self._before, self._longest), now
        return elapsed
