"""Ranks that hang, as real processes: each job is held up in another way, all jobs at once."""

import multiprocessing
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from cosmos.distributed import rank_watch
from cosmos.distributed.exchange import on_every_rank
from cosmos.distributed.group import process_group
from cosmos.distributed.stacks import answer_with_stacks
from cosmos.distributed.whereabouts import at_step, doing, moved
from cosmos.errors import CosmosError, error_class
from tests.forks import FORKS

LIMIT = 2.5
"""Seconds after which ranks hang."""

LOADING = "waiting for data"
HANG, KILLED = 74, -signal.SIGKILL


def sleep() -> None:
    with doing(LOADING):
        time.sleep(600)


def wait_for_worker() -> None:
    """Wait for a worker that loops."""
    worker = multiprocessing.get_context("fork").Process(target=work_for_ever, name="worker 0", daemon=True)
    worker.start()
    with doing(LOADING):
        worker.join()


def work_for_ever() -> None:
    answer_with_stacks()
    while True:
        time.sleep(0.01)


def stop() -> None:
    with doing(LOADING):
        os.kill(os.getpid(), signal.SIGSTOP)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def take_time() -> None:
    """Take more than the limit, in small steps."""
    with doing("encoding of images"):
        for _ in range(12):
            time.sleep(LIMIT / 8)
            moved()


def be_absent() -> None:
    """Never come to the others."""


@dataclass(frozen=True)
class Job:
    """Job of some ranks, one of which is held up in its third step, and what must follow."""

    hold_up: Callable[[], None]
    statuses: tuple[int, ...]
    """exit status of each rank"""
    message: str
    """pattern of what the first rank that is not held up says"""
    bad_rank: int = 1
    report: str = ""
    """pattern of the report; "" for none"""

    def start(self, folder: Path) -> list[BaseProcess]:
        """Start the ranks, but for one that is absent."""
        folder.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        count = len(self.statuses)
        here = range(count if self.hold_up is not be_absent else self.bad_rank)
        ranks: list[BaseProcess] = [
            FORKS.Process(target=become_rank, args=(self, rank, port, folder)) for rank in here
        ]
        for rank in ranks:
            rank.start()
        return ranks


def become_rank(job: Job, rank: int, port: str, folder: Path) -> None:
    os.dup2(os.open(folder / f"{rank}.txt", os.O_WRONLY | os.O_CREAT, 0o600), 2)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(len(job.statuses)), LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    rank_watch.ANSWER_MARGIN = 0.5
    try:
        take_steps(job, rank, folder)
    except CosmosError as error:
        print(error, file=sys.stderr)
        status = error_class(error)
        sys.stderr.flush()
        os._exit(status.exit_status if status else 1)


def take_steps(job: Job, rank: int, folder: Path) -> None:
    with process_group("cpu", timedelta(seconds=LIMIT), folder):
        for step in range(1, 6):
            at_step(step)
            if step == 3 and rank == job.bad_rank:
                job.hold_up()
            with doing("agreement of the ranks"):
                on_every_rank(lambda: None)


MISSING = r"rank 1 \(\S+, pid \d+\)"
WAITING = rf"at step 3, ranks 0, 2 wait in \"agreement of the ranks\" for \d s; missing: {MISSING}"
SLOW = rf"{WAITING}: in \"{LOADING}\" for \d s"
JOBS = {
    "a rank sleeps": Job(
        sleep,
        (HANG, HANG, HANG),
        rf"{SLOW}; all ranks' stacks: .+/hang-00000003\.txt; what was saved",
        report=r"(?s)rank 1\nthread MainThread\n  \S+:\d+ in sleep\n.*ranks? 0.*in on_every_rank",
    ),
    "a worker loops": Job(
        wait_for_worker,
        (HANG, HANG),
        rf"rank 0 waits in .*; missing: {MISSING}: in \"{LOADING}\" for",
        report=r"(?s)worker worker 0 \(pid \d+\)\n.* in work_for_ever",
    ),
    "a rank is stopped": Job(
        stop,
        (HANG, KILLED),
        rf"missing: {MISSING}: does not answer; stopped by a signal \(SIGSTOP\); it was .* last told, \d s ",
        report=r"rank 1\n  does not answer",
    ),
    "the first rank is stopped": Job(
        stop,
        (KILLED, HANG),
        r"rank 1 waits in .agreement of the ranks. .*; missing: rank 0 .*: does not answer; stopped by",
        bad_rank=0,
        report=r"in on_every_rank",
    ),
    "a rank dies": Job(
        die, (1, KILLED), rf"{MISSING} ended while others waited in \"agreement of the ranks\"; its log"
    ),
    "a rank never comes": Job(
        be_absent, (HANG,) * 2, r"rank 1 of 2 did not come within 2 s \(COSMOS_RANK_WAIT_MINUTES\)"
    ),
    "a rank takes its time": Job(take_time, (0, 0), r"\A\Z"),
}


@pytest.mark.slow
def test_a_run_names_the_rank_that_others_wait_for_in_vain_and_ends(tmp_path: Path) -> None:
    started = {name: job.start(tmp_path / name) for name, job in JOBS.items()}
    try:
        for name, ranks in started.items():
            check_end(JOBS[name], ranks, tmp_path / name)
    finally:
        for rank in sum(started.values(), list[BaseProcess]()):
            with suppress(ValueError, AttributeError):
                rank.kill()


def check_end(job: Job, ranks: list[BaseProcess], folder: Path) -> None:
    for rank in ranks:
        rank.join(60)
    said = (folder / f"{0 if job.bad_rank else 1}.txt").read_text()
    assert tuple(rank.exitcode for rank in ranks) == job.statuses[: len(ranks)], (folder.name, said)
    assert re.search(job.message, said), (folder.name, said)
    reports = [path.read_text() for path in folder.glob("hang-*.txt")]
    assert len(reports) == bool(job.report), folder.name
    assert re.search(job.report, "".join(reports)), (folder.name, reports)
