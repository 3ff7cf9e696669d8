"""Submitting once: what was submitted is on record before it can be lost, and is found again."""

import fcntl
import json
import logging
import pickle
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName
from cosmos.errors import CosmosError, InputError
from cosmos.launch.clusters import Cluster, cluster_of, resolve
from cosmos.launch.outcome import CallFiles
from cosmos.launch.slurm import JobState, SlurmSilentError
from cosmos.launch.task import Task, code_folder
from cosmos.run import provenance
from cosmos.run.directory import checkpoint_label
from cosmos.run.files import write_json, write_text

logger = logging.getLogger(__name__)

IN_FLIGHT = 60.0
"""Seconds within which a submission that was begun shows up in the queue, or never will."""

Call = Callable[[], Any]
"""A stage call that can be pickled: functools.partial of a function, or a dataclass with `__call__`."""


@dataclass(frozen=True)
class JobSpec:
    """Job, or array of jobs, to be submitted: what it runs, where, and where that is on record."""

    calls: Sequence[Call]
    """one: a job; several: an array"""
    request: JobRequest
    cluster: ClusterName
    record: Path
    """file that says what was submitted: one record stands for one set of calls"""
    folder: Path
    """folder in which the submission gets a folder of its own, for what jobs need and leave"""
    label: str
    """part of the job's name in the queue that people know"""


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
        """The files of each call."""
        return [CallFiles(self.folder, index) for index in range(self.num_calls)]

    @property
    def on(self) -> Cluster:
        """Where it runs. ValueError for processes of another machine, of which nothing is known here."""
        if self.cluster == "local" and self.host != socket.gethostname():
            raise InputError(f"job {self.job_id} is a process of {self.host}; ask there")
        return cluster_of(self.cluster)

    def look(self) -> list[JobState]:
        """How it stands, by call. SlurmSilentError when nobody can say."""
        return self.on.look(self.job_id, self.name, self.num_calls)

    def is_finished(self) -> bool:
        """Whether every call has returned."""
        return all(call.has_value() for call in self.calls)

    def num_failures(self) -> int:
        """Ranks that have left a failure."""
        return sum(1 for _ in self.folder.glob("failure-*.json"))

    def is_alive(self) -> bool:
        """Whether something of it waits or runs. SlurmSilentError when nobody can say."""
        return not all(state.is_final for state in self.look())

    def cancel(self) -> None:
        """Ends it. ValueError where that is refused."""
        self.on.cancel(self.job_id, self.name)


def read_record(record: Path) -> Submission | None:
    """The submission that a record tells of; None without one. ValueError where it is damaged."""
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        return Submission(**{**values, "folder": Path(values["folder"])})
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise InputError(
            f"{record}: not a record of a job ({error}); look for the job with squeue, then delete the file"
        ) from None


def submit(spec: JobSpec) -> Submission:
    """Submit one job or array, on record from before it begins.

    Raises InputError or TransientError where it is refused; then nothing is on record.
    """
    submission = new_submission(spec)
    before = spec.record.read_text(encoding="utf-8") if spec.record.exists() else ""
    write(spec.record, submission)
    tasks = [
        Task(pickle.dumps(call), files, spec.record.absolute(), submission.token, submission.max_requeues)
        for call, files in zip(spec.calls, submission.calls, strict=True)
    ]
    try:
        job_id = submission.on.submit(tasks, spec.request, submission.name, submission.folder)
    except CosmosError:
        if not found_in_queue(submission):
            restore(spec.record, before)
        raise
    submission = replace(submission, job_id=job_id)
    write(spec.record, submission)
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
        resolve(spec.cluster),
        token,
        f"{checkpoint_label(spec.label)}-{token}",
        folder,
        len(spec.calls),
        spec.request.max_requeues,
        datetime.now(UTC).isoformat(timespec="seconds"),
        socket.gethostname(),
        "",
    )


def found_in_queue(submission: Submission) -> bool:
    """Whether a job is there although its submission failed: sbatch may not have waited for the answer."""
    try:
        return bool(submission.on.find(submission.name))
    except SlurmSilentError:
        return True  # for all that is known


def write(record: Path, submission: Submission) -> None:
    """Puts a submission on record."""
    write_json(record, {**asdict(submission), "folder": str(submission.folder)})


def restore(record: Path, text: str) -> None:
    """What was on record before a submission that was refused."""
    if text:
        write_text(record, text)
    else:
        record.unlink()


def recall(record: Path) -> Submission | None:
    """The submission on record, with its job's id; None where there is none, or it never reached the queue.

    A command that was killed between submitting and writing the id down leaves a record without one: the job
    is then found by its name.
    """
    known = read_record(record)
    if known is None or known.job_id:
        return known
    logger.warning("%s: a submission was cut short; looking for its job, for a minute at most", record)
    while True:
        if job_id := known.on.find(known.name):
            found = replace(known, job_id=job_id)
            hand_over_calls(found)
            write(record, found)
            return found
        if not 0 <= age(known) <= IN_FLIGHT:
            return None
        time.sleep(1)


def age(submission: Submission) -> float:
    """Seconds since it was begun."""
    return (datetime.now(UTC) - datetime.fromisoformat(submission.submitted)).total_seconds()


def hand_over_calls(submission: Submission) -> None:
    """Gives pickled calls the names under which the job looks for them, as submitit does after submitting."""
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
def alone(record: Path) -> Iterator[None]:
    """One command at a time decides whether to submit; the others wait.

    File systems without locks do without: the record's token still lets only one of two jobs run.
    """
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.with_suffix(".lock").open("w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
