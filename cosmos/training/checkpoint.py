"""Save and resume: a checkpoint in the published format that also holds everything a resumed run needs."""

import logging
from pathlib import Path
from typing import Any

import torch

from cosmos.model import checkpoints
from cosmos.run.directory import RunDir
from cosmos.run.files import replacing, write_text
from cosmos.run.lease import Lease
from cosmos.training.step import Learner

logger = logging.getLogger(__name__)


def save_checkpoint(
    lease: Lease, learner: Learner, step: int, epoch: int, keep: int, progress: dict[str, Any]
) -> Path:
    """Writes the state after `step` steps, points `latest` at it, and drops all but the newest `keep`.

    `progress` is the position in the data and the counters of the run. A kill at any moment leaves the old
    checkpoint or the new one, whole. Raises SupersededError, and changes nothing, where the lease is lost.
    """
    run = lease.run
    path = run.checkpoint(step)
    lease.check()
    with replacing(path) as temporary:
        checkpoints.write_checkpoint(
            temporary,
            learner.student,
            learner.teacher,
            learner.config,
            name=run.path.name,
            epoch=epoch,
            step=step,
            optimizer=learner.optimizer.state_dict(),
            scaler=learner.scaler.state_dict(),
            rng=random_state(learner.ranks.device),
            progress=progress,
        )
        lease.check()  # again: large files take their time, and the run must not get a checkpoint from ahead
    write_text(run.latest, path.name + "\n")
    for old in run.saved_checkpoints[keep:]:
        old.unlink()
    return path


def remove_partial_checkpoints(run: RunDir) -> None:
    """Removes what is left of checkpoints in whose midst a process was killed."""
    for path in run.checkpoints.glob(".step-*.tmp"):
        path.unlink(missing_ok=True)


def newest_whole_checkpoint(run: RunDir) -> checkpoints.Checkpoint | None:
    """The newest checkpoint that can be read; None where there is none. Damaged ones are named and passed."""
    for path in run.saved_checkpoints:
        try:
            return checkpoints.read_checkpoint(path)
        except ValueError as error:
            logger.warning("passing over a damaged checkpoint: %s", error)
    return None


def resume_learner(learner: Learner, checkpoint: checkpoints.Checkpoint) -> None:
    """Puts weights, teacher, optimiser, scaler and random state back as they were saved."""
    checkpoints.load_state(learner.student, checkpoint.student, f"{checkpoint.path}: student")
    checkpoints.load_state(learner.teacher, checkpoint.teacher, f"{checkpoint.path}: teacher")
    learner.optimizer.load_state_dict(checkpoint.extra["optimizer"])
    learner.scaler.load_state_dict(checkpoint.extra["scaler"])
    restore_random_state(checkpoint.extra["rng"], learner.ranks.device)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """State of torch's generators on the CPU and on `device`; views draw from generators of their own."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Puts `random_state` back, as far as this device has the generator."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
