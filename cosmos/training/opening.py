"""Opening of a training: takes the lease of a run, and resumes from the newest whole checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cosmos.config.machine import Machine
from cosmos.data.patience import wait_while_transient
from cosmos.data.readable import DamageLimit
from cosmos.distributed.exchange import on_each_rank, on_first_rank
from cosmos.distributed.whereabouts import doing
from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.model.checkpoints import Checkpoint
from cosmos.run.directory import RunDir, step_of_checkpoint
from cosmos.run.lease import Lease
from cosmos.run.metrics import read_metrics
from cosmos.training.checkpoint import (
    Retention,
    gone,
    newest_whole_checkpoint,
    read_saved_checkpoint,
    refuse_file,
    remove_leftovers,
)
from cosmos.training.evaluation_queue import EvaluationQueue, JobOfCheckpoint
from cosmos.training.progress import TrainingState
from cosmos.training.saved_state import resume_learner
from cosmos.training.saving import CheckpointWriter
from cosmos.training.signals import stop_on_signals
from cosmos.training.step import Learner
from cosmos.training.step_plan import StepPlan
from cosmos.training.trainer import ModelEvaluation, Trainer

Content = TypeVar("Content")


@dataclass(frozen=True)
class Standing:
    """Lease of a run, and the run's progress as its files have it."""

    lease: Lease
    checkpoint: Path | None
    """the newest whole one, where there is one"""
    evaluated_steps: frozenset[int]
    """steps whose evaluation is in the metrics"""
    waiting_steps: frozenset[int]
    """steps whose checkpoint waits to be evaluated beside training"""


@doing("opening of the run")
def open_training(
    run: RunDir,
    learner: Learner,
    plan: StepPlan,
    machine: Machine,
    evaluate: ModelEvaluation,
    job_of: JobOfCheckpoint,
    limit: DamageLimit,
) -> Trainer:
    """Take a run over, resume `learner` from its newest checkpoint, and return the trainer of the rest.

    It evaluates its models by `evaluate`, or has the job that `job_of` returns measure a checkpoint.

    All ranks open it together; a process that trains the run already stops at its next check of the lease.
    A checkpoint that cannot be read for now is waited for, as data is. Raises InputError for one of another
    model, DamagedDataError where none is whole, TransientError when the wait is over, Interrupted for a
    signal meanwhile, and SupersededError where another process takes the run over at the same time.
    """
    standing = on_first_rank(lambda: take_over(run, machine))
    state, retention = TrainingState(), Retention(machine.keep_checkpoints)
    if path := standing.checkpoint:
        state = on_each_rank(lambda: resume_from(path, learner, plan, machine))
        retention.checked[path] = True
    is_beside, evaluated = machine.evaluate_in == "job", standing.evaluated_steps
    queue = EvaluationQueue(standing.lease, job_of, is_beside, evaluated)
    is_due = plan.is_evaluation_due(state.step, learner.params.evaluate_every_epochs)
    cared_for = evaluated | (standing.waiting_steps if is_beside else frozenset())
    return Trainer(
        standing.lease,
        learner,
        plan,
        machine,
        evaluate,
        queue,
        state,
        owes_evaluation=is_due and state.step not in cared_for,
        has_waiting=bool(standing.waiting_steps),
        saved_step=state.step,
        limit=limit,
        writer=CheckpointWriter(standing.lease, retention, learner.process.device),
    )


def take_over(run: RunDir, machine: Machine) -> Standing:
    """Take the lease of a run, and only then read the progress of the run from its files."""
    lease = Lease.take(run)
    remove_leftovers(
        lease
    )  # of two that open the run at once, the first does not remove what the second writes
    refuse_file(run.checkpoints)
    listed = run.saved_checkpoints
    newest = wait_for(lambda: newest_whole_checkpoint(run), machine)
    if listed and newest is None:
        raise gone(listed[0])
    evaluated = frozenset(line["step"] for line in read_metrics(run.metrics) if "evaluation" in line)
    waiting = frozenset(map(step_of_checkpoint, run.unevaluated_checkpoints))
    return Standing(lease, newest.path if newest else None, evaluated, waiting)


def resume_from(path: Path, learner: Learner, plan: StepPlan, machine: Machine) -> TrainingState:
    """Read the checkpoint that the first rank found whole, and resume `learner` from it.

    Raises InputError for one of a longer run, TransientError for one that another rank sees otherwise.
    """

    def read() -> Checkpoint:
        try:
            return read_saved_checkpoint(path)
        except DamagedDataError:
            if learner.process.is_first:
                raise
            problem = (
                "damaged here, and whole where the first rank reads it; all ranks must see one runs_root"
            )
            raise TransientError(f"{path}: {problem}") from None

    state = resume_learner(learner, wait_for(read, machine))
    if state.step > plan.total_steps:
        raise InputError(
            f"{path}: of step {state.step}, and the run has {plan.total_steps}; move it out of the run"
        )
    return state


def wait_for(read: Callable[[], Content], machine: Machine) -> Content:
    """Return what `read` returns, waiting while it raises TransientError; a signal ends the wait at once."""
    with stop_on_signals() as stop, stop.obeyed_at_once("stopped before the newest checkpoint could be read"):
        return wait_while_transient(read, machine.data_wait_minutes)
