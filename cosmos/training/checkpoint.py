"""Save and resume: a checkpoint in the published format that also holds everything a resumed run needs."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.model import checkpoints
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.training.progress import Counters, TrainingState
from cosmos.training.step import Learner

logger = logging.getLogger(__name__)


def save_checkpoint(lease: Lease, learner: Learner, state: TrainingState, epoch: int, keep: int) -> Path:
    """Write the checkpoint of a state after `epoch` whole epochs, and remove all but the newest `keep`.

    A kill at any moment leaves the old checkpoint or the new one, whole. Raises SupersededError, and changes
    nothing, where the lease is lost, and TransientError where the disk is full.
    """
    run = lease.run
    path = run.checkpoint(state.step)
    lease.check()
    content = checkpoints.checkpoint_content(
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
    )
    try:
        with checkpoints.replacing_checkpoint(path) as file:
            torch.save(content, file)
            lease.check()  # again: large files take their time, and the run must not get a later checkpoint
    except InputError:
        lease.check()  # who takes a run over removes partial checkpoints: this is not the user's fault then
        raise
    for old in run.saved_checkpoints[keep:]:
        old.unlink(missing_ok=True)
    return path


def remove_partial_checkpoints(run: RunDir) -> None:
    """Remove the temporary files of checkpoints that a process was writing when it was killed."""
    for path in run.checkpoints.glob(".step-*.tmp"):
        path.unlink(missing_ok=True)


def newest_whole_checkpoint(run: RunDir) -> checkpoints.Checkpoint | None:
    """Return the newest checkpoint that is not damaged; None where there is none.

    Damaged ones are named in the log and passed over. Any other error is raised: one that cannot be read for
    now, or is no checkpoint of this version, must not be trained over from an older one.
    """
    for path in run.saved_checkpoints:
        try:
            return read_saved_checkpoint(path)
        except DamagedDataError as error:
            logger.warning("passing over a damaged checkpoint: %s", error)
    return None


def read_saved_checkpoint(path: Path) -> checkpoints.Checkpoint:
    """Read a checkpoint that was listed in its run; errors as of `read_checkpoint`, except for a lost file.

    Raises TransientError where the file is gone since: the process that trained the run before may have saved
    a newer one at this moment, or this rank's view of a shared disk is not the first rank's.
    """
    try:
        return checkpoints.read_checkpoint(path)
    except InputError as error:
        if path.exists():
            raise
        raise TransientError(
            f"{path}: gone, or not on a disk that all nodes share, since the run was opened; "
            "the same command goes on from the newest checkpoint that is there"
        ) from error


def resume_learner(learner: Learner, checkpoint: checkpoints.Checkpoint) -> TrainingState:
    """Restore weights, optimiser, scaler and random state as they were saved; return the saved progress.

    Raises InputError for a checkpoint of another model than the learner's, and for one without the state of
    a training, such as a published one.
    """
    checkpoints.load_state(learner.student, checkpoint.student, f"{checkpoint.path}: student")
    checkpoints.load_state(learner.teacher, checkpoint.teacher, f"{checkpoint.path}: teacher")
    extra = checkpoint.extra
    try:
        learner.optimizer.load_state_dict(extra["optimizer"])
        learner.scaler.load_state_dict(extra["scaler"])
        restore_random_state(extra["rng"], learner.process.device)
        damaged = extra.get("damaged", torch.empty(0)).tolist()  # none in checkpoints of version 1
        counters = read_counters(extra["progress"], learner.process.world_size)
        return TrainingState(extra["step"], counters, frozenset(damaged))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{checkpoint.path}: holds no training that this version can continue ({error!r}); "
            "name another run with --run, or move the file out of the run"
        ) from error


def read_counters(progress: Mapping[str, Any], num_ranks: int) -> Counters:
    """Return the counters that a checkpoint holds; one of version 1 had as many ranks as there are now."""
    return Counters(**{"device_seconds": progress["seconds"] * num_ranks, **progress})


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's generators on the CPU and on `device`; views draw from others."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore the states that `random_state` returned, as far as this device has the generator."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
