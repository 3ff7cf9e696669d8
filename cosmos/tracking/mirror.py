"""Mirror of a run in Weights & Biases, by a process of its own: training never calls W&B, nor waits for it.

The run directory is the record. The process (cosmos.tracking.follower) follows it and shows each new line and
result; the next one shows those that a killed process did not.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cosmos.config.disk_reading import is_dir
from cosmos.config.wandb import WandbSettings, environment_mode
from cosmos.distributed.environment import is_first_process
from cosmos.errors import CosmosError, summarize_error
from cosmos.run.directory import RunDir
from cosmos.run.files import open_to_append
from cosmos.tracking.note import MirrorNote

logger = logging.getLogger(__name__)

COMPLETE, STOP = "complete", "stop"
"""Orders to the process: show all and end, since the work is done; or end soon, since time is scarce."""

INCOMPLETE = 3
"""Exit status of the process where W&B, which was asked for, is not shown everything."""

STOP_SECONDS = 5.0
"""Wait for the process after an interruption: seconds before a kill are scarce."""

MIRROR_REMEDY = "the same command again, or `wandb sync`, completes it"

_mirrored = set[Path]()
"""Run directories that this process has mirrored now."""


@contextmanager
def mirroring(run: RunDir, settings: WandbSettings) -> Iterator[None]:
    """Show the run in W&B, from the first rank, as it grows inside the block; nested uses do nothing more.

    At the end, wait until all is sent, at most for the settings' patience (or STOP_SECONDS, where the work
    was interrupted). No error of W&B is raised here: one warning names it, unless W&B records offline
    without being asked to.
    """
    path = run.path.absolute()
    if settings.is_disabled or not is_first_process() or path in _mirrored:
        yield
        return
    process, order = start_follower(path, settings), STOP
    _mirrored.add(path)
    try:
        yield
        order = COMPLETE
    except Exception:  # the work has ended, in failure; an interruption is no Exception
        order = COMPLETE
        raise
    finally:
        _mirrored.discard(path)
        if process:
            end_follower(process, path, order, settings)


def start_follower(path: Path, settings: WandbSettings) -> "subprocess.Popen[bytes] | None":
    """Start the process that follows a run directory; return None, and warn, where that fails."""
    try:
        follower_log(path).parent.mkdir(parents=True, exist_ok=True)
        with open_to_append(follower_log(path)) as log:
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
        if is_shown_online(path, settings):
            logger.warning("W&B is not shown %s: %s; %s", path, summarize_error(error), MIRROR_REMEDY)
        return None


def is_shown_online(path: Path, settings: WandbSettings) -> bool:
    """Return True when W&B is asked for, or has shown the run by a login; else nothing is said of it."""
    if settings.is_asked_for or settings.own_mode != "auto":
        return settings.is_asked_for
    with suppress(OSError, CosmosError):
        return MirrorNote.of(RunDir(path)).mode == "online"
    return False


def follower_log(path: Path) -> Path:
    """Return the path of the log of the process that follows a run directory."""
    return path / "wandb" / "mirror.log"


def follower_environment(path: Path) -> dict[str, str]:
    """Return the environment of that process: this code on its path, W&B quiet and in the run directory."""
    code = str(Path(__file__).parents[2])
    mode = environment_mode()
    return {
        "WANDB_DATA_DIR": str(path / "wandb"),
        **{name: value for name, value in os.environ.items() if name != "WANDB_MODE"},
        **({"WANDB_MODE": mode} if mode else {}),
        "HOME": str(home_for_wandb(path)),
        "PYTHONPATH": os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH", "")))),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    }


def home_for_wandb(path: Path) -> Path:
    """Return the user's home, which W&B asks for; its folder in the run where there is none."""
    with suppress(RuntimeError):
        if is_dir(Path.home()):
            return Path.home()
    return path / "wandb"


def end_follower(process: "subprocess.Popen[bytes]", path: Path, order: str, settings: WandbSettings) -> None:
    """Order the process to end, wait, and kill it once the patience is over; warn where not all is shown."""
    patience = settings.patience_seconds
    patience = patience if order == COMPLETE else min(patience, STOP_SECONDS)
    try:
        assert process.stdin
        with suppress(OSError), process.stdin:
            process.stdin.write(order.encode())
        status = process.wait(patience)
        if status == INCOMPLETE or (status and is_shown_online(path, settings)):
            reason = last_log_line(follower_log(path)) or f"its process ended with status {status}"
            logger.warning("W&B is not shown all of %s: %s; %s", path, reason, MIRROR_REMEDY)
    except subprocess.TimeoutExpired:
        if is_shown_online(path, settings):
            logger.warning("W&B is not shown all of %s within %g s; %s", path, patience, MIRROR_REMEDY)
    finally:
        process.kill()
        process.wait()


def last_log_line(path: Path) -> str:
    """Return the last line of a log; "" where nothing was logged."""
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip()[:600] for line in reversed(lines) if line.strip()), "")
    return ""
