"""Submissions: a job is on record before it is submitted, and is found again by its record."""

import logging
import os
import pwd
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints

from cosmos.config.disk_reading import exists, find_paths, is_file, path_status
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, JobCluster
from cosmos.errors import InputError, NotPermittedError, PreemptedError
from cosmos.launch.clusters import Cluster, open_cluster, resolve_cluster
from cosmos.launch.outcome import CallFailure, CallFiles
from cosmos.launch.pickled_call import dump_calls
from cosmos.launch.slurm import JobState, SlurmSilentError
from cosmos.launch.task import Task, code_folder
from cosmos.run import provenance
from cosmos.run.files import file_label, holding_lock, write_json, write_text
from cosmos.run.records import read_record

logger = logging.getLogger(__name__)

IN_FLIGHT: dict[ClusterName, float] = {"slurm": 60.0, "local": 2.0}
"""Seconds after which a submission that was begun and is not in the queue never reached it; 0 for others."""

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
    label: str
    """beginning of the job's name in the queue; the token follows"""
    subject: str = ""
    """suites, checkpoints or step that it evaluates, for people; "" of other jobs"""

    def after(self, ended: CallFailure | None) -> Self:
        """Return this job, to follow one that ended; after a preemption, with the requeues that are left."""
        if ended is None or not issubclass(ended.error, PreemptedError):
            return self
        left = {"max_requeues": ended.requeues_left - 1}
        return replace(self, request=self.request.model_copy(update=left))


def _check_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


@dataclass(frozen=True)
class SubmissionRecord:
    """Record of a job, or an array of jobs, that was submitted: job.json in JSON."""

    cluster: JobCluster
    token: Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}$")]
    """unique: the job's folder and its name in the queue end in it"""
    name: str
    """the job's name in the queue"""
    num_calls: Annotated[int, Field(ge=1, le=100_000)]
    max_requeues: Annotated[int, Field(ge=0)]
    submitted: Annotated[str, AfterValidator(_check_time)]
    """UTC, ISO"""
    host: str
    """the machine that submitted it"""
    job_id: Annotated[str, StringConstraints(pattern=r"^([^\W_][\w.-]*)?$")]
    """"" from before it is submitted until its id is known"""
    subject: str = field(default="", kw_only=True)
    """suites, checkpoints or step that it evaluates, for people; "" of other jobs, and in older records"""
    place: str = field(default="", kw_only=True)
    """path at which the record was written; "" in older records"""

    def is_copied_to(self, record: Path) -> bool:
        """Return True for a copy of the record: another file is where it was written.

        A run that was moved has left nothing there, and its job is still its own.
        """
        written = Path(self.place)
        if self.place in ("", str(record.absolute())):
            return False
        try:
            return is_file(written) and not written.samefile(record)
        except OSError:  # in a folder of somebody else, or on a disk that is gone
            return True


@dataclass(frozen=True)
class Submission(SubmissionRecord):
    """Job, or array of jobs, that was submitted, and the folder of its files."""

    folder: Path
    """script, logs, code and what the calls leave; it follows from the record's place, so that runs may be
    moved, and no record names a folder of somebody else"""

    @property
    def calls(self) -> list[CallFiles]:
        """Files of each call."""
        return [CallFiles(self.folder, index) for index in range(self.num_calls)]

    @property
    def on(self) -> Cluster:
        """Cluster that it runs on. Raises InputError for processes of another machine."""
        if self.cluster == "local" and self.host != socket.gethostname():
            remedy = (
                f"where that is gone, or this is a copy, delete the job's record in {self.folder.parents[1]}"
            )
            raise InputError(f"job {self.job_id} is a process of {self.host}; ask there, or {remedy}")
        return open_cluster(self.cluster)

    def states(self) -> list[JobState]:
        """Return the state of each call's job. Raises SlurmSilentError where Slurm does not answer."""
        return self.on.states(self.job_id, self.name, self.num_calls)

    @property
    def closed(self) -> str:
        """Reason for which its files are closed to this user, who is not the one that submitted it; or ""."""
        status = path_status(self.folder)
        if status is None or os.access(self.folder, os.R_OK | os.X_OK):
            return ""
        return f"{self.folder}: job {self.job_id} is one of {user_name(status.st_uid)} and closed to others"

    def refuse_closed(self) -> None:
        """Raise NotPermittedError for another user's job, which this one can neither follow nor end."""
        if self.closed:
            raise NotPermittedError(f"{self.closed}; ask for it to be followed or ended, or name another run")

    def is_finished(self) -> bool:
        """Return True when every call has returned; False where that is closed to this user."""
        return not self.closed and all(call.has_value() for call in self.calls)

    def num_failures(self) -> int:
        """Return the number of ranks that have left a failure."""
        return len(find_paths(self.folder, "failure-*.json"))

    def is_alive(self) -> bool:
        """Return True when a job of it waits or runs. Raises SlurmSilentError where Slurm does not answer."""
        return not all(state.is_final for state in self.states())

    def cancel(self) -> None:
        """End the job. Raises InputError if that is refused, SlurmSilentError if Slurm does not answer."""
        self.on.cancel(self.job_id, self.name)


def user_name(number: int) -> str:
    """Return the name of a user, or else the number."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def read_submission(record: Path) -> Submission | None:
    """Return the submission on record; None without one. Raises DamagedDataError for a damaged record.

    The job of a run that was copied is the original's: it trains there, and the copy has none.
    """
    remedy = "look for the job with squeue, then delete the file"
    try:
        written = read_record(record, SubmissionRecord, "record of a job", remedy)
        if written.is_copied_to(record):
            return None
    except FileNotFoundError:
        return None
    return Submission(**vars(written), folder=jobs_folder(record) / written.token)


def jobs_folder(record: Path) -> Path:
    """Return the folder of the submissions of a record: jobs/ beside a job.json, or else the record's own."""
    return (record.parent / "jobs" if record.name == "job.json" else record.parent).absolute()


def submit_job(spec: JobSpec) -> Submission:
    """Submit one job or array, on record from before it begins.

    Raises InputError where it is refused, and SlurmSilentError where Slurm does not answer: the record is
    then as it was before, unless the job may be in the queue all the same.
    """
    submission = new_submission(spec)
    before = spec.record.read_text(encoding="utf-8") if exists(spec.record) else ""
    write_submission(spec.record, submission)
    pickled, environment = dump_calls(spec.calls)
    tasks = [
        Task(call, files, spec.record.absolute(), submission.token, submission.max_requeues)
        for call, files in zip(pickled, submission.calls, strict=True)
    ]
    try:
        job_id = submission.on.submit(tasks, spec.request, submission.name, submission.folder, environment)
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
    folder = jobs_folder(spec.record) / token
    make_private_folder(folder)
    provenance.freeze_code(code_folder(folder))
    return Submission(
        resolve_cluster(spec.cluster),
        token,
        f"{file_label(spec.label)}-{token}",
        len(spec.calls),
        spec.request.max_requeues,
        datetime.now(UTC).isoformat(timespec="seconds"),
        socket.gethostname(),
        "",
        folder,
        subject=spec.subject,
        place=str(spec.record.absolute()),
    )


PATH_SIGNS = ("%", "\\", ":")
"""Characters with a meaning in paths of jobs: of logs for Slurm, of the code for Python (PYTHONPATH)."""


def make_private_folder(folder: Path) -> None:
    """Make a folder into which nobody else can write: a job runs the code and unpickles the call in it.

    Raises InputError for a name that the job would take otherwise, and where the file system keeps no
    permissions.
    """
    if signs := " and ".join(sign for sign in PATH_SIGNS if sign in str(folder)):
        raise InputError(f"{folder.parent}: a job takes {signs} in paths otherwise; name a folder without")
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise InputError(
            f"{folder}: others can write there, since this file system keeps no permissions, and a job would "
            "run what they write; set COSMOS_RUNS_ROOT to a folder on another"
        )


def is_in_queue(submission: Submission) -> bool:
    """Return True when a job may be in the queue although sbatch failed: it may not have waited for it."""
    try:
        return bool(submission.on.find(submission.name))
    except SlurmSilentError:
        return True


def write_submission(record: Path, submission: Submission) -> None:
    """Write a submission into its record."""
    write_json(record, {key: value for key, value in asdict(submission).items() if key != "folder"})


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
    longest = IN_FLIGHT.get(submission.cluster, 0.0)
    logger.warning("%s: a submission was cut short; looking for its job, for %g s at most", record, longest)
    while True:
        if job_id := submission.on.find(submission.name):
            submission = replace(submission, job_id=job_id)
            name_pickled_calls(submission)
            write_submission(record, submission)
            return submission
        if not 0 <= submission_age(submission) <= longest:
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
    missing = [name for name in names if not exists(submission.folder / name)]
    unnamed = sorted(
        (path for path in find_paths(submission.folder, "*.pkl") if len(path.stem) == 32),
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
