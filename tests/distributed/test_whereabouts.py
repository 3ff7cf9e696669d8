"""Marks of a process's place in its work."""

import time
from contextlib import suppress
from copy import copy

from cosmos.distributed.whereabouts import HERE, at_step, doing, exchanging


def test_activities_nest_and_exchanges_count_and_are_named_after_the_activity() -> None:
    before = copy(HERE)
    at_step(7)
    with suppress(ValueError), doing("the save"), exchanging():
        assert (HERE.step, HERE.activity, HERE.exchange) == (7, "the save", "the save")
        with doing("another"), exchanging("the gathering"):
            assert (HERE.activity, HERE.exchange) == ("another", "the save")
        raise ValueError
    assert (HERE.activity, HERE.exchange) == (before.activity, before.exchange)
    assert HERE.num_exchanges - before.num_exchanges == 2
    assert HERE.num_moves - before.num_moves == 9


def test_a_mark_takes_microseconds() -> None:
    started = time.perf_counter()
    for _ in range(1000):
        with doing("the forward pass"):
            pass
    assert time.perf_counter() - started < 0.1  # of which a machine that is busy takes most
