"""`python -m cosmos.run.dvc_command repro STAGE`: DVC's command, with exit statuses by which to act.

It waits for other DVC processes instead of failing, and for no stranger that has the process id of one which
a reboot ended. Where a stage's command failed, its exit status is that of the command; where DVC failed, that
of the class of the error (`cosmos.errors`). DVC's own is always 255.
"""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import dvc.rwlock
import dvc.stage.run
import psutil  # type: ignore[import-untyped]  # as DVC does
from dvc.cli import parse_args
from dvc.lock import LockError
from dvc.rwlock import RWLOCK_FILE, RWLockFileCorruptedError, RWLockFileFormatError
from dvc.stage.exceptions import StageCmdFailedError
from dvc.ui import ui

from cosmos.errors import CosmosError
from cosmos.run.dvc_errors import causes, dvc_error_class
from cosmos.run.dvc_versions import DVC_TMP, find_dvc_root

logger = logging.getLogger("dvc")  # so that it is shown as DVC shows its own

FIRST_POLL_SECONDS = 0.5
MAX_POLL_SECONDS = 30.0

SIGNAL_STATUS = 128
"""Exit status of a command that a signal ended, less the signal, as shells have it."""


CLOCK_SECONDS = 10.0
"""Seconds by which the clock of files and that of processes may differ."""

LOCKS_REMEDY = (
    "remove that file once no other DVC command runs in this checkout, and give the same command again"
)
"""Remedy for locks that a kill or a full disk has left half written."""


class ProcessesWithLocks:
    """Processes as DVC asks for them, to find out whether one that has locks on files is there."""

    @staticmethod
    def pid_exists(pid: int) -> bool:
        """Return False, too, for a process that began after the locks were last written: it has none."""
        root = find_dvc_root(Path.cwd())
        try:
            begun = psutil.Process(pid).create_time()
            return root is None or begun <= (root / DVC_TMP / RWLOCK_FILE).stat().st_mtime + CLOCK_SECONDS
        except psutil.NoSuchProcess:
            return False
        except (psutil.Error, OSError):
            return True


class CommandFailedError(StageCmdFailedError):  # type: ignore[misc]
    """DVC's error of a stage whose command failed, with the exit status, which DVC keeps as text alone."""

    def __init__(self, command: str, status: int = 1) -> None:
        super().__init__(command, status)
        self.status = status


def main() -> None:
    """Run DVC with the arguments of this process, and exit with the status of what failed."""
    dvc.stage.run.StageCmdFailedError = CommandFailedError
    dvc.rwlock.psutil = ProcessesWithLocks
    ui.enable()
    try:
        run_when_unlocked(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        logger.exception("")
        if any(
            isinstance(cause, RWLockFileCorruptedError | RWLockFileFormatError) for cause in causes(error)
        ):
            logger.error(LOCKS_REMEDY)
        sys.exit(failure_status(error))


def run_when_unlocked(arguments: Sequence[str]) -> None:
    """Run a command of DVC's, again and again as long as another process has what it needs."""
    said, seconds = "", FIRST_POLL_SECONDS
    while True:
        parsed = parse_args(["--wait-for-lock", *arguments])
        try:
            parsed.func(parsed).do_run()
            return
        except Exception as error:
            lock = next((str(cause) for cause in causes(error) if isinstance(cause, LockError)), "")
            if not lock:
                raise
        if lock != said:
            logger.warning("%s\nwaiting for it", lock)
        time.sleep(seconds)
        said, seconds = lock, min(2 * seconds, MAX_POLL_SECONDS)


def failure_status(error: Exception) -> int:
    """Return the exit status of the stage's command that failed, or of the class of DVC's error."""
    for cause in causes(error):
        if isinstance(cause, CommandFailedError):
            return cause.status if cause.status > 0 else SIGNAL_STATUS - cause.status
    return dvc_error_class(error, CosmosError).exit_status


if __name__ == "__main__":
    main()
