"""Jobs on Slurm, through submitit: the script that sbatch gets, and its submission."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import submitit
from submitit.core.utils import (
    CommandFunction,
    DelayedSubmission,
    FailedJobError,
    FailedSubmissionError,
    JobPaths,
)

from cosmos.config.job_request import JobRequest
from cosmos.errors import InputError
from cosmos.launch import slurm
from cosmos.launch.slurm import JobState, SlurmSilentError
from cosmos.launch.task import SUBMITIT_LOG_LEVEL, Task, code_folder
from cosmos.run.files import naming_disk_errors


class SlurmCluster:
    """Slurm, through submitit."""

    def submit(
        self,
        tasks: Sequence[Task],
        request: JobRequest,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        """Run sbatch, and return the job's id.

        Raises InputError where it refuses the job or is not installed, and SlurmSilentError where the
        controller does not answer.
        """
        if not slurm.is_installed():
            raise InputError(
                "no Slurm here (sbatch); run this on a login node, or set COSMOS_CLUSTER to local or debug"
            )
        if not slurm.answers():
            raise SlurmSilentError("no Slurm answers here (`scontrol ping`); try again once it does")
        executor = _Executor.of(request, name, folder)
        try:
            with naming_disk_errors(folder):
                return executor.submit_tasks(tasks, {**environment_of_jobs(), **environment})
        except (FailedJobError, FailedSubmissionError) as error:
            raise slurm.refused("sbatch refused the job", f"{error}\n--dry-run shows the script") from None

    def find(self, name: str) -> str:
        """Ask the queue and, where there is one, the accounting database for a job's id."""
        return slurm.find_job(name)

    def states(self, job_id: str, name: str, num_calls: int) -> list[JobState]:
        """Ask the queue and, where there is one, the accounting database for states of jobs."""
        return slurm.job_states(job_id, num_calls)

    def cancel(self, job_id: str, name: str) -> None:
        """Run scancel."""
        slurm.cancel_job(job_id)


class _Executor(submitit.SlurmExecutor):
    """submitit's executor, made to write scripts also where there is no Slurm.

    Submissions leave the environment of this process as it is, which submitit would change for a moment: in a
    training, threads and the processes that they fork read it meanwhile.
    """

    @classmethod
    def affinity(cls) -> int:
        return 2

    @classmethod
    def of(cls, request: JobRequest, name: str, folder: Path) -> "_Executor":
        executor = cls(folder)
        executor.update_parameters(**sbatch_parameters(request, name, folder))
        return executor

    def script(self) -> str:
        return self._make_submission_file_text(self._submitit_command_str, "")

    def submit_tasks(self, tasks: Sequence[Task], environment: Mapping[str, str]) -> str:
        """Submit a job for one task, an array for several, in this environment; return its id."""
        if len(tasks) > 1:
            self.parameters["map_count"] = len(tasks)
        pickles = [self.pickle_task(task) for task in tasks]
        script = self.folder / "submission.sh"
        script.write_text(self.script(), encoding="utf-8")
        run_sbatch = CommandFunction(["sbatch", str(script)], verbose=False, env=dict(environment))
        job_id = self._get_job_id_from_submission_command(run_sbatch())
        JobPaths(self.folder, job_id).move_temporary_file(script, "submission_file")
        ids = [f"{job_id}_{index}" for index in range(len(tasks))] if len(tasks) > 1 else [job_id]
        for file, task_id in zip(pickles, ids, strict=True):
            JobPaths(self.folder, task_id).move_temporary_file(file, "submitted_pickle")
        return job_id

    def pickle_task(self, task: Task) -> Path:
        """Write a task into the folder, under a name that stands until the job has an id; return the file."""
        submission, file = DelayedSubmission(task), self.folder / f"{uuid4().hex}.pkl"
        submission.set_timeout(self.parameters["time"], self.max_num_timeout)
        submission.dump(file)
        return file


OUTER_JOB = re.compile(
    "(SLURM|SLURMD|SRUN|SBATCH|SUBMITIT)_.*|MASTER_ADDR|MASTER_PORT|(LOCAL_)?(RANK|WORLD_SIZE)"
)
"""Variables of a job around this process, and SBATCH_*, which would come before what a script says."""


def environment_of_jobs() -> dict[str, str]:
    """Return the environment in which jobs are submitted: this process's, without that of a job around it."""
    # as `threads_setup` of the job around this process has set it
    outer_threads = ("OMP_NUM_THREADS", os.environ.get("SLURM_CPUS_PER_TASK"))
    return {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not (OUTER_JOB.fullmatch(name) or (name, value) == outer_threads)
    }


def sbatch_script(request: JobRequest, name: str, folder: Path) -> str:
    """Return the script that sbatch gets for a job of one call."""
    return _Executor.of(request, name, folder).script()


def sbatch_parameters(request: JobRequest, name: str, folder: Path) -> dict[str, Any]:
    """Return the parameters of a job for submitit."""
    options: dict[str, Any] = {
        "job_name": name,
        "nodes": request.nodes,
        "ntasks_per_node": request.ranks_per_node,
        "cpus_per_task": request.cpus_per_task,
        "gpus_per_node": request.gpus_per_node,
        "mem": f"{round(request.memory_gb * 1024)}M" if request.memory_gb else "",
        "time": request.minutes,
        "partition": request.partition,
        "account": request.account,
        "qos": request.qos,
        "constraint": request.constraint,
    }
    return {
        **{key: value for key, value in options.items() if value},
        "array_parallelism": request.array_parallelism,
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": {
            **dict(map(_option, request.sbatch)),
            "requeue": True,
            "signal": f"USR2@{request.warning_seconds}",
        },
        "setup": [
            privacy_check(folder),
            node_check(folder),
            *request.setup,
            *code_setup(folder),
            *default_variables(request),
        ],
        "srun_args": [
            f"--cpus-per-task={request.cpus_per_task}",  # since 22.05 srun no longer takes sbatch's
            "--kill-on-bad-exit=1",  # a rank that failed leaves the others waiting
            "--wait=0",  # and one that stopped early must not have the first one ended while it saves
        ],
        "teardown": requeue_script(folder, request.max_requeues),
    }


def _option(text: str) -> tuple[str, str | bool]:
    """Return key and value of `--mail-type=END` or `--exclusive`, as submitit takes them."""
    key, equals, value = text.removeprefix("--").partition("=")
    return key, value if equals else True


def privacy_check(folder: Path) -> str:
    """Return a shell line that ends the job where another folder lies in the place of the submission's.

    What ranks run and unpickle lies in it. Slurm has had its own copy of the script since the submission.
    """
    path = shlex.quote(str(folder))
    is_ours = f'[ -n "$(find {path} -maxdepth 0 -type d -uid "$(id -u)" ! -perm /022)" ]'
    return f"{is_ours} || {{ echo {path}: no longer the folder of this job, closed to others; exit 2; }}"


ON_EVERY_NODE = 'srun --overlap --mem=0 --ntasks="$nodes" --ntasks-per-node=1 --cpus-per-task=1'
"""Command that starts a process on every node of a job, also beside a step that has all of its memory."""

UNSEEN_FOLDER = "the folder of this job is missing or read-only there"
"""End of the line in a job's log about a node of which the job cannot use the disk."""


def node_check(folder: Path) -> str:
    """Return a shell line that ends a job of several nodes where one of them cannot write into its folder.

    The log of a rank could not be opened there. Slurm would start the other ranks without it, and they would
    wait for it in vain. A node that does not answer is left to the step of the ranks.
    """
    check = f"""[ -w "$0" ] || {{ echo "$SLURMD_NODENAME: $0: {UNSEEN_FOLDER}"; exit 3; }}"""
    on_all_nodes = (
        f"timeout 60 {ON_EVERY_NODE} sh -c {shlex.quote(check)} {shlex.quote(str(folder))} 2>/dev/null"
    )
    return f'nodes="$SLURM_JOB_NUM_NODES"; [ "$nodes" -eq 1 ] || {on_all_nodes} || [ $? -ne 3 ] || exit 74'


def code_setup(folder: Path) -> list[str]:
    """Return shell lines that make Python take the submission's copy of the code, in any folder."""
    path = shlex.quote(str(code_folder(folder)))
    return ["export PYTHONSAFEPATH=1", f'export PYTHONPATH={path}"${{PYTHONPATH:+:$PYTHONPATH}}"']


def default_variables(request: JobRequest) -> list[str]:
    """Return shell lines for variables that are not set: arithmetic keeps to a process's own cores."""
    values = {"OMP_NUM_THREADS": str(request.cpus_per_task), **SUBMITIT_LOG_LEVEL}
    return [f'export {name}="${{{name}:-{value}}}"' for name, value in values.items()]


def requeue_script(folder: Path, max_requeues: int) -> list[str]:
    """Return shell lines after srun that requeue a job that stopped early, or failed for no fault of its own.

    Ranks that were warned or terminated save and end with status 0, but leave no value; where the folder is
    gone, its run was deleted, and nothing is left to do. Before they have handlers they die of the signal
    (status 138, 140, 143), as they do where another rank failed, which then left its failure in the folder.
    Ranks that waited in vain for one that hangs leave a failure that says so. When a node is lost, ranks on
    the others end with errors, so that the job would fail before Slurm notices the node: a step of one
    process on every node that cannot start within a minute is taken for a lost node.
    A job that Slurm has requeued itself, or that was cancelled, is not in state RUNNING, and is left alone.

    One start more than `max_requeues` is allowed, in which the job fails with a message about the limit.
    """
    return [
        "status=$?",
        f"folder={shlex.quote(str(folder))}",
        'restarts="${SLURM_RESTART_COUNT:-0}"',
        'index="${SLURM_ARRAY_TASK_ID:-0}"',
        'job="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$index}"',
        'job="${job:-$SLURM_JOB_ID}"',
        "again() {",
        f'  [ "$restarts" -le {max_requeues} ] || return',
        "  for try in $(seq 20); do",
        '    state=$(squeue --noheader --states=all --jobs="$job" --format=%T) && break',
        "    sleep 6",
        "  done",
        '  [ "$state" = RUNNING ] || return',
        '  echo "$1: requeued"',
        '  until scontrol requeue "$job" || [ $((try += 1)) -gt 20 ]; do sleep 6; done',
        "}",
        'if [ "$status" -eq 0 ] && [ ! -e "$folder/value-$index.json" ] && [ -d "$folder" ]; then',
        '  again "stopped early"',
        """elif grep -qs '"kind": "HangError"' "$folder/failure-$index-$restarts-"*.json; then""",
        '  again "ranks waited in vain for others"',
        'elif [ "$status" -eq 138 ] || [ "$status" -eq 140 ] || [ "$status" -eq 143 ]; then',
        '  ls "$folder/failure-$index-$restarts-"*.json >/dev/null 2>&1 || again "stopped before it began"',
        'elif [ "$status" -ne 0 ] && [ "$nodes" -gt 1 ]; then',
        f"  timeout 60 {ON_EVERY_NODE} true ||",
        '    again "a node of $SLURM_JOB_NODELIST does not answer"',
        "fi",
        'exit "$status"',
    ]
