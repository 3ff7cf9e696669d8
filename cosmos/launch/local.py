"""Jobs as processes of their own on this machine, through submitit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import environment_variables

from cosmos.config.job_request import JobRequest
from cosmos.errors import InputError
from cosmos.launch.slurm import JobState
from cosmos.launch.task import Task, code_folder

MAX_REQUEUES = 5
"""submitit's local controller starts a job six times at most."""

CONTROLLER = "submitit.local._local"
"""The module that a job's first process runs, with the submission's folder as its argument."""


@dataclass(frozen=True)
class _LocalArray:
    """An array's jobs on this machine, a few at a time; it runs as a job itself."""

    tasks: tuple[Task, ...]
    request: JobRequest
    folder: Path

    def __call__(self) -> None:
        executor = _local_executor(self.request, self.folder)
        waiting, running = list(self.tasks), list[Any]()
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        try:
            while waiting or running:
                running = [job for job in running if not job.done()]
                while waiting and len(running) < self.request.array_parallelism:
                    running.append(executor.submit(waiting.pop(0)))
                time.sleep(0.1)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # asked twice, it still asks all of them
            for job in running:
                with suppress(ProcessLookupError):
                    os.kill(int(job.job_id), signal.SIGTERM)


class LocalCluster:
    """Jobs as processes of their own on this machine, through submitit; they outlive the command."""

    def submit(self, tasks: Sequence[Task], request: JobRequest, name: str, folder: Path) -> str:
        """Starts the processes; the id is the first one's process id."""
        if request.nodes > 1:
            raise InputError(
                f"slurm.nodes: {request.nodes} nodes need Slurm; COSMOS_CLUSTER=local is one machine"
            )
        allowed = min(request.max_requeues, MAX_REQUEUES)
        tasks = [replace(task, max_requeues=allowed) for task in tasks]
        with _surviving(folder, threads_of(request)):
            if len(tasks) == 1:
                return str(_local_executor(request, folder).submit(tasks[0]).job_id)
            array = _LocalArray(tuple(tasks), request, folder)
            one = JobRequest(minutes=request.minutes * len(tasks))
            return str(_local_executor(one, folder).submit(array).job_id)

    def find(self, name: str) -> str:
        """The first process that was started with the folder of that name's token."""
        return next(iter(_controllers(name)), "")

    def look(self, job_id: str, name: str, num_calls: int) -> list[JobState]:
        """Whether the process is still there; a number alone may have gone to another."""
        return [JobState("RUNNING" if job_id in _controllers(name) else "GONE")] * num_calls

    def cancel(self, job_id: str, name: str) -> None:
        """Asks the processes to stop; a pretraining saves first."""
        if job_id in _controllers(name):
            os.kill(int(job_id), signal.SIGTERM)


def _controllers(name: str) -> list[str]:
    """Processes that submitit controls the job of that name with, the oldest (an array's own) first.

    Their numbers do not tell the order: those begin anew after the highest.
    """
    listing = ["ps", "-ww", "-eo", "pid=,command=", "--sort=start_time"]
    asked = subprocess.run(listing, capture_output=True, text=True, check=True)
    token = name.rpartition("-")[2]
    processes = (line.split() for line in asked.stdout.splitlines())
    return [words[0] for words in processes if CONTROLLER in words and Path(words[-1]).name == token]


def _local_executor(request: JobRequest, folder: Path) -> submitit.LocalExecutor:
    executor = submitit.LocalExecutor(folder)
    visible = [int(gpu) for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu.isdigit()]
    executor.update_parameters(
        visible_gpus=visible,
        timeout_min=request.minutes,
        signal_delay_s=request.warning_seconds,
        tasks_per_node=request.ranks_per_node,
        gpus_per_node=request.gpus_per_node,
        stderr_to_stdout=True,
    )
    return executor


def threads_of(request: JobRequest) -> int:
    """Threads of a process's arithmetic: its share of this machine's cores, as far as it asked for them."""
    return max(1, min(request.cpus_per_task, (os.cpu_count() or 1) // request.ranks_per_node))


@contextmanager
def _surviving(folder: Path, threads: int) -> Iterator[None]:
    """Processes started inside take the submission's copy of the code, and outlive command and terminal.

    They lead sessions of their own, so that they do not hear Ctrl-C, the terminal's end, or what ends the
    command's whole group; and they do not hold on to what the command reads and writes.
    """
    path = os.pathsep.join(filter(None, [str(code_folder(folder)), os.environ.get("PYTHONPATH", "")]))
    with (
        environment_variables(
            PYTHONPATH=path,
            PYTHONSAFEPATH="1",
            OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", str(threads)),
        ),
        _own_sessions(),
        _standard_streams(folder / "controller.txt"),
    ):
        yield


@contextmanager
def _own_sessions() -> Iterator[None]:
    """Processes that are started inside lead sessions of their own; submitit has no option for that."""
    start = subprocess.Popen
    subprocess.Popen = partial(start, start_new_session=True)  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        subprocess.Popen = start  # type: ignore[misc]


@contextmanager
def _standard_streams(log: Path) -> Iterator[None]:
    """Inside, this process and those that it starts read nothing, and write into `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in range(3)]
    with Path(os.devnull).open("rb") as nothing, log.open("ab") as file:
        for number, stream in enumerate((nothing, file, file)):
            os.dup2(stream.fileno(), number)
    try:
        yield
    finally:
        for number, copy in enumerate(kept):
            os.dup2(copy, number)
            os.close(copy)
