"""Process that shows a run in Weights & Biases: it follows the run directory until it is ordered to end.

`python -m cosmos.tracking.follower RUN_DIR SETTINGS` (JSON). It ends by an order on its standard input, or
with the process that started it. Where W&B is asked for, and is not shown everything, its status is
INCOMPLETE, and its last line gives the reason.
"""

import math
import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from filelock import lock_descriptor

from cosmos.config.printable_text import print_text
from cosmos.config.wandb import WandbSettings
from cosmos.distributed.stop_signals import STOP_SIGNALS
from cosmos.errors import summarize_error
from cosmos.run.directory import RunDir
from cosmos.run.files import open_to_append
from cosmos.tracking.curves import CurveAxis, CurveRows
from cosmos.tracking.mirror import COMPLETE, INCOMPLETE, STOP, STOP_SECONDS
from cosmos.tracking.session import MirrorSession

POLL_SECONDS = 2.0
"""Seconds between two readings of the run directory."""

NICENESS = 10
"""Low priority: training comes first."""

IGNORED_SIGNALS = (signal.SIGINT, *STOP_SIGNALS)
"""Signals that all processes of a job get, from Slurm or the terminal; they are for training."""


class Parent:
    """Process that started this one, and orders it to end."""

    def __init__(self) -> None:
        self.pid = os.getppid()

    def await_order(self, seconds: float) -> str:
        """Return the parent's order, COMPLETE or STOP (also once it has ended); "" for none in `seconds`."""
        ready, _, _ = select.select([0], [], [], seconds)
        if ready:
            return os.read(0, 100).decode() or STOP
        # another process that it forked may hold the pipe open
        return "" if os.getppid() == self.pid else STOP


def main(arguments: Sequence[str]) -> int:
    """Follow a run; return the exit status."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    run, settings = RunDir(Path(arguments[0])), WandbSettings.model_validate_json(arguments[1])
    parent, held = Parent(), None
    while held is None:
        held = take_mirror_lock(run.path / "wandb" / "mirror.lock")
        if held is None and parent.await_order(POLL_SECONDS):
            return 0  # the process that has the lock shows this run
    with held:
        return follow_run(run, settings, parent)


def take_mirror_lock(path: Path) -> IO[str] | None:
    """Lock the mirroring of a run while the file is open; return None where another process has the lock."""
    file = open_to_append(path)
    with suppress(OSError):  # a file system without locks
        if not lock_descriptor(file.fileno(), blocking=False):
            file.close()
            return None
    return file


def follow_run(run: RunDir, settings: WandbSettings, parent: Parent) -> int:
    """Show a run as it grows, until the parent orders the end; return the exit status.

    Where W&B records offline without being asked to, problems are in the log alone, and the status is 0.
    """
    session = MirrorSession(run, settings)
    failed = INCOMPLETE if session.is_asked_for else 0
    try:
        return 0 if follow_in_session(session, parent) else failed
    except Exception as error:
        end_by_error(error, failed)


def follow_in_session(session: MirrorSession, parent: Parent) -> bool:
    """Show a run in a session, until the parent orders the end; return True where W&B has everything."""
    run, rows, order = session.run, CurveRows(session.run.metrics), ""
    while not order:
        order = parent.await_order(POLL_SECONDS)
        if order:
            end_process_within(session.settings.patience_seconds if order == COMPLETE else STOP_SECONDS)
        session.show_rows(rows.new_rows())
        session.expect(rows.held)
        session.show_results()
    if order == COMPLETE:
        session.show_rows(rows.last_rows())
        session.show_checkpoint()
    elif rows.held and not CurveAxis.of(run).owes_evaluation(rows.held):
        session.show_rows([rows.joined()])
    return session.close()


def end_by_error(error: Exception, status: int) -> NoReturn:
    """Log an error, and end this process with an exit status."""
    traceback.print_exception(error)
    print_text(" ".join(summarize_error(error).split()), to_errors=True)
    os._exit(status)  # not by way of W&B, which would wait for its own process


def end_process_within(seconds: float) -> None:
    """Have the kernel end this process after `seconds`, since the parent may not be there to do so."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(seconds))


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except Exception as error:
        end_by_error(error, 1)
    sys.exit(status)
