"""Opening of a training: takes the lease of a run, and resumes from the newest whole checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from cosmos.config.machine import Machine
from cosmos.data.readable import DamageLimit
from cosmos.distributed.exchange import on_every_rank, on_first_rank
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.run.metrics import read_metrics
from cosmos.training.checkpoint import (
    newest_whole_checkpoint,
    read_saved_checkpoint,
    remove_partial_checkpoints,
    resume_learner,
)
from cosmos.training.progress import StepPlan, TrainingState
from cosmos.training.step import Learner
from cosmos.training.trainer import ModelEvaluation, Trainer


@dataclass(frozen=True)
class Standing:
    """Lease of a run, and the run's progress as its files have it."""

    lease: Lease
    checkpoint: Path | None
    """the newest whole one, where there is one"""
    evaluated_steps: frozenset[int]
    """steps whose evaluation is in the metrics"""


def open_training(
    run: RunDir,
    learner: Learner,
    plan: StepPlan,
    machine: Machine,
    evaluate: ModelEvaluation,
    limit: DamageLimit,
) -> Trainer:
    """Take a run over, resume `learner` from its newest checkpoint, and return the trainer of the rest.

    All ranks open it together; a process that trains the run already stops at its next check of the lease.
    Raises InputError for a checkpoint of another model, TransientError for one that cannot be read for now,
    and SupersededError where another process takes the run over at the same time.
    """
    standing = on_first_rank(lambda: take_over(run))
    path, state = standing.checkpoint, TrainingState()
    if path:
        state = on_every_rank(lambda: resume_learner(learner, read_saved_checkpoint(path)))[0]
    is_due = plan.is_evaluation_due(state.step, learner.params.evaluate_every_epochs)
    owes_evaluation = is_due and state.step not in standing.evaluated_steps
    return Trainer(
        standing.lease, learner, plan, machine, evaluate, state, owes_evaluation, state.step, limit
    )


def take_over(run: RunDir) -> Standing:
    """Take the lease of a run, and only then read the progress of the run from its files."""
    lease = Lease.take(run)
    lease.check()  # of two that open the run at once, the first must not remove what the second writes
    remove_partial_checkpoints(run)
    newest = newest_whole_checkpoint(run)
    evaluated = frozenset(line["step"] for line in read_metrics(run.metrics) if "evaluation" in line)
    return Standing(lease, newest.path if newest else None, evaluated)
