"""Two of everything at once: one does the work, the other waits, joins or says who is at it."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.commands import Ended, Running
from tests.faults.moments import OPERATIONS_OF, Moment
from tests.faults.tries import STATUSES, TINY_RUN, Try, check_manners, check_trained_alike, figures, remove
from tests.faults.works import EVALUATE, PREPARE, PRETRAIN, PROMOTE, SWEEP, Work, draw_work

BESIDE = (("runs", "list"), ("jobs",), ("compare", "whole", "half"), ("runs", "export", "runs.csv"))
"""Commands that read while others write."""

PATIENCE = 5.0
"""Seconds that a command has beside one that stands still; it may be one that waits for that."""


def attempt(attempt: Try) -> None:
    """Give a command several times at once, or two that differ, one in the middle of the other."""
    (repeat if attempt.rng.random() < 0.4 else pair)(attempt)


def repeat(attempt: Try) -> None:
    """Give a command two or three times at once, with a list beside it; then once more."""
    work, rng = draw_work(attempt), attempt.rng
    running = []
    for _ in range(rng.choice([2, 2, 3])):
        running.append(attempt.start(*work.arguments))
        time.sleep(rng.choice([0, 0, rng.uniform(0, work.seconds)]))
    attempt.succeeds(*rng.choice(BESIDE))
    for command in running:
        check_ended(command.wait())
    work.finish(attempt)


def check_ended(ended: Ended) -> None:
    """Raise AssertionError unless a command ended as one may beside another."""
    check_manners(ended)
    assert ended.status in STATUSES - {1}, f"failed beside another\n{ended.describe()}"
    assert ended.status == 0 or ended.output.strip(), f"says nothing\n{ended.describe()}"


@dataclass(frozen=True)
class Pair:
    """Work, and what happens in the middle of it: another command, or something that its user does."""

    work: Work
    command: tuple[str, ...] = ()
    deed: Callable[[Path], object] = lambda place: None
    """what the user does in the folder of the try"""
    finish: Callable[[Try, Work, int], None] = lambda attempt, work, status: work.finish(attempt)
    """what is looked for afterwards, given the exit status of the work"""


def pair(attempt: Try) -> None:
    """Stop a work before a change of a file, let something else happen, and let the work go on."""
    drawn = attempt.rng.choice(PAIRS)
    attempt.copy_world()
    drawn.work.begin(attempt)
    moment = Moment(operation=attempt.rng.randint(1, OPERATIONS_OF[drawn.work.name]))
    attempt.tell(f"stands still before operation {moment.operation}")
    first = attempt.start(*drawn.work.arguments, meddle=lambda: moment.arm(signal.SIGSTOP))
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    drawn.deed(attempt.place)
    second = attempt.start(*drawn.command) if drawn.command else None
    if second:
        await_end(second, PATIENCE)
    first.kill(signal.SIGCONT)
    ended = first.wait()
    check_ended(ended)
    if second:
        check_ended(second.wait())
    drawn.finish(attempt, drawn.work, ended.status)


def await_end(command: Running, seconds: float) -> None:
    """Wait so many seconds for the end of a command, which stays to be waited for."""
    end = time.monotonic() + seconds
    while not os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
        if time.monotonic() > end:
            return
        time.sleep(0.01)


def finish_unless_refused(attempt: Try, work: Work, status: int) -> None:
    """Finish a work unless the other command was there first, which had other parameters."""
    if status == 0:
        work.finish(attempt)
    else:
        ended = attempt.cosmos(*work.arguments)
        assert ended.status == 2, f"goes on among files of other parameters\n{ended.describe()}"


def finish_both(attempt: Try, work: Work, status: int) -> None:
    """Finish the run that is trained, after what was made of it, which has its unfinished files, too."""
    if (attempt.place / "runs" / "other").exists():
        attempt.succeeds("pretrain", *TINY_RUN, "other")
        check_trained_alike(attempt, "other")
    work.finish(attempt)


def check_both_measured(attempt: Try, work: Work, status: int) -> None:
    """Check that the figures of both evaluations of a run are in its results."""
    attempt.succeeds(*work.arguments)
    (ours, reference) = (
        figures(root / "runs" / "mine", "retrieval") for root in (attempt.place, attempt.world.path)
    )
    assert ours.items() >= reference.items(), f"other figures: {ours}"
    assert len(ours) == len(reference) + 1, f"not the figures of both datasets: {sorted(ours)}"


def in_runs(deed: Callable[[Path, Path], object]) -> Callable[[Path], object]:
    """Return a deed with the run that is trained, if it is there, and another name for it."""

    def act(place: Path) -> None:
        if (run := place / "runs" / "again").exists():
            deed(run, place / "runs" / "other")

    return act


READERS: Mapping[str, tuple[Work, tuple[tuple[str, ...], ...]]] = {
    "photos": (PREPARE, (("verify",), ("pretrain", *TINY_RUN, "photographs", "--data.name"))),
    "again": (
        PRETRAIN,
        (
            *(("evaluate", "retrieval", *TINY_RUN), ("verify",), ("report",), ("cancel",), ("forecast",)),
            *(("promote",), ("compare", "whole"), ("runs", "show")),
        ),
    ),
    "mine": (EVALUATE, (("verify",), ("report",), ("compare", "whole"), ("promote",))),
    "small": (SWEEP, (("cancel",), ("compare",), ("verify",))),
}
"""Works by the name of what they write, with commands that take that name."""

PAIRS = (
    *(Pair(work, (*command, name)) for name, (work, commands) in READERS.items() for command in commands),
    *(Pair(work, command) for work in (PRETRAIN, EVALUATE, SWEEP) for command in BESIDE),
    Pair(PREPARE, (*PREPARE.arguments, "--data.seed", "1"), finish=finish_unless_refused),
    Pair(PRETRAIN, (*PRETRAIN.arguments, "--pretrain.momentum", "0.9"), finish=finish_unless_refused),
    Pair(
        EVALUATE,
        ("evaluate", "retrieval", *TINY_RUN, "mine", "--data.name", "photos"),
        finish=check_both_measured,
    ),
    Pair(PROMOTE, ("promote", "mine", "--name", "good"), finish=finish_unless_refused),
    Pair(PRETRAIN, deed=in_runs(lambda run, other: remove(run))),
    Pair(PRETRAIN, deed=in_runs(lambda run, other: run.rename(other)), finish=finish_both),
    Pair(PRETRAIN, deed=in_runs(shutil.copytree), finish=finish_both),
)
