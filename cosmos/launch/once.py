"""Launch of jobs: submitted unless that is done already, waited for, and resubmitted where that may help.

Several commands may wait for a job. Of those that see it end, one submits it again, and the others follow
that one's job: each goes by the submission that it saw end, and by the requeues that this one had left.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cosmos.errors import PreemptedError, RequeueLimitError, TransientError
from cosmos.launch.outcome import CallFailure, CallOutcome
from cosmos.launch.submission import JobSpec, Submission, recover_submission, submission_lock, submit_job
from cosmos.launch.task import requeue_limit_message
from cosmos.launch.watch import ShowText, wait_for_outcomes

RESUBMISSION_SECONDS = (30.0, 120.0, 600.0)
"""Seconds before each resubmission of a job that a disk, the network or the scheduler ended."""

JobAttempt = Callable[[CallFailure | None], list[CallOutcome]]
"""Function that submits a job, or attaches to it, and waits; after one that ended so, if it saw one end."""


def launch(spec: JobSpec, show: ShowText) -> list[CallOutcome]:
    """Run calls as jobs, several of them as an array, and wait for the outcome of each.

    The submission is on record: the same spec again finds the jobs that wait, run or have finished, and waits
    for those. Where they have ended and a call has no value, all are submitted again, as they are here where
    one was preempted for good. `show` gets the log and the states of the jobs.

    Raises InputError where the cluster refuses the job, and SlurmSilentError where it does not answer.
    """

    def attempt(ended: CallFailure | None) -> list[CallOutcome]:
        submission, is_new = submit_once(spec, ended)
        if not is_new:
            show(f"job {submission.job_id}, submitted {submission.submitted}: attached\n")
        return wait_for_outcomes(submission, show, from_start=is_new)

    return outcomes_through_preemption(attempt, spec.request.max_requeues, show)


def submit_once(spec: JobSpec, ended: CallFailure | None = None) -> tuple[Submission, bool]:
    """Submit a job unless there is one already, as of `attachable_submission`.

    Return the submission, and True where it is new. Raises the errors of `launch`.
    """
    with submission_lock(spec.record):
        submission = attachable_submission(spec.record, ended)
        return (submission, False) if submission else (submit_job(spec.after(ended)), True)


def attachable_submission(record: Path, ended: CallFailure | None = None) -> Submission | None:
    """Return the submission on record if it waits, runs or has finished; None otherwise.

    One that came after the one that `ended` was submitted in its place, and is returned in any state. For use
    inside `submission_lock`. Raises SlurmSilentError where Slurm does not answer, and NotPermittedError for
    another user's job that waits or runs.
    """
    submission = recover_submission(record)
    if submission is None:
        return None
    is_later = ended is not None and submission.token != ended.token
    if is_later or submission.is_finished() or submission.is_alive():
        submission.refuse_closed()
        return submission
    return None


def outcomes_through_preemption(
    attempt: JobAttempt, requeues: int, show: ShowText, ended: CallFailure | None = None
) -> list[CallOutcome]:
    """Return the outcomes of `attempt`, made again at once where a job was preempted for good.

    That counts as a requeue, of which there may be `requeues` in all; `show` is told.
    """
    while True:
        outcomes = attempt(ended)
        preempted = [failure for outcome in outcomes if (failure := preemption(outcome))]
        if not preempted:
            return outcomes
        ended = min(preempted, key=lambda failure: failure.requeues_left)
        if not ended.requeues_left:
            return [end_requeues(outcome, requeues) for outcome in outcomes]
        show(f"{ended.summary}; submitted again\n")


def preemption(outcome: CallOutcome) -> CallFailure | None:
    """Return the failure of a job that was preempted for good; None for any other outcome."""
    failure = outcome.failure
    return failure if failure and issubclass(failure.error, PreemptedError) else None


def end_requeues(outcome: CallOutcome, limit: int) -> CallOutcome:
    """Return the outcome, that of a preempted job as of one that was requeued as often as is allowed."""
    if not (failure := preemption(outcome)):
        return outcome
    cause = requeue_limit_message(limit)
    return CallOutcome.failed(replace(failure, cause=cause, rank=None, error=RequeueLimitError))


def outcome_with_resubmissions(attempt: JobAttempt, requeues: int, show: ShowText) -> CallOutcome:
    """Return the outcome of `attempt`, which submits a job, or attaches to it, and waits.

    It is made again where the job was preempted for good, and a few times after a while where another
    TransientError ended it; `show` is told.
    """
    ended: CallFailure | None = None
    for seconds in RESUBMISSION_SECONDS:
        (outcome,) = outcomes_through_preemption(attempt, requeues, show, ended)
        ended = outcome.failure
        if not ended or not issubclass(ended.error, TransientError):
            return outcome
        show(f"{ended.summary}; submitted again in {seconds:g} s\n")
        time.sleep(seconds)
    (outcome,) = outcomes_through_preemption(attempt, requeues, show, ended)
    return outcome
