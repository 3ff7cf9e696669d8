"""Submissions: a job is on record before it is submitted, and is found again by its record."""

import json
import logging
import pickle
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName
from cosmos.errors import DamagedDataError, InputError
from cosmos.launch.clusters import Cluster, open_cluster, resolve_cluster
from cosmos.launch.outcome import CallFiles
from cosmos.launch.slurm import JobState, SlurmSilentError
from cosmos.launch.task import Task, code_folder
from cosmos.run import provenance
from cosmos.run.files import file_label, holding_lock, write_json, write_text

logger = logging.getLogger(__name__)

IN_FLIGHT = 60.0
"""Seconds after which a submission that was begun and is not in the queue never reached it."""

Call = Callable[[], Any]
"""Stage call that can be pickled: functools.partial of a function, or a dataclass with `__call__`."""


@dataclass(frozen=True)
class JobSpec:
    """Job, or array of jobs, to be submitted: what it runs, where, and where that is on record."""

    calls: Sequence[Call]
    """one: a job; several: an array"""
    request: JobRequest
    cluster: ClusterName
    record: Path
    """file of the submission: one record stands for one set of calls"""
    folder: Path
    """folder in which the submission gets a folder of its own, for what jobs need and leave"""
    label: str
    """beginning of the job's name in the queue; the token follows"""


@dataclass(frozen=True)
class Submission:
    """Job, or array of jobs, that was submitted; job.json in JSON."""

    cluster: ClusterName
    token: str
    """unique: the job's folder and its name in the queue end in it"""
    name: str
    """the job's name in the queue"""
    folder: Path
    """script, logs, code and what the calls leave"""
    num_calls: int
    max_requeues: int
    submitted: str
    """UTC, ISO"""
    host: str
    """the machine that submitted it"""
    job_id: str
    """"" from before it is submitted until its id is known"""

    @property
    def calls(self) -> list[CallFiles]:
        """Files of each call."""
        return [CallFiles(self.folder, index) for index in range(self.num_calls)]

    @property
    def on(self) -> Cluster:
        """Cluster that it runs on. Raises InputError for processes of another machine."""
        if self.cluster == "local" and self.host != socket.gethostname():
            raise InputError(f"job {self.job_id} is a process of {self.host}; ask there")
        return open_cluster(self.cluster)

    def states(self) -> list[JobState]:
        """Return the state of each call's job. Raises SlurmSilentError where Slurm does not answer."""
        return self.on.states(self.job_id, self.name, self.num_calls)

    def is_finished(self) -> bool:
        """Return True when every call has returned."""
        return all(call.has_value() for call in self.calls)

    def num_failures(self) -> int:
        """Return the number of ranks that have left a failure."""
        return sum(1 for _ in self.folder.glob("failure-*.json"))

    def is_alive(self) -> bool:
        """Return True when a job of it waits or runs. Raises SlurmSilentError where Slurm does not answer."""
        return not all(state.is_final for state in self.states())

    def cancel(self) -> None:
        """End the job. Raises InputError if that is refused, SlurmSilentError if Slurm does not answer."""
        self.on.cancel(self.job_id, self.name)


def read_submission(record: Path) -> Submission | None:
    """Return the submission on record; None without one. Raises DamagedDataError for a damaged record."""
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        return Submission(**{**values, "folder": Path(values["folder"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedDataError(
            f"{record}: not a record of a job ({error}); look for the job with squeue, then delete the file"
        ) from None


def submit_job(spec: JobSpec) -> Submission:
    """Submit one job or array, on record from before it begins.

    Raises InputError where it is refused, and SlurmSilentError where Slurm does not answer: the record is
    then as it was before, unless the job may be in the queue all the same.
    """
    submission = new_submission(spec)
    before = spec.record.read_text(encoding="utf-8") if spec.record.exists() else ""
    write_submission(spec.record, submission)
    tasks = [
        Task(pickle.dumps(call), files, spec.record.absolute(), submission.token, submission.max_requeues)
        for call, files in zip(spec.calls, submission.calls, strict=True)
    ]
    try:
        job_id = submission.on.submit(tasks, spec.request, submission.name, submission.folder)
    except Exception:
        if not is_in_queue(submission):
            restore_record(spec.record, before)
        raise
    submission = replace(submission, job_id=job_id)
    write_submission(spec.record, submission)
    return submission


def new_submission(spec: JobSpec) -> Submission:
    """Make a submission's folder, with a copy of the code in it, and return the submission, without an id."""
    token = secrets.token_hex(4)
    folder = (spec.folder / token).absolute()
    if "%" in str(folder):
        raise InputError(f"{spec.folder}: Slurm gives % a meaning in paths; name a folder without")
    folder.mkdir(parents=True)
    folder.chmod(0o700)  # calls are pickled there, and with them the machine's settings
    provenance.freeze_code(code_folder(folder))
    return Submission(
        resolve_cluster(spec.cluster),
        token,
        f"{file_label(spec.label)}-{token}",
        folder,
        len(spec.calls),
        spec.request.max_requeues,
        datetime.now(UTC).isoformat(timespec="seconds"),
        socket.gethostname(),
        "",
    )


def is_in_queue(submission: Submission) -> bool:
    """Return True when a job may be in the queue although sbatch failed: it may not have waited for it."""
    try:
        return bool(submission.on.find(submission.name))
    except SlurmSilentError:
        return True


def write_submission(record: Path, submission: Submission) -> None:
    """Write a submission into its record."""
    write_json(record, {**asdict(submission), "folder": str(submission.folder)})


def restore_record(record: Path, text: str) -> None:
    """Put back the record as it was before a submission that was refused; "" stands for none."""
    if text:
        write_text(record, text)
    else:
        record.unlink()


def recover_submission(record: Path) -> Submission | None:
    """Return the submission on record, with its job's id; None without one, or if it never reached the queue.

    A command that was killed between submitting and writing the id down leaves a record without one: the job
    is then found by its name.
    """
    submission = read_submission(record)
    if submission is None or submission.job_id:
        return submission
    logger.warning("%s: a submission was cut short; looking for its job, for a minute at most", record)
    while True:
        if job_id := submission.on.find(submission.name):
            submission = replace(submission, job_id=job_id)
            name_pickled_calls(submission)
            write_submission(record, submission)
            return submission
        if not 0 <= submission_age(submission) <= IN_FLIGHT:
            return None
        time.sleep(1)


def submission_age(submission: Submission) -> float:
    """Return the seconds since a submission was begun."""
    return (datetime.now(UTC) - datetime.fromisoformat(submission.submitted)).total_seconds()


def name_pickled_calls(submission: Submission) -> None:
    """Give pickled calls the names under which the job reads them, as submitit does after submitting."""
    job_id, is_array = submission.job_id, submission.num_calls > 1
    names = [
        f"{job_id}_{i}_submitted.pkl" if is_array else f"{job_id}_submitted.pkl"
        for i in range(submission.num_calls)
    ]
    missing = [name for name in names if not (submission.folder / name).exists()]
    unnamed = sorted(
        (path for path in submission.folder.glob("*.pkl") if len(path.stem) == 32),
        key=lambda path: path.stat().st_mtime_ns,
    )
    for name, path in zip(missing, unnamed, strict=False):
        path.rename(submission.folder / name)


@contextmanager
def submission_lock(record: Path) -> Iterator[None]:
    """Hold the lock of a record: one command at a time decides whether to submit, the others wait.

    The lock ends with the process. File systems without locks do without: the record's token still lets only
    one of two jobs run.
    """
    with holding_lock(record.with_suffix(".lock")):
        yield
