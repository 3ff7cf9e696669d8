"""Launch: submit unless that is done already, and wait."""

from collections.abc import Sequence
from pathlib import Path

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName
from cosmos.errors import InputError
from cosmos.launch.clusters import resolve
from cosmos.launch.outcome import Outcome
from cosmos.launch.slurm import SlurmSilentError
from cosmos.launch.submission import Call, Submission, alone, recall, submit
from cosmos.launch.watch import Show, wait


def launch(
    calls: Sequence[Call],
    request: JobRequest,
    cluster: ClusterName,
    record: Path,
    folder: Path,
    label: str,
    show: Show,
) -> list[Outcome]:
    """Runs `calls`, several of them as an array, and waits for how each of them ends.

    The submission is on record in the file `record`: the same call again finds the jobs that wait, run or
    have finished, and waits for those. Where they have ended and a call has no value, all are submitted
    again. What jobs need and leave is below `folder`; `label` is in their names in the queue; `show` gets
    text for a person.

    A record stands for its calls: whoever changes them takes another, or deletes it. Raises ValueError where
    the cluster refuses the job or does not answer.
    """
    submission, is_new = begin(calls, request, resolve(cluster), record, folder, label)
    if not is_new:
        show(f"job {submission.job_id}, submitted {submission.submitted}: attached\n")
    return wait(submission, show, from_start=is_new)


def begin(
    calls: Sequence[Call], request: JobRequest, cluster: ClusterName, record: Path, folder: Path, label: str
) -> tuple[Submission, bool]:
    """The submission on record that waits, runs or has finished, or else a new one; and whether it is new.

    `cluster` is resolved; see `launch`, which also waits.
    """
    with alone(record):
        known = standing(record)
        return known or submit(calls, request, cluster, record, folder, label), not known


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
