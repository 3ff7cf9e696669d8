"""Whereabouts of this process: its step, what it does there, and the exchange in which it waits for others.

The thread that trains or measures marks them, in a microsecond, without a look at a clock; any thread reads
them. When ranks hang, they are what a report says of each (`rank_watch`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Whereabouts:
    """Place of a process in its work."""

    step: int = 0
    """the step under way, the first being 1; 0 before it"""
    activity: str = "start"
    """the innermost activity, as a noun in a user's words"""
    exchange: str = ""
    """the exchange in which it waits for other ranks, by a name like an activity's; "" for none"""
    num_exchanges: int = 0
    """exchanges begun: all ranks begin the same ones, so that those with fewer lag behind"""
    num_moves: int = 0
    """marks so far: a process whose number stays does not get on"""


HERE = Whereabouts()
"""Whereabouts of this process."""


def at_step(step: int) -> None:
    """Mark the step that begins."""
    HERE.step = step
    HERE.num_moves += 1


def moved() -> None:
    """Mark that the activity gets on, which may take as long as it likes."""
    HERE.num_moves += 1


@contextmanager
def doing(activity: str) -> Iterator[None]:
    """Mark an activity for the time of the block, or of the function that this decorates."""
    before, HERE.activity = HERE.activity, activity
    HERE.num_moves += 1
    try:
        yield
    finally:
        HERE.activity = before
        HERE.num_moves += 1


@contextmanager
def exchanging(name: str = "") -> Iterator[None]:
    """Mark an exchange with other ranks for the time of the block, named after the activity by default.

    An exchange inside of another keeps the outer one's name.
    """
    before = HERE.exchange
    HERE.exchange = before or name or HERE.activity
    HERE.num_exchanges += 1
    HERE.num_moves += 1
    try:
        yield
    finally:
        HERE.exchange = before
        HERE.num_moves += 1
