"""Where trials run: each is a run directory and a job, as a pretraining is."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, Machine
from cosmos.config.params import Params
from cosmos.errors import DamagedDataError, DivergedError, InputError
from cosmos.launch import slurm
from cosmos.launch.once import submit_once
from cosmos.launch.outcome import CallFailure
from cosmos.launch.submission import JobSpec
from cosmos.launch.watch import SubmissionWatcher
from cosmos.run.directory import RunDir, open_run
from cosmos.stages.evaluate_jobs import in_short
from cosmos.stages.pretrain_job import end, standing_job

logger = logging.getLogger(__name__)

SILENCE = 10.0
"""Seconds between looks whether Slurm answers again."""

HOPELESS = (InputError, DamagedDataError, DivergedError)
"""Classes of errors that the same parameters would meet again."""


@dataclass(frozen=True)
class TrialCall:
    """The stage call that a trial's job gets: pretrains, and measures the objectives."""

    params: Params
    machine: Machine
    path: Path
    suites: tuple[SuiteName, ...]

    def __call__(self) -> dict[str, Any]:
        """Runs the stages. ValueError where not everything could be measured."""
        from cosmos.stages.evaluate import evaluate
        from cosmos.stages.pretrain import pretrain
        from cosmos.tracking.mirror import mirroring

        with mirroring(RunDir(self.path), self.machine.wandb):
            trained = pretrain(self.params, self.machine, self.path)
            if self.suites:
                evaluated = evaluate(self.suites, self.params, self.machine, self.path, "", True)
                if evaluated.problems:
                    raise InputError("\n  ".join(["not everything was measured:", *evaluated.problems]))
        return trained


@dataclass(frozen=True)
class Standing:
    """How a trial's job stands."""

    state: Literal["running", "finished", "dead"]
    job: str = ""
    """its id"""
    attempts: int = 0
    """jobs that were submitted for the trial so far"""
    why: str = ""
    """why it is dead, in a line"""
    is_hopeless: bool = False
    """whether another attempt would end as this one"""


class Workplace(Protocol):
    """Runs trials."""

    @property
    def num_ranks(self) -> int:
        """Processes of a trial."""

    def start(self, run: RunDir, params: Params) -> Standing:
        """Sees that a trial runs: one whose job is alive or has finished is left as it is."""

    def look(self, run: RunDir) -> Standing:
        """How a trial that was started here stands."""

    def stop(self, run: RunDir) -> bool:
        """Ends what runs of a trial, whoever started it; whether it did. What it saved stays."""


@dataclass
class Jobs:
    """Trials as jobs, of Slurm or of this machine."""

    machine: Machine
    cluster: ClusterName
    """resolved"""
    request: JobRequest
    suites: tuple[SuiteName, ...]
    watchers: dict[Path, SubmissionWatcher] = field(default_factory=dict)

    @property
    def num_ranks(self) -> int:
        """Processes of a trial."""
        return self.request.num_ranks

    def start(self, run: RunDir, params: Params) -> Standing:
        """Sees that a trial runs. ValueError where its job is refused, or nobody says how it stands."""
        open_run(run.path, params)
        if self.cluster == "slurm":
            await_slurm()
        call = TrialCall(params, self.machine, run.path, self.suites)
        label = f"cosmos-{run.path.parent.name}-{run.path.name}"
        submission, _ = submit_once(JobSpec([call], self.request, self.cluster, run.job, run.jobs, label))
        self.watchers[run.path] = SubmissionWatcher(submission)
        return self.look(run)

    def look(self, run: RunDir) -> Standing:
        """How a trial stands; one whose scheduler is silent is taken to run."""
        watcher = self.watchers[run.path]
        job, attempts = watcher.submission.job_id, num_submissions(run)
        if not watcher.has_ended():
            return Standing("running", job, attempts)
        (outcome,) = watcher.outcomes()
        if not outcome.failure:
            return Standing("finished", job, attempts)
        return Standing("dead", job, attempts, in_short(outcome.failure), is_hopeless(outcome.failure))

    def stop(self, run: RunDir) -> bool:
        """Ends a trial's job, where one is alive; whether it did. ValueError where nobody can say."""
        return end_job(run)


def end_job(run: RunDir) -> bool:
    """Ends the job of a run, where one is alive; whether it did. ValueError where nobody can say."""
    known = standing_job(run)
    return known is not None and end(known)


def await_slurm() -> None:
    """Waits while the Slurm of this machine does not answer: a sweep of days outlives a restart of it."""
    if not slurm.is_configured() or slurm.answers():
        return
    logger.warning("Slurm does not answer (`scontrol ping`); trials are submitted once it does")
    while not slurm.answers():
        time.sleep(SILENCE)


def num_submissions(run: RunDir) -> int:
    """Jobs that a run was submitted as so far."""
    return sum(1 for path in run.jobs.iterdir() if path.is_dir()) if run.jobs.is_dir() else 0


def is_hopeless(failure: CallFailure) -> bool:
    """Return True when the same parameters would fail again: it was not the machine."""
    return issubclass(failure.error, HOPELESS)
