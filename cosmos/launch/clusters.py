"""Where jobs run: on Slurm, as processes of their own on this machine, or in this process."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName
from cosmos.errors import InputError
from cosmos.launch import slurm
from cosmos.launch.local import LocalCluster
from cosmos.launch.sbatch import SlurmCluster
from cosmos.launch.slurm import JobState
from cosmos.launch.task import Place, Task, run_inline

DISTRIBUTED = ("RANK", "SLURM_JOB_ID")
"""Variables of a process that a launcher has started already."""


class Cluster(Protocol):
    """Takes jobs, and says how they stand."""

    def submit(self, tasks: Sequence[Task], request: JobRequest, name: str, folder: Path) -> str:
        """Submits one job, or an array of jobs, and returns its id. ValueError where it is refused."""

    def find(self, name: str) -> str:
        """The id of the job of that name; "" where there is none. SlurmSilentError when nobody answers."""

    def look(self, job_id: str, name: str, num_calls: int) -> list[JobState]:
        """How it stands, by call. SlurmSilentError when nobody answers."""

    def cancel(self, job_id: str, name: str) -> None:
        """Ends it. ValueError where that is refused."""


class DebugCluster:
    """No jobs at all: calls run in this process, one after the other, as they are submitted."""

    def submit(self, tasks: Sequence[Task], request: JobRequest, name: str, folder: Path) -> str:
        """Runs the calls."""
        for task in tasks:
            run_inline(task, Place("debug", name, 0, 1, 0, (), 0, folder / "log.txt"))
        return name

    def find(self, name: str) -> str:
        """Nothing outlives the process."""
        return ""

    def look(self, job_id: str, name: str, num_calls: int) -> list[JobState]:
        """All is over."""
        return [JobState("COMPLETED")] * num_calls

    def cancel(self, job_id: str, name: str) -> None:
        """There is nothing to end."""


def resolve(cluster: ClusterName) -> ClusterName:
    """The cluster that `auto` stands for: Slurm where there is one and this is no job's process already.

    Raises ValueError where a Slurm is configured and does not answer: the login node is no place to train on.
    """
    if cluster != "auto":
        return cluster
    if any(name in os.environ for name in DISTRIBUTED) or not slurm.is_configured():
        return "debug"
    if not slurm.answers():
        raise InputError(
            "this machine's Slurm does not answer (`scontrol ping`); try again once it does, or set "
            "COSMOS_CLUSTER=debug to work in this process"
        )
    return "slurm"


def cluster_of(name: ClusterName) -> Cluster:
    """The cluster of that name, once `auto` is resolved."""
    clusters: dict[ClusterName, Cluster] = {
        "slurm": SlurmCluster(),
        "local": LocalCluster(),
        "debug": DebugCluster(),
    }
    return clusters[name]
