"""Roll call of ranks, and the words for them."""

import os
import socket
import subprocess
from datetime import timedelta

import pytest
from torch._C._distributed_c10d import HashStore

from cosmos.distributed.roll_call import RankProcess, call_roll, name_ranks
from cosmos.errors import HangError


def test_ranks_that_do_not_come_are_named() -> None:
    store = HashStore()
    for rank in (1, 4):
        with pytest.raises(HangError, match="did not come within 0 s"):
            call_roll(store, rank, 5, timedelta(0))
    with pytest.raises(HangError, match=r"^ranks 2-3 of 5 did not come within 0 s \(COSMOS_RANK_WAIT"):
        call_roll(store, 0, 5, timedelta(0))


def test_ranks_that_came_know_each_other() -> None:
    store = HashStore()
    with pytest.raises(HangError):
        call_roll(store, 1, 2, timedelta(0))
    assert call_roll(store, 0, 2, timedelta(0)) == call_roll(store, 1, 2, timedelta(0))
    assert call_roll(store, 0, 2, timedelta(0))[1] == RankProcess.here(1)


def test_the_state_of_a_process_is_told_where_it_does_not_run() -> None:
    ours = RankProcess.here(0)
    assert (ours.state(), ours.is_running_here(), ours.has_ended()) == ("", True, False)
    for host in ("node7", f"{socket.gethostname()}+1a2b3c4d"):  # perhaps another one of the same name
        other = RankProcess(1, host, os.getpid(), "0")
        assert (other.state(), other.is_running_here(), other.has_ended()) == ("", False, False)
    assert str(other) == f"rank 1 ({socket.gethostname()}, pid {os.getpid()})"
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        child = RankProcess(2, ours.space, sleeping.pid, RankProcess.here(2).started)
        assert child.has_ended()  # by its time of start it is another process
        sleeping.kill()


def test_names_of_ranks_are_short() -> None:
    assert [name_ranks(ranks) for ranks in ([3], [5, 0, 2, 3, 4])] == ["rank 3", "ranks 0, 2-5"]
