"""Slurm's programs: its presence, the states of jobs (with and without accounting), and their end."""

import math
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cosmos.config.disk_reading import exists
from cosmos.errors import CosmosError, InputError, OutOfMemoryError, PreemptedError, TransientError


@dataclass(frozen=True)
class FailureCause:
    """Reason why a job has no value."""

    words: str
    """end of a sentence that begins with `job 12: `"""
    error: type[CosmosError] = CosmosError
    """class of errors that decides what follows"""


FINAL_STATES = {
    "COMPLETED": FailureCause("ended without leaving a value"),
    "FAILED": FailureCause("failed"),
    "CANCELLED": FailureCause("was cancelled"),
    "TIMEOUT": FailureCause(
        "ran into its time limit before it could be requeued; raise slurm.warning_seconds"
    ),
    "NODE_FAIL": FailureCause("was ended by the failure of a node", TransientError),
    "OUT_OF_MEMORY": FailureCause(
        "ran out of memory; slurm.memory_gb, COSMOS_WORKERS or COSMOS_MICRO_BATCHES would help",
        OutOfMemoryError,
    ),
    "PREEMPTED": FailureCause("was preempted for good", PreemptedError),
    "BOOT_FAIL": FailureCause("was ended by a node that did not boot", TransientError),
    "DEADLINE": FailureCause("missed its deadline"),
    "REVOKED": FailureCause("was revoked"),
    "GONE": FailureCause("is no longer there, and left no value"),
}
"""States of Slurm after which nothing of a job runs, and why there is no value then.

GONE is our own: no scheduler knows the job any longer.
"""


SILENCE_SECONDS = 120.0
"""Seconds that a program of Slurm's may take; one that hangs must not keep a list or a watcher for ever."""


class SlurmSilentError(TransientError):
    """Slurm's controller does not answer; jobs may well go on."""

    @classmethod
    def of(cls, subject: str, answer: str) -> Self:
        """Return the error for a question about `subject`, which Slurm's program answered with an error."""
        return cls(
            f"{subject}: Slurm does not answer ({answer.strip()}); try again once `scontrol ping` does"
        )


@dataclass(frozen=True)
class JobState:
    """State of a job, or of an element of an array, as its cluster reports it."""

    state: str
    reason: str = ""
    nodes: str = ""
    time_left: str = ""
    """until the time limit, as Slurm writes it: 1-02:03:04"""
    exit_status: str = ""
    """`1` or `signal 9`; "" while it runs"""
    requeues: int = 0

    @property
    def is_final(self) -> bool:
        """True when nothing of it runs or will run."""
        return self.state in FINAL_STATES


def is_installed() -> bool:
    """Return True when this machine has Slurm's programs."""
    return bool(shutil.which("sbatch"))


def answers() -> bool:
    """Return True when there is a Slurm here, and its controller answers."""
    try:
        return is_installed() and _ask("scontrol", "ping").returncode == 0
    except SlurmSilentError:
        return False


def is_configured() -> bool:
    """Return True when this machine belongs to a cluster, be its controller there or not."""
    return is_installed() and exists(Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf")))


def job_states(job_id: str, num_calls: int) -> list[JobState]:
    """Return the states of a job by call: one, or those of an array's elements.

    Raises SlurmSilentError when the controller does not answer.
    """
    return _with_ended(_from_queue(job_id), {job_id: num_calls})[job_id]


def states_of_jobs(jobs: Mapping[str, int]) -> dict[str, list[JobState]]:
    """Return the states of many jobs by id, as `job_states`; `jobs`: their numbers of calls.

    The queue and the accounts are asked once for all of them, and the controller of those that wait or run.
    """
    queued = _queued_jobs(jobs)
    asked = [_from_queue(job_id) for job_id in jobs if job_id in queued]
    return _with_ended({name: state for states in asked for name, state in states.items()}, jobs)


def _with_ended(states: Mapping[str, JobState], jobs: Mapping[str, int]) -> dict[str, list[JobState]]:
    """Return the states of each job's calls, of those that the queue has forgotten by accounting."""
    counts = Counter(name.partition("_")[0] for name in states)
    forgotten = [job_id for job_id, num_calls in jobs.items() if counts[job_id] < num_calls]
    recorded = _from_accounting(",".join(forgotten)) if forgotten else {}
    # what the controller has forgotten does not run, whatever the accounts say
    states = {**{name: state for name, state in recorded.items() if state.is_final}, **states}
    gone = JobState("GONE")
    return {
        job_id: [states.get(name, gone) for name in _names_of_calls(job_id, num_calls)]
        for job_id, num_calls in jobs.items()
    }


def _names_of_calls(job_id: str, num_calls: int) -> list[str]:
    return [job_id] if num_calls == 1 else [f"{job_id}_{index}" for index in range(num_calls)]


def _queued_jobs(jobs: Iterable[str]) -> set[str]:
    """Return the ids of the jobs that the controller knows.

    Raises SlurmSilentError when the controller does not answer.
    """
    ids = ",".join(jobs)
    asked = _ask("squeue", "--noheader", "--all", "--states=all", f"--jobs={ids}", "--format=%F")
    if asked.returncode:
        if "Invalid job id" in asked.stderr:  # it says so of a single one that it does not know
            return set()
        raise SlurmSilentError.of("the queue", asked.stderr)
    return set(asked.stdout.split())


def find_job(name: str) -> str:
    """Return the id of the job or array of that name, submitted in the last week; "" where there is none.

    Raises SlurmSilentError when the controller does not answer.
    """
    queued = _ask("squeue", "--noheader", "--all", "--states=all", f"--name={name}", "--format=%F")
    if queued.returncode:
        raise SlurmSilentError.of(f"job {name}", queued.stderr)
    recorded = _ask(
        "sacct",
        "-X",
        "--noheader",
        "--parsable2",
        f"--name={name}",
        "--starttime=now-7days",
        "--format=JobID",
    )
    ids = [*queued.stdout.split(), *(line.split("_")[0] for line in recorded.stdout.split())]
    return ids[0] if ids else ""


def list_nodes(columns: str, patience: float = math.inf) -> list[str]:
    """Return a line of sinfo for each kind of node of each partition; [] where it fails or is not there.

    `columns`: its format. Raises SlurmSilentError when nothing comes for `patience` seconds.
    """
    asked = _ask("sinfo", "--all", "--exact", "--noheader", f"--format={columns}", patience=patience)
    return [] if asked.returncode else asked.stdout.splitlines()


def cancel_job(job_id: str) -> None:
    """End a job; one that has ended already is left alone.

    Raises InputError where Slurm refuses that, and SlurmSilentError when the controller does not answer.
    """
    done = _ask("scancel", job_id)
    if done.returncode:
        raise refused(f"scancel {job_id}", done.stderr)


def refused(command: str, answer: str) -> CosmosError:
    """Return the error for a command that failed: InputError, or SlurmSilentError if Slurm is silent."""
    return InputError(f"{command}: {answer.strip()}") if answers() else SlurmSilentError.of(command, answer)


def _ask(*command: str, patience: float = math.inf) -> subprocess.CompletedProcess[str]:
    """Run a program of Slurm's. Raises SlurmSilentError after `patience`, and after SILENCE_SECONDS."""
    patience = min(patience, SILENCE_SECONDS)
    if not shutil.which(command[0]):
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: not on this machine")
    whole_lists = {**os.environ, "SLURM_BITSTR_LEN": "0"}  # of an array's elements
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=whole_lists,
            timeout=patience,
            start_new_session=True,  # Ctrl-C is for the command, and must not look like a silent Slurm
        )
    except subprocess.TimeoutExpired:
        raise SlurmSilentError.of(command[0], f"nothing in {patience:g} s") from None


def _from_queue(job_id: str) -> dict[str, JobState]:
    """Return the states that the controller has: of jobs that wait, run, or ended a few minutes ago."""
    asked = _ask("scontrol", "--oneliner", "show", "job", job_id)
    if asked.returncode:
        if "Invalid job id" in asked.stderr:
            return {}
        raise SlurmSilentError.of(f"job {job_id}", asked.stderr)
    left = _time_left(job_id)
    return {
        name: state for line in asked.stdout.splitlines() for name, state in _parse_job(line, left).items()
    }


def _time_left(job_id: str) -> dict[str, str]:
    """Return the time until the limit, by the raw id of jobs that run."""
    asked = _ask("squeue", "--noheader", "--states=running", f"--jobs={job_id}", "--format=%A %L")
    return dict(line.split(maxsplit=1) for line in asked.stdout.splitlines() if line.strip())


def _parse_job(line: str, time_left: dict[str, str]) -> dict[str, JobState]:
    """Return the states in a line of `scontrol show job`, by job id: elements that wait share a line."""
    fields = dict(reversed(re.findall(r"(\w+)=(\S*)", line)))  # the first of a name counts
    if "JobId" not in fields:
        return {}
    nodes = fields.get("NodeList", "")
    state = JobState(
        fields["JobState"],
        "" if fields.get("Reason") == "None" else fields.get("Reason", ""),
        "" if nodes == "(null)" else nodes,
        time_left.get(fields["JobId"], ""),
        _exit_status(fields.get("ExitCode", "")),
        int(fields.get("Restarts", "0")),
    )
    if "ArrayTaskId" not in fields:
        return {fields["JobId"]: state}
    return {f"{fields['ArrayJobId']}_{index}": state for index in _indices(fields["ArrayTaskId"])}


def _from_accounting(job_id: str) -> dict[str, JobState]:
    """Return the states that accounting has, also of jobs that ended long ago; {} where there is none."""
    columns = "JobID,State,ExitCode,NodeList"
    asked = _ask("sacct", "-X", "--noheader", "--parsable2", f"--jobs={job_id}", f"--format={columns}")
    states = dict[str, JobState]()
    for line in asked.stdout.splitlines():
        name, state, exit_code, nodes = line.split("|")
        # `CANCELLED by 1000`
        job = JobState(state.split()[0], nodes=nodes, exit_status=_exit_status(exit_code))
        main, _, element = name.partition("_")
        states |= (
            {f"{main}_{index}": job for index in _indices(element.strip("[]"))} if element else {name: job}
        )
    return states


def _indices(text: str) -> list[int]:
    """Return the numbers that `3`, `3-5,8`, `0-30:2` or `3-63%8` stands for."""
    numbers: list[int] = []
    for part in text.split("%")[0].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        numbers += range(int(first), int(last or first) + 1, int(step or 1))
    return numbers


def _exit_status(code: str) -> str:
    """Return Slurm's `status:signal` in words: `1`, `signal 9`, or "" for success."""
    status, _, number = code.partition(":")
    if number not in ("", "0"):
        return f"signal {number}"
    if status in ("", "0"):
        return ""
    return f"{status} (signal {int(status) - 128})" if int(status) > 128 else status
