"""`python -m cosmos.run.dvc_command repro STAGE`: DVC's command, with exit statuses by which to act.

It waits for other DVC processes instead of failing. Where a stage's command failed, its exit status is that
of the command; where DVC failed, that of the class of the error (`cosmos.errors`). DVC's own is always 255.
"""

import logging
import sys
import time
from collections.abc import Sequence

import dvc.stage.run
from dvc.cli import parse_args
from dvc.lock import LockError
from dvc.stage.exceptions import StageCmdFailedError
from dvc.ui import ui

from cosmos.errors import CosmosError
from cosmos.run.dvc_errors import causes, dvc_error_class

logger = logging.getLogger("dvc")  # so that it is shown as DVC shows its own

FIRST_POLL_SECONDS = 0.5
MAX_POLL_SECONDS = 30.0

SIGNAL_STATUS = 128
"""Exit status of a command that a signal ended, less the signal, as shells have it."""


class CommandFailedError(StageCmdFailedError):  # type: ignore[misc]
    """DVC's error of a stage whose command failed, with the exit status, which DVC keeps as text alone."""

    def __init__(self, command: str, status: int = 1) -> None:
        super().__init__(command, status)
        self.status = status


def main() -> None:
    """Run DVC with the arguments of this process, and exit with the status of what failed."""
    dvc.stage.run.StageCmdFailedError = CommandFailedError
    ui.enable()
    try:
        run_when_unlocked(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        logger.exception("")
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
