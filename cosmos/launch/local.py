"""Jobs as processes of their own on this machine, through submitit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import environment_variables

from cosmos.launch.slurm import JobState
from cosmos.launch.task import Task, code_folder
from cosmos.request import JobRequest

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
            for job in running:
                os.kill(int(job.job_id), signal.SIGTERM)


class LocalCluster:
    """Jobs as processes of their own on this machine, through submitit; they outlive the command."""

    def submit(self, tasks: Sequence[Task], request: JobRequest, name: str, folder: Path) -> str:
        """Starts the processes; the id is the first one's process id."""
        if request.nodes > 1:
            raise ValueError(
                f"slurm.nodes: {request.nodes} nodes need Slurm; COSMOS_CLUSTER=local is one machine"
            )
        with _surviving(folder):
            if len(tasks) == 1:
                return str(_local_executor(request, folder).submit(tasks[0]).job_id)
            array = _LocalArray(tuple(tasks), request, folder)
            one = JobRequest(minutes=request.minutes * len(tasks))
            return str(_local_executor(one, folder).submit(array).job_id)

    def find(self, name: str, since: str) -> str:
        """The process that was started with the folder of that name's token."""
        asked = subprocess.run(["ps", "-eo", "pid=,command="], capture_output=True, text=True, check=True)
        token = name.rpartition("-")[2]
        processes = (line.split() for line in asked.stdout.splitlines())
        found = (words[0] for words in processes if CONTROLLER in words and Path(words[-1]).name == token)
        return next(found, "")

    def look(self, job_id: str, num_calls: int) -> list[JobState]:
        """Whether the process is still there, and is the one that was started."""
        asked = subprocess.run(
            ["ps", "-o", "command=", "-p", job_id], capture_output=True, text=True, check=False
        )
        state = "RUNNING" if CONTROLLER in asked.stdout.split() else "GONE"
        return [JobState(state)] * num_calls

    def cancel(self, job_id: str) -> None:
        """Asks the processes to stop; a pretraining saves first."""
        if not self.look(job_id, 1)[0].is_final:
            os.kill(int(job_id), signal.SIGTERM)


def _local_executor(request: JobRequest, folder: Path) -> submitit.LocalExecutor:
    executor = submitit.LocalExecutor(folder)
    executor.update_parameters(
        timeout_min=request.minutes,
        signal_delay_s=request.warning_seconds,
        tasks_per_node=request.ranks_per_node,
        gpus_per_node=request.gpus_per_node,
        stderr_to_stdout=True,
    )
    return executor


@contextmanager
def _surviving(folder: Path) -> Iterator[None]:
    """Processes started inside take the submission's copy of the code, and do not hear a Ctrl-C."""
    path = os.pathsep.join(filter(None, [str(code_folder(folder)), os.environ.get("PYTHONPATH", "")]))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with environment_variables(PYTHONPATH=path, PYTHONSAFEPATH="1"):
            yield
    finally:
        signal.signal(signal.SIGINT, before)
