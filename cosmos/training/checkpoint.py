"""Checkpoints of a run: saved in the published format with all that a resumed run needs, and read again."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from cosmos.config.disk_reading import exists, is_dir, is_file
from cosmos.distributed.whereabouts import moved
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError
from cosmos.model import checkpoints
from cosmos.model.weight_archive import verify_checkpoint
from cosmos.run.directory import RunDir
from cosmos.run.files import sync_descriptor
from cosmos.run.lease import ALIVE_SECONDS, Lease
from cosmos.training.progress import TrainingState
from cosmos.training.saved_state import random_state
from cosmos.training.step import Learner

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retention:
    """Rule by which checkpoints of a run stay: the newest `keep` whole ones, and all that are not whole."""

    keep: int
    checked: dict[Path, bool] = field(default_factory=dict)
    """True for files that this process wrote or found whole, False for damaged ones: each is read once"""

    def is_whole(self, path: Path) -> bool:
        """Return True for a whole checkpoint; False also for one that cannot be read for now."""
        if path not in self.checked:
            try:
                self.checked[path] = verify_checkpoint(path)
            except DamagedDataError:
                self.checked[path] = False
            except CosmosError:
                return False
        return self.checked[path]

    def remove_old(self, run: RunDir) -> None:
        """Remove the whole checkpoints that are older than the newest `keep`; warn where that fails."""
        try:
            for path in [path for path in run.saved_checkpoints if self.is_whole(path)][self.keep :]:
                path.unlink(missing_ok=True)
                del self.checked[path]
        except OSError as error:
            logger.warning("%s: old checkpoints stay: %s", run.checkpoints, error)


def training_content(
    learner: Learner, state: TrainingState, epoch: int, run: RunDir, origin: Mapping[str, str]
) -> dict[str, Any]:
    """Return the content of the checkpoint after `epoch` whole epochs; its tensors are the learner's own.

    `origin`: what it says of its origin, by `origin_of_run`.
    """
    return checkpoints.checkpoint_content(
        learner.student,
        learner.teacher,
        learner.config,
        name=run.path.name,
        epoch=epoch,
        step=state.step,
        optimizer=learner.optimizer.state_dict(),
        scaler=learner.scaler.state_dict(),
        rng=random_state(learner.process.device),
        progress=asdict(state.counters),
        damaged=torch.tensor(sorted(state.damaged), dtype=torch.int64),
        **origin,
    )


def write_checkpoint(lease: Lease, content: dict[str, Any], retention: Retention) -> Path:
    """Write the checkpoint with a content of `training_content`, and remove old ones by the rule.

    A kill at any moment leaves the old checkpoint or the new one, whole. Raises SupersededError, and changes
    nothing, where the lease is lost, and TransientError where the disk is full or fails.
    """
    path = lease.run.checkpoint(content["step"])
    lease.check()
    refuse_file(lease.run.checkpoints)
    with lease.explaining_errors(), ExitStack() as stack, checkpoints.replacing_checkpoint(path) as file:
        torch.save(content, cast(BinaryIO, TellingFile(file)))
        file.flush()
        sync_descriptor(file.fileno())  # now: large files take their time, and nobody else is to wait for it
        stack.enter_context(lease.writing())  # until the file has its name
    retention.checked[path] = True
    retention.remove_old(lease.run)
    return path


class TellingFile:
    """File for torch to save to, each write of which marks that the save gets on: a slow disk is no hang."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.flush = file, file.flush

    def write(self, content: bytes) -> int:
        """Write as a file does."""
        moved()
        return self._file.write(content)


def refuse_file(folder: Path) -> None:
    """Raise InputError where a file is in the place of the folder of checkpoints."""
    if exists(folder) and not is_dir(folder):
        raise InputError(f"{folder}: a file in the place of the run's checkpoints; move it away")


def remove_leftovers(lease: Lease) -> None:
    """Remove the temporary files that killed processes left in the run: those of checkpoints, and old ones.

    Others write small files of the run, such as its labels, without its lease, and take no ALIVE_SECONDS.
    """
    run = lease.run
    with lease.writing():  # so that no other begins a checkpoint meanwhile
        for path in run.checkpoints.glob(".*step-*.tmp"):
            path.unlink(missing_ok=True)
        taken = run.lease.stat().st_mtime
        for path in run.path.glob(".*.tmp"):
            with suppress(OSError):  # renamed or removed by its process
                if is_file(path) and path.stat().st_mtime < taken - ALIVE_SECONDS:
                    path.unlink()


def newest_whole_checkpoint(run: RunDir) -> checkpoints.Checkpoint | None:
    """Return the newest checkpoint that is not damaged; None where there is no checkpoint.

    Damaged ones are named in the log and passed over. Raises DamagedDataError, naming all, where none is
    whole: nothing is trained again unasked. Any other error is raised: one that cannot be read for now, or is
    no checkpoint of this version, must not be trained over from an older one.
    """
    damaged = []
    for path in run.saved_checkpoints:
        try:
            return read_saved_checkpoint(path)
        except DamagedDataError as error:
            logger.warning("passing over a damaged checkpoint: %s", error)
            damaged.append(path)
    if damaged:
        raise DamagedDataError(
            f"{run.checkpoints}: {', '.join(path.name for path in damaged)}: damaged, and no other is there; "
            "bring one back, or move them away to train from the first step, or name another run with --run"
        )
    return None


def read_saved_checkpoint(path: Path) -> checkpoints.Checkpoint:
    """Read a checkpoint that was listed in its run; errors as of `read_checkpoint`, except for a lost file.

    Raises TransientError where the file is gone since: the process that trained the run before may have saved
    a newer one at this moment, or this rank's view of a shared disk is not the first rank's.
    """
    try:
        return checkpoints.read_checkpoint(path)
    except InputError as error:
        if exists(path):
            raise
        raise gone(path) from error


def gone(path: Path) -> TransientError:
    """Return the error for a checkpoint that was listed, and is not there to be read."""
    return TransientError(
        f"{path}: gone, or not on a disk that all nodes share, since the run was opened; "
        "the same command goes on from the newest checkpoint that is there"
    )
