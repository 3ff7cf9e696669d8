"""Task of a job: ranks find each other, the call runs, and its value or failure is left in the folder."""

import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import submitit

from cosmos.config.disk_reading import exists
from cosmos.config.printable_text import PrintableFormatter, escape_unencodable, print_text
from cosmos.distributed.hang_end import at_hang
from cosmos.distributed.stop_signals import STOP_SIGNALS
from cosmos.errors import (
    InputError,
    Interrupted,
    OutOfMemoryError,
    RequeueLimitError,
    StoppedError,
    SupersededError,
    error_kind,
    summarize_error,
)
from cosmos.launch.local_controller import heed_held_signals
from cosmos.launch.outcome import Attempt, CallFiles, RankFailure
from cosmos.launch.pickled_call import JOB_SECRETS, load_call
from cosmos.launch.rendezvous import meet_ranks
from cosmos.run.files import write_json
from cosmos.run.records import read_record

SUBMITIT_LOG_LEVEL = {"SUBMITIT_LOG_LEVEL": "CRITICAL"}
"""Variable of jobs, unless it is set: submitit's own lines in a log would say nothing to a reader."""

LOCAL_REQUEUE = 144
"""Exit status that makes submitit's local controller start a job again."""


@dataclass(frozen=True)
class RankPlace:
    """Position of a process in its job."""

    cluster: str
    job_id: str
    rank: int
    num_ranks: int
    local_rank: int
    nodes: tuple[str, ...]
    requeues: int
    log: Path


@dataclass(frozen=True)
class RecordedToken:
    """Part of a submission's record that says whether its job may run."""

    token: str


@dataclass(frozen=True)
class Task:
    """Call as a job runs it; submitit pickles it.

    The call itself is pickled inside, so that signals are heeded before what it needs is imported.
    """

    call: bytes
    files: CallFiles
    record: Path
    """the submission's record, which names the token of the submission that counts"""
    token: str
    max_requeues: int

    def __call__(self) -> None:
        """Run the call; its value, or the error that stopped it, is in the folder."""
        place = find_place(self.files)
        escape_unencodable()
        logging.basicConfig(stream=sys.stdout)
        logging.getLogger().handlers[0].setFormatter(PrintableFormatter("%(message)s"))
        logging.getLogger("cosmos").setLevel(logging.INFO)
        try:
            with at_hang(lambda error: self.leave_failure(rank_failure(error, place), place)):
                self.run(place)
        except Exception as error:
            failure = rank_failure(error, place)
            self.leave_failure(failure, place)
            if not failure.kind:
                raise
            print_text(failure.summary)  # which says it all: no traceback, of submitit least of all
            sys.exit(1)
        finally:
            self.files.failure_room(place.rank, place.requeues).unlink(missing_ok=True)

    def leave_failure(self, failure: RankFailure, place: RankPlace) -> None:
        """Leave the failure of this rank in the folder, and end the other ranks."""
        with suppress(OSError):  # nor may the reserved room be written, where a disk fails
            self.files.write_failure(failure)
        end_other_ranks(place)

    def run(self, place: RankPlace) -> None:
        """Run the call at its place in the job."""
        try:
            with interrupting_signals():
                self.begin(place)
                value = load_call(self.call, os.environ.pop(JOB_SECRETS, ""))()
        except Interrupted as stop:
            self.stop(place, stop)
        else:
            if place.rank == 0:
                self.files.write_value(value)

    def begin(self, place: RankPlace) -> None:
        """Add the attempt and export the process's rank, unless this job should not run at all."""
        self.files.reserve_room(place.rank, place.requeues)
        if place.rank == 0:
            self.files.begin(new_attempt(place))
        self.check_token()
        if place.requeues > self.max_requeues:
            raise RequeueLimitError(requeue_limit_message(self.max_requeues))
        export_ranks(place, self.files)

    def check_token(self) -> None:
        """Raise SupersededError where the record names another submission: two never train one run.

        Raises InputError where the record is gone, DamagedDataError where it is damaged.
        """
        remedy = "delete the file, and the same command submits the job again"
        try:
            token = read_record(self.record, RecordedToken, "record of a job", remedy).token
        except FileNotFoundError:
            raise InputError(f"{self.record} is gone: its run was deleted while this job waited") from None
        if token != self.token:
            raise SupersededError(
                f"{self.record} names a later submission ({token}); this job ({self.token}) stops"
            )

    def stop(self, place: RankPlace, stop: Interrupted) -> None:
        """End the process after a request to stop, with all saved.

        On Slurm the job's script has it started again, where that is not done already.
        """
        if place.rank == 0:
            print_text(str(stop))
            if place.cluster == "local":
                self.stop_locally(place, stop)
        # no failure, so that srun does not end the ranks that are still on their way here
        sys.exit(0)

    def stop_locally(self, place: RankPlace, stop: Interrupted) -> None:
        """Have the controller start the job again after a warning; otherwise record that it was stopped."""
        if stop.signal == signal.SIGUSR2:
            requeue_locally(place, self.files)
        with suppress(OSError):
            self.files.write_failure(rank_failure(StoppedError(f"{stop}; the same command continues"), place))

    def leave_unbegun(self) -> None:
        """Leave in the folder that this call's job was asked to stop before it began."""
        summary = "stopped by SIGTERM before it began; the same command continues"
        host, kind = socket.gethostname(), StoppedError.__name__
        with suppress(OSError):
            self.files.write_failure(RankFailure(0, 0, host, kind, "", time.time(), kind, summary))


def code_folder(folder: Path) -> Path:
    """Return the folder of a submission's copy of the code."""
    return folder / "code"


def requeue_limit_message(limit: int) -> str:
    """Return the message of a job that was requeued as often as is allowed."""
    return (
        f"the job was requeued {limit} times, as often as slurm.max_requeues (at most 5 without Slurm) "
        "allows; all is saved, and the same command submits it again"
    )


def rank_failure(error: BaseException, place: RankPlace) -> RankFailure:
    """Return the failure of a rank, for the folder."""
    text = "".join(traceback.format_exception(error))
    host, name = socket.gethostname(), type(error).__name__
    kind = OutOfMemoryError.__name__ if isinstance(error, memory_errors()) else error_kind(error)
    summary = summarize_error(error)
    return RankFailure(place.rank, place.requeues, host, name, text, time.time(), kind, summary)


def memory_errors() -> tuple[type[BaseException], ...]:
    """Return the exceptions for a lack of memory: Python's, and torch's where that is imported."""
    torch = sys.modules.get("torch")  # not imported for this: a job that needs no torch does without
    return (MemoryError, torch.OutOfMemoryError) if torch else (MemoryError,)


def find_place(files: CallFiles) -> RankPlace:
    """Return this process's position in its job, from submitit's view of the environment."""
    environment = submitit.JobEnvironment()
    return RankPlace(
        environment.cluster,
        environment.job_id,
        environment.global_rank,
        environment.num_tasks,
        environment.local_rank,
        tuple(environment.hostnames),
        requeues_so_far(environment.cluster, files),
        Path(str(environment.paths.stdout)),
    )


def new_attempt(place: RankPlace) -> Attempt:
    """Return the start that happens now."""
    log_start = place.log.stat().st_size if exists(place.log) else 0
    return Attempt(place.job_id, place.requeues, socket.gethostname(), place.log, time.time(), log_start)


def requeues_so_far(cluster: str, files: CallFiles) -> int:
    """Return the number of times that this job was started again; Slurm counts for itself."""
    if cluster == "slurm":
        return int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    remedy = "delete it, and the same command submits the job again"
    return read_record(files.requeues, int, "count of requeues", remedy) if exists(files.requeues) else 0


def export_ranks(place: RankPlace, files: CallFiles) -> None:
    """Export torchrun's names for rank and rendezvous, and COSMOS_JOB for provenance."""
    job = {
        "cluster": place.cluster,
        "id": place.job_id,
        "requeues": place.requeues,
        "nodes": list(place.nodes),
    }
    os.environ.update(
        RANK=str(place.rank),
        WORLD_SIZE=str(place.num_ranks),
        LOCAL_RANK=str(place.local_rank),
        COSMOS_JOB=json.dumps(job),
    )
    if place.num_ranks > 1:
        meet_ranks(place.rank, place.nodes, files.rendezvous(place.requeues))


@contextmanager
def interrupting_signals() -> Iterator[None]:
    """Raise Interrupted at once on a warning or a termination; training's own handlers wait for a step's end.

    Afterwards signals are ignored: what is left to do takes no time.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}", number)

    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)
    try:
        heed_held_signals()
        yield
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def requeue_locally(place: RankPlace, files: CallFiles) -> None:
    """Exit so that submitit's local controller starts this job again, from the beginning of its call."""
    files.rendezvous(place.requeues).unlink(missing_ok=True)
    write_json(files.requeues, place.requeues + 1)
    sys.exit(LOCAL_REQUEUE)


def end_other_ranks(place: RankPlace) -> None:
    """End the ranks that a failed one leaves waiting, by submitit's local controller; on Slurm srun does."""
    if place.cluster == "local" and place.num_ranks > 1 and str(os.getppid()) == place.job_id:
        os.kill(os.getppid(), signal.SIGTERM)


def run_in_this_process(task: Task, place: RankPlace, job_secrets: str) -> None:
    """Run a task in this process; an exception of the call is left in the folder, Interrupted is raised."""
    task.files.begin(new_attempt(place))
    try:
        value = load_call(task.call, job_secrets)()
    except Exception as error:
        task.files.write_failure(rank_failure(error, place))
        return
    task.files.write_value(value)
