"""Launch of jobs: submitted unless that is done already, waited for, and resubmitted where that may help."""

import time
from collections.abc import Callable
from pathlib import Path

from cosmos.errors import TransientError
from cosmos.launch.outcome import CallOutcome
from cosmos.launch.submission import JobSpec, Submission, recover_submission, submission_lock, submit_job
from cosmos.launch.watch import ShowText, wait_for_outcomes

RESUBMISSION_SECONDS = (30.0, 120.0, 600.0)
"""Seconds before each resubmission of a job that a disk, the network or the scheduler ended."""


def launch(spec: JobSpec, show: ShowText) -> list[CallOutcome]:
    """Run calls as jobs, several of them as an array, and wait for the outcome of each.

    The submission is on record: the same spec again finds the jobs that wait, run or have finished, and waits
    for those. Where they have ended and a call has no value, all are submitted again. `show` gets the log and
    the states of the jobs.

    Raises InputError where the cluster refuses the job, and SlurmSilentError where it does not answer.
    """
    submission, is_new = submit_once(spec)
    if not is_new:
        show(f"job {submission.job_id}, submitted {submission.submitted}: attached\n")
    return wait_for_outcomes(submission, show, from_start=is_new)


def submit_once(spec: JobSpec) -> tuple[Submission, bool]:
    """Submit a job unless the one on record waits, runs or has finished.

    Return the submission, and True where it is new. Raises the errors of `launch`.
    """
    with submission_lock(spec.record):
        submission = attachable_submission(spec.record)
        return (submission, False) if submission else (submit_job(spec), True)


def attachable_submission(record: Path) -> Submission | None:
    """Return the submission on record if it waits, runs or has finished; None otherwise.

    For use inside `submission_lock`. Raises SlurmSilentError where Slurm does not answer.
    """
    submission = recover_submission(record)
    return submission if submission and (submission.is_finished() or submission.is_alive()) else None


def outcome_with_resubmissions(attempt: Callable[[], CallOutcome], show: ShowText) -> CallOutcome:
    """Return the outcome of `attempt`, which submits a job, or attaches to it, and waits.

    It is made again after a while, a few times, where a TransientError ended the job; `show` is told.
    """
    for seconds in RESUBMISSION_SECONDS:
        outcome = attempt()
        if not outcome.failure or not issubclass(outcome.failure.error, TransientError):
            return outcome
        show(f"{outcome.failure.summary}; submitted again in {seconds:g} s\n")
        time.sleep(seconds)
    return attempt()
