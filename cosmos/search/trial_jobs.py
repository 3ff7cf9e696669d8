"""Trials as jobs: each has a run directory and a job, like a pretraining."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from cosmos.config.disk_reading import is_dir
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.gpus import Gpu
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, Machine
from cosmos.config.params import Params
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    DivergedError,
    InputError,
    NotPermittedError,
    OutOfMemoryError,
    TransientError,
)
from cosmos.launch import slurm
from cosmos.launch.once import attachable_submission
from cosmos.launch.outcome import CallFailure
from cosmos.launch.submission import JobSpec, Submission, submission_lock, submit_job
from cosmos.launch.watch import SubmissionWatcher
from cosmos.run.dataset_version import DatasetVersion
from cosmos.run.directory import RunDir
from cosmos.search.trial_fit import refuse_unfit_trial
from cosmos.stages.evaluation_result import EvaluationResult
from cosmos.stages.jobs import attachable_job, end_evaluation, end_submission
from cosmos.stages.run_opening import open_submitted_run

logger = logging.getLogger(__name__)

SLURM_POLL_SECONDS = 10.0
"""Seconds between attempts to reach a Slurm that does not answer."""

HOPELESS_ERRORS = (InputError, DamagedDataError, DivergedError)
"""Classes of errors that the same parameters would meet again."""


@dataclass(frozen=True)
class TrialCall:
    """Call that a trial's job makes: it pretrains, to its end or a rung, and measures the objectives."""

    params: Params
    machine: Machine
    path: Path
    suites: tuple[SuiteName, ...]
    dataset: DatasetVersion
    until: int = 0
    """epochs after which it pauses, which its evaluations while training have measured; 0: at its end"""

    def __call__(self) -> dict[str, Any]:
        """Run the stages; return the outcome of training, and the epochs after which it pauses.

        Raises their errors, and those of `raise_unmeasured`.
        """
        from cosmos.stages.evaluate import evaluate
        from cosmos.stages.pretrain import pretrain
        from cosmos.tracking.mirror import mirroring

        with mirroring(RunDir(self.path), self.machine.wandb):
            trained = pretrain(self.params, self.machine, self.path, self.dataset, until=self.until)
            if self.suites and not self.until:
                evaluated = evaluate(self.suites, self.params, self.machine, self.path, "", True)
                raise_unmeasured(evaluated)
        return {**trained, "until": self.until}


def raise_unmeasured(evaluated: EvaluationResult) -> None:
    """Raise an error for datasets that were not measured.

    TransientError where a disk failed, NotPermittedError where one may not be read, InputError for others,
    since another attempt would not measure them either: they are missing or damaged.
    """
    try:
        evaluated.raise_problems()
    except TransientError:
        raise
    except CosmosError as error:
        raise (NotPermittedError if evaluated.is_forbidden else InputError)(str(error)) from None


@dataclass(frozen=True)
class TrialJobState:
    """State of a trial's job."""

    state: Literal["running", "finished", "dead"]
    job: str = ""
    """id of the job"""
    attempts: int = 0
    """number of jobs that were submitted for the trial so far"""
    reason: str = ""
    """reason of its death, in a line"""
    error: type[CosmosError] = CosmosError
    """class of the error that it died of, which decides what follows"""
    requeues_left: int = 0
    """times that it may be started again after a preemption"""

    @property
    def is_transient(self) -> bool:
        """True when a disk, the network or the scheduler ended it: it goes on from its save."""
        return issubclass(self.error, TransientError)

    @property
    def is_forbidden(self) -> bool:
        """True when it lacked permissions for a file, or the disk could only be read by then."""
        return issubclass(self.error, NotPermittedError)

    @property
    def is_hopeless(self) -> bool:
        """True when another attempt with the same parameters would end as this one did."""
        return issubclass(self.error, HOPELESS_ERRORS)


class TrialRunner(Protocol):
    """Interface of the object that runs trials for the controller."""

    @property
    def num_ranks(self) -> int:
        """Number of processes of a trial."""

    def start(self, run: RunDir, params: Params, until: int) -> TrialJobState:
        """Start a trial, unless its job is alive or has finished, and return its state.

        `until`: epochs after which its job ends, as finished, and the trial is paused; 0: at its end.
        """

    def state(self, run: RunDir) -> TrialJobState:
        """Return the state of a trial that was started here."""

    def stop(self, run: RunDir) -> bool:
        """End the job of a trial, whoever started it; return True if one was alive. Its saves stay."""


@dataclass
class TrialJobs:
    """Trials as jobs of Slurm or of this machine."""

    machine: Machine
    cluster: ClusterName
    """cluster, resolved: never auto"""
    request: JobRequest
    suites: tuple[SuiteName, ...]
    dataset: DatasetVersion
    """data of all trials"""
    gpu: Gpu | None = None
    """kind of GPU of the jobs by the settings of the machine; None: not known, so that none is refused"""
    watchers: dict[Path, SubmissionWatcher] = field(default_factory=dict)
    ended: dict[Path, CallFailure] = field(default_factory=dict)
    """failures of the jobs of trials that died"""
    refused: dict[Path, TrialJobState] = field(default_factory=dict)
    """states of trials that do not fit on the GPU, and were not submitted"""

    @property
    def num_ranks(self) -> int:
        """Number of processes of a trial."""
        return self.request.num_ranks

    def start(self, run: RunDir, params: Params, until: int) -> TrialJobState:
        """Start a trial, unless its job is alive or has finished, and return its state.

        One that does not fit on the GPU is dead at once. InputError where the data has changed since the
        sweep began or the cluster refuses the job, TransientError where it does not answer.
        """
        open_submitted_run(params, self.machine, run.path, self.dataset)
        if self.gpu and (reason := refuse_unfit_trial(params, self.machine, self.request, self.gpu)):
            self.refused[run.path] = TrialJobState("dead", reason=reason, error=OutOfMemoryError)
            return self.state(run)
        if self.cluster == "slurm":
            wait_for_slurm()
        call = TrialCall(params, self.machine, run.path, self.suites, self.dataset, until)
        label = f"cosmos-{run.path.parent.name}-{run.path.name}"
        spec = JobSpec([call], self.request, self.cluster, run.job, label)
        submission = submit_trial(spec, until, self.ended.get(run.path))
        self.watchers[run.path] = SubmissionWatcher(submission)
        return self.state(run)

    def state(self, run: RunDir) -> TrialJobState:
        """Return the state of a trial; one whose scheduler does not answer is taken to run."""
        if refused := self.refused.get(run.path):
            return refused
        watcher = self.watchers[run.path]
        job, attempts = watcher.submission.job_id, count_submissions(run)
        if not watcher.has_ended():
            return TrialJobState("running", job, attempts)
        (outcome,) = watcher.outcomes()
        if not (failure := outcome.failure):
            self.ended.pop(run.path, None)
            return TrialJobState("finished", job, attempts)
        self.ended[run.path] = failure
        return TrialJobState("dead", job, attempts, failure.summary, failure.error, failure.requeues_left)

    def stop(self, run: RunDir) -> bool:
        """End the job of a trial; return True if one was alive. TransientError where Slurm is silent."""
        return bool(end_run_job(run))


def submit_trial(spec: JobSpec, until: int, ended: CallFailure | None = None) -> Submission:
    """Submit the job of a trial, unless there is one that trains, or has trained, up to `until`.

    `ended`: the failure of a job that it takes the place of.
    """
    with submission_lock(spec.record):
        submission = attachable_submission(spec.record, ended)
        if submission is None:
            return submit_job(spec.after(ended))
        return submit_job(spec) if has_paused_before(submission, until) else submission


def has_paused_before(submission: Submission, until: int) -> bool:
    """Return True for a job that has trained up to a rung, and not up to `until` epochs; 0: to the end."""
    if not submission.is_finished():
        return False
    value = submission.calls[0].value()
    epochs = value.get("until") if isinstance(value, dict) else None  # none in jobs of earlier versions
    return isinstance(epochs, int) and epochs > 0 and (until == 0 or epochs < until)


def end_run_job(run: RunDir) -> str:
    """End the jobs of a run; return the id of its own, "" where that was not alive.

    TransientError where Slurm is silent.
    """
    submission = attachable_job(run)
    was_alive = submission is not None and end_submission(submission)
    end_evaluation(run)
    return submission.job_id if submission and was_alive else ""


def wait_for_slurm() -> None:
    """Wait while the Slurm of this machine does not answer: a sweep of days outlives a restart of it."""
    if not slurm.is_configured() or slurm.answers():
        return
    logger.warning("Slurm does not answer (`scontrol ping`); trials are submitted once it does")
    while not slurm.answers():
        time.sleep(SLURM_POLL_SECONDS)


def count_submissions(run: RunDir) -> int:
    """Return the number of jobs that a run was submitted as so far."""
    return sum(1 for path in run.jobs.iterdir() if is_dir(path)) if is_dir(run.jobs) else 0
