"""Jobs as processes of their own on this machine, through submitit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import submitit

from cosmos.config.job_request import JobRequest
from cosmos.distributed.cores import usable_cores
from cosmos.errors import InputError
from cosmos.launch.local_controller import HELD, holding_signals
from cosmos.launch.slurm import JobState
from cosmos.launch.task import SUBMITIT_LOG_LEVEL, Task, code_folder
from cosmos.run.files import naming_disk_errors

MAX_REQUEUES = 5
"""Requeues at most: submitit's local controller starts a job six times."""

CONTROLLER = "cosmos.launch.local_controller"
"""Module that a job's first process runs, with the submission's folder as its argument."""

CONTROLLERS = {CONTROLLER, "submitit.local._local"}
"""Modules that control jobs; version 0.1 started them with the second one."""


@dataclass(frozen=True)
class _LocalArray:
    """Jobs of an array on this machine, a few at a time; it runs as a job itself."""

    tasks: tuple[Task, ...]
    request: JobRequest
    folder: Path

    def __call__(self) -> None:
        """Run the jobs; a SIGTERM is handed to those that run, and no other one begins.

        It is held and looked for between two steps: none comes while a job is begun, which would go on alone.
        """
        executor = _DetachedExecutor.of(self.request, self.folder, {})
        waiting, running = list(self.tasks), list[Any]()
        with holding_signals():
            try:
                while (waiting or running) and not HELD & signal.sigpending():
                    running = [job for job in running if not job.done()]
                    while waiting and len(running) < self.request.array_parallelism:
                        running.append(executor.submit(waiting.pop(0)))
                    time.sleep(0.1)
            finally:
                end_jobs(running)
            for task in waiting:
                task.leave_unbegun()


def end_jobs(jobs: Sequence[Any]) -> None:
    """Ask submitit's local jobs to stop, and wait until all have ended: a pretraining saves first."""
    for job in jobs:
        with suppress(ProcessLookupError):
            os.kill(int(job.job_id), signal.SIGTERM)
    while not all(job.done() for job in jobs):
        time.sleep(0.1)


class LocalCluster:
    """This machine: jobs are processes of their own, which outlive the command."""

    def submit(
        self,
        tasks: Sequence[Task],
        request: JobRequest,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        """Start the processes, and return the first one's process id.

        Raises InputError for several nodes, TransientError where the disk is full or fails.
        """
        if request.nodes > 1:
            raise InputError(
                f"slurm.nodes: {request.nodes} nodes need Slurm; COSMOS_CLUSTER=local is one machine"
            )
        allowed = min(request.max_requeues, MAX_REQUEUES)
        tasks = [replace(task, max_requeues=allowed) for task in tasks]
        with naming_disk_errors(folder):
            if len(tasks) == 1:
                return str(_DetachedExecutor.of(request, folder, environment).submit(tasks[0]).job_id)
            array = _LocalArray(tuple(tasks), request, folder)
            minutes = request.minutes * len(tasks) * (1 + allowed)  # each may be started again as often
            time_for_all = JobRequest(minutes=minutes, warning_seconds=request.warning_seconds)
            return str(_DetachedExecutor.of(time_for_all, folder, environment).submit(array).job_id)

    def find(self, name: str) -> str:
        """Return the id of the first process that was started for the job of that name; "" for none."""
        return next(iter(_controllers(name)), "")

    def states(self, job_id: str, name: str, num_calls: int) -> list[JobState]:
        """Return RUNNING while the process is there, and GONE afterwards."""
        # by name, too: the number may be another process's by now
        return [JobState("RUNNING" if job_id in _controllers(name) else "GONE")] * num_calls

    def cancel(self, job_id: str, name: str) -> None:
        """Ask the processes to stop; a pretraining saves first. Raises InputError for another user's."""
        if job_id not in _controllers(name):
            return
        try:
            os.kill(int(job_id), signal.SIGTERM)
        except ProcessLookupError:
            pass  # it ended meanwhile
        except PermissionError:
            raise InputError(f"job {job_id} is a process of another user, who alone can end it") from None


class _DetachedExecutor(submitit.LocalExecutor):
    """submitit's executor, made to start jobs that outlive the command and take the submission's code.

    A job's controller leads a session of its own, so that no signal of the terminal or to the command's
    process group reaches it; and it inherits none of the command's input and output.
    """

    request: JobRequest
    environment: Mapping[str, str]

    @classmethod
    def of(cls, request: JobRequest, folder: Path, environment: Mapping[str, str]) -> "_DetachedExecutor":
        executor = cls(folder)
        executor.request, executor.environment = request, environment
        executor.update_parameters(tasks_per_node=request.ranks_per_node)
        return executor

    def _submit_command(self, command: str) -> "submitit.LocalJob[Any]":
        with (self.folder / "controller.txt").open("ab") as log, holding_signals():
            process = subprocess.Popen(
                [sys.executable, "-m", CONTROLLER, str(self.folder)],
                env={
                    **SUBMITIT_LOG_LEVEL,
                    **os.environ,
                    **self.environment,
                    **self._settings_of_job(),
                    **self._settings_of_controller(command),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ranks = list(range(self.request.ranks_per_node))
        return submitit.LocalJob(self.folder, str(process.pid), ranks, process)

    def _settings_of_job(self) -> dict[str, str]:
        paths = [str(code_folder(self.folder)), os.environ.get("PYTHONPATH", "")]
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONSAFEPATH": "1",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads_of(self.request))),
            "CUDA_VISIBLE_DEVICES": ",".join(visible_gpus(self.request.gpus_per_node)),
        }

    def _settings_of_controller(self, command: str) -> dict[str, str]:
        """Return the variables that CONTROLLER reads."""
        return {
            "SUBMITIT_EXECUTOR": "local",
            "SUBMITIT_LOCAL_COMMAND": command,
            "SUBMITIT_LOCAL_NTASKS": str(self.request.ranks_per_node),
            "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
            "SUBMITIT_LOCAL_NODEID": "0",
            "SUBMITIT_LOCAL_TIMEOUT_S": str(60 * self.request.minutes),
            "SUBMITIT_LOCAL_SIGNAL_DELAY_S": str(self.request.warning_seconds),
            "SUBMITIT_LOCAL_WITH_SHELL": "",
            "SUBMITIT_STDERR_TO_STDOUT": "1",
        }


def visible_gpus(count: int) -> list[str]:
    """Return the numbers of `count` GPUs that this process may use.

    Raises InputError for more than CUDA_VISIBLE_DEVICES names.
    """
    named = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu.isdigit()]
    if named and count > len(named):
        raise InputError(
            f"slurm.gpus_per_node: {count} GPUs are more than CUDA_VISIBLE_DEVICES={','.join(named)} names"
        )
    return named[:count] if named else [str(gpu) for gpu in range(count)]


def _controllers(name: str) -> list[str]:
    """Return the ids of the processes that control the job of that name, an array's own before its jobs'."""
    # by start time, since numbers begin anew after the highest
    listing = ["ps", "-ww", "-eo", "pid=,command=", "--sort=start_time"]
    with holding_signals():  # one to the command's process group must not end the answer
        answer = subprocess.run(listing, capture_output=True, text=True, errors="replace", check=True)
    token = name.rpartition("-")[2]
    processes = (line.split() for line in answer.stdout.splitlines())
    return [
        words[0] for words in processes if CONTROLLERS.intersection(words) and Path(words[-1]).name == token
    ]


def threads_of(request: JobRequest) -> int:
    """Return the number of threads of a process: the cores asked for, up to its share of the usable ones."""
    return max(1, min(request.cpus_per_task, usable_cores() // request.ranks_per_node))
