"""Ranks that hang: the other rank says which, and both end, resumably; given again, they train to the end."""

import os
import signal
import socket
import time
from collections.abc import Callable
from unittest.mock import patch

from cosmos.data.shards.samples import ShardedSamples
from cosmos.distributed import rank_watch
from cosmos.evaluation.embed import Embedder
from cosmos.training import saving
from tests.faults.commands import Ended, Running
from tests.faults.tries import TINY_RUN, Try, check_manners
from tests.faults.world import LAST_STEP

LIMIT, LONG_LIMIT = 5.0, 60.0
"""Seconds after which ranks hang; ranks that nobody holds up get more, on a machine that has other work."""

SLEEP = 600.0


def attempt(attempt: Try) -> None:
    """Hold one of two ranks up at a moment, look at how both end, then let them finish."""
    attempt.copy_world()
    bad, hold_up = attempt.rng.randrange(2), attempt.rng.choice(HOLD_UPS)
    number = attempt.rng.randrange(1, 40)
    attempt.tell(f"{hold_up.__name__} on rank {bad}, call {number}")
    ended = train_in_two(attempt, bad, lambda: hold_up(number))
    good = ended[1 - bad]
    if any(rank.status for rank in ended):  # or else the moment never came
        check_named(good, bad, is_killed=hold_up is kill_in_loader)
    for rank in train_in_two(attempt, 2, lambda: None):
        assert rank.status == 0, f"did not go on\n{good.describe()}\n{rank.describe()}"
    assert (attempt.place / "runs" / "again" / "checkpoints" / f"step-{LAST_STEP:08}.pt").exists()


def check_named(ended: Ended, bad: int, is_killed: bool) -> None:
    """Raise AssertionError unless a rank ended with the status and the message of a hang of the other one."""
    status, words = (1, "ended while others waited") if is_killed else (74, "missing: rank")
    assert ended.status == status, f"not {status}\n{ended.describe()}"
    assert words in ended.output, f"no word of a hang\n{ended.describe()}"
    assert f"rank {bad} (" in ended.output, f"not named\n{ended.describe()}"


def train_in_two(attempt: Try, bad: int, hold_up: Callable[[], None]) -> list[Ended]:
    """Train a run by two ranks, one of which is held up; return how they ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])

    def become_rank(rank: int) -> None:
        os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, GLOO_SOCKET_IFNAME="lo")
        patch.object(rank_watch, "ANSWER_MARGIN", 0.5).start()
        if rank == bad:
            hold_up()

    def start(rank: int) -> Running:
        return attempt.start(
            *("pretrain", *TINY_RUN, "again"),
            meddle=lambda: become_rank(rank),
            rank_wait_minutes=str((LIMIT if bad < 2 else LONG_LIMIT) / 60),
        )

    ended = [running.wait() for running in [start(0), start(1)]]
    for rank in ended:
        check_manners(rank)
    return ended


def at_call(owner: object, name: str, number: int, act: Callable[[], object]) -> None:
    """Have this process do `act` before the n-th call of a function."""
    function, calls = getattr(owner, name), iter(range(1, 1 << 30))

    def call(*arguments: object, **options: object) -> object:
        if next(calls) == number:
            act()
        return function(*arguments, **options)

    patch.object(owner, name, call).start()


def sleep_in_loader(number: int) -> None:
    """Never return a sample."""
    at_call(ShardedSamples, "read", number, lambda: time.sleep(SLEEP))


def stop_in_loader(number: int) -> None:
    """Be stopped while a sample is read."""
    at_call(ShardedSamples, "read", number, lambda: os.kill(os.getpid(), signal.SIGSTOP))


def kill_in_loader(number: int) -> None:
    """Be killed while a sample is read."""
    at_call(ShardedSamples, "read", number, lambda: os.kill(os.getpid(), signal.SIGKILL))


def sleep_in_evaluation(number: int) -> None:
    """Never return the embeddings of an evaluation."""
    at_call(Embedder, "images", 1 + number % 2, lambda: time.sleep(SLEEP))


def sleep_in_save(number: int) -> None:
    """Never return from a save, of which the first rank makes all."""
    at_call(saving, "write_checkpoint", 1 + number % 4, lambda: time.sleep(SLEEP))


HOLD_UPS = (sleep_in_loader, stop_in_loader, kill_in_loader, sleep_in_evaluation, sleep_in_save)
