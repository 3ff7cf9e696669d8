"""Launch: submit unless that is done already, and wait."""

from pathlib import Path

from cosmos.errors import InputError
from cosmos.launch.outcome import Outcome
from cosmos.launch.slurm import SlurmSilentError
from cosmos.launch.submission import JobSpec, Submission, alone, recall, submit
from cosmos.launch.watch import Show, wait


def launch(spec: JobSpec, show: Show) -> list[Outcome]:
    """Run calls as jobs, several of them as an array, and wait for the outcome of each.

    The submission is on record: the same spec again finds the jobs that wait, run or have finished, and waits
    for those. Where they have ended and a call has no value, all are submitted again. `show` gets text for a
    person.

    Raises InputError where the cluster refuses the job, and SlurmSilentError where it does not answer.
    """
    submission, is_new = begin(spec)
    if not is_new:
        show(f"job {submission.job_id}, submitted {submission.submitted}: attached\n")
    return wait(submission, show, from_start=is_new)


def begin(spec: JobSpec) -> tuple[Submission, bool]:
    """Return the submission on record that waits, runs or has finished, or else a new one; and if it is new.

    See `launch`, which also waits.
    """
    with alone(spec.record):
        submission = standing(spec.record)
        return (submission, False) if submission else (submit(spec), True)


def standing(record: Path) -> Submission | None:
    """The submission on record, where it is alive or finished. For use `alone`.

    Raises ValueError where the cluster does not say so.
    """
    try:
        known = recall(record)
        return known if known and (known.is_finished() or known.is_alive()) else None
    except SlurmSilentError as error:
        raise InputError(
            f"{record} tells of a job, and Slurm does not say how it stands ({error}); try again once "
            "`scontrol ping` answers"
        ) from None
