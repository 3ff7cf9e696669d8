"""The process that shows a run in Weights & Biases: follows the run directory until it is told to end.

`python -m cosmos.tracking.follower RUN_DIR SETTINGS` (JSON); its standard input says when to end, and so does
the end of the process that started it. It ends with a status other than 0, and a last line that says why,
where W&B is not shown everything.
"""

import fcntl
import math
import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cosmos.config.wandb import WandbSettings
from cosmos.run.directory import RunDir
from cosmos.tracking.mirror import COMPLETE, STOP, STOP_SECONDS
from cosmos.tracking.session import MirrorSession
from cosmos.tracking.shown import Axis, Rows

TICK = 2.0
"""Seconds between looks at the run directory."""

NICENESS = 10
"""Training comes first."""

NOT_FOR_US = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
"""Signals that all processes of a job get, from Slurm or the terminal: training heeds them."""


class Parent:
    """The process that this one works for."""

    def __init__(self) -> None:
        self.pid = os.getppid()

    def word(self, seconds: float) -> str:
        """What it says within so many seconds: COMPLETE or STOP; "" where it says nothing."""
        ready, _, _ = select.select([0], [], [], seconds)
        if ready:
            return os.read(0, 100).decode() or STOP
        # another process that it forked may hold the pipe open
        return "" if os.getppid() == self.pid else STOP


def main(arguments: Sequence[str]) -> int:
    """Follows a run; returns the exit status."""
    for number in NOT_FOR_US:
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    run, settings = RunDir(Path(arguments[0])), WandbSettings.model_validate_json(arguments[1])
    parent, held = Parent(), None
    while held is None:
        held = lock(run.path / "wandb" / "mirror.lock")
        if held is None and parent.word(TICK):
            return 0  # the one that holds it shows this run
    with held:
        return follow(run, settings, parent)


def lock(path: Path) -> IO[bytes] | None:
    """The right to show a run, for as long as the file is open; None while another process has it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        pass  # a file system without locks
    return file


def follow(run: RunDir, settings: WandbSettings, parent: Parent) -> int:
    """Shows what is there and what comes, until the parent says to end; returns the exit status."""
    rows, session, word = Rows(run.metrics), MirrorSession(run, settings), ""
    while not word:
        word = parent.word(TICK)
        if word:
            end_within(settings.patience_seconds if word == COMPLETE else STOP_SECONDS)
        session.show(rows.news())
        session.expect(rows.held)
        session.show_results()
    if rows.held and (word == COMPLETE or not Axis.of(run).owes_evaluation(rows.held)):
        session.show([rows.held])
    if word == COMPLETE:
        session.show_checkpoint()
    return session.close()


def end_within(seconds: float) -> None:
    """Has the kernel end this process if it has not ended by then: the parent may not be there to do so."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(seconds))


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # not by way of W&B, which would wait for its own process
    sys.exit(status)
