"""A run is mirrored in Weights & Biases by a process of its own: training never calls W&B, nor waits for it.

The run directory is the record. The process (cosmos.tracking.follower) follows it and shows what is new; what
a killed one did not show, the next one does.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cosmos.config.wandb import WandbSettings
from cosmos.distributed.environment import is_first_process
from cosmos.run.directory import RunDir

logger = logging.getLogger(__name__)

COMPLETE, STOP = "complete", "stop"
"""What the process is told: that the work is done, or that time is scarce."""

STOP_SECONDS = 5.0
"""Wait for the process where the work was interrupted: seconds before a kill are scarce."""

REMEDY = "the same command again, or `wandb sync`, completes it"

_mirrored = set[Path]()
"""Run directories that this process has mirrored now."""


@contextmanager
def mirroring(run: RunDir, settings: WandbSettings) -> Iterator[None]:
    """Inside, the run is shown in W&B as it grows, by the first rank; inside of itself, it does nothing more.

    At the end, what is left is waited for, at most for the settings' patience (or STOP_SECONDS, where the
    work was interrupted). Whatever W&B does raises nothing here: one warning says what is missing there.
    """
    path = run.path.absolute()
    if settings.is_disabled or not is_first_process() or path in _mirrored:
        yield
        return
    process, word = start_follower(path, settings), STOP
    _mirrored.add(path)
    try:
        yield
        word = COMPLETE
    except Exception:  # the work has ended, in failure; an interruption is no Exception
        word = COMPLETE
        raise
    finally:
        _mirrored.discard(path)
        if process:
            end_follower(process, path, word, settings)


def start_follower(path: Path, settings: WandbSettings) -> "subprocess.Popen[bytes] | None":
    """Starts the process; None, and a warning, where that fails."""
    try:
        log_path(path).parent.mkdir(parents=True, exist_ok=True)
        with log_path(path).open("ab") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "cosmos.tracking.follower",
                    str(path),
                    settings.model_dump_json(),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=follower_environment(path),
                start_new_session=True,  # Ctrl-C in the terminal is not for it
            )
    except OSError as error:
        logger.warning("W&B is not shown %s: %s; %s", path, error, REMEDY)
        return None


def log_path(path: Path) -> Path:
    """What the process says."""
    return path / "wandb" / "mirror.log"


def follower_environment(path: Path) -> dict[str, str]:
    """This process's environment, its code with it, and W&B quiet and within the run directory."""
    code = str(Path(__file__).parents[2])
    return {
        "WANDB_DATA_DIR": str(path / "wandb"),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH", "")))),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    }


def end_follower(process: "subprocess.Popen[bytes]", path: Path, word: str, settings: WandbSettings) -> None:
    """Asks the process to end, waits, and kills it once the patience is over; warns of what is not shown."""
    patience = settings.patience_seconds
    patience = patience if word == COMPLETE else min(patience, STOP_SECONDS)
    try:
        assert process.stdin
        with suppress(OSError), process.stdin:
            process.stdin.write(word.encode())
        status = process.wait(patience)
        if status:
            why = last_line(log_path(path)) or f"its process ended with status {status}"
            logger.warning("W&B is not shown all of %s: %s; %s", path, why, REMEDY)
    except subprocess.TimeoutExpired:
        logger.warning("W&B is not shown all of %s within %g s; %s", path, patience, REMEDY)
    finally:
        process.kill()
        process.wait()


def last_line(path: Path) -> str:
    """The end of what was logged; "" where nothing was."""
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip()[:600] for line in reversed(lines) if line.strip()), "")
    return ""
