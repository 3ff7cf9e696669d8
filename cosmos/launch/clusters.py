"""Clusters that take jobs: Slurm, processes of their own on this machine, or this process itself."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, JobCluster
from cosmos.distributed.environment import is_launched
from cosmos.launch import slurm
from cosmos.launch.local import LocalCluster
from cosmos.launch.pickled_call import JOB_SECRETS
from cosmos.launch.sbatch import SlurmCluster
from cosmos.launch.slurm import JobState, SlurmSilentError
from cosmos.launch.task import RankPlace, Task, run_in_this_process


class Cluster(Protocol):
    """Place that runs jobs, and reports their states."""

    def submit(
        self,
        tasks: Sequence[Task],
        request: JobRequest,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        """Submit one job, or an array of jobs, with variables added to its environment, and return its id.

        Raises InputError where it is refused, and SlurmSilentError where Slurm does not answer.
        """

    def find(self, name: str) -> str:
        """Return the id of the job of that name; "" where there is none.

        Raises SlurmSilentError where Slurm does not answer.
        """

    def states(self, job_id: str, name: str, num_calls: int) -> list[JobState]:
        """Return the state of each call's job. Raises SlurmSilentError where Slurm does not answer."""

    def cancel(self, job_id: str, name: str) -> None:
        """End a job. Raises InputError where it is refused, SlurmSilentError where Slurm does not answer."""


class DebugCluster:
    """This process: calls run in it, one after the other, as they are submitted."""

    def submit(
        self,
        tasks: Sequence[Task],
        request: JobRequest,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        """Run the calls, and return the job's name as its id."""
        place = RankPlace("debug", name, 0, 1, 0, (), 0, folder / "log.txt")
        for task in tasks:
            run_in_this_process(task, place, environment.get(JOB_SECRETS, ""))
        return name

    def find(self, name: str) -> str:
        """Return "": nothing outlives the process."""
        return ""

    def states(self, job_id: str, name: str, num_calls: int) -> list[JobState]:
        """Return COMPLETED for every call: `submit` waited for them."""
        return [JobState("COMPLETED")] * num_calls

    def cancel(self, job_id: str, name: str) -> None:
        """Do nothing: no call runs any more."""


def resolve_cluster(cluster: ClusterName) -> JobCluster:
    """Return the cluster that `auto` stands for: Slurm, if there is one and this is no job's process already.

    Raises SlurmSilentError where a Slurm is configured and does not answer: the login node is no place to
    train on.
    """
    if cluster != "auto":
        return cluster
    if is_launched() or "SLURM_JOB_ID" in os.environ or not slurm.is_configured():
        return "debug"
    if not slurm.answers():
        raise SlurmSilentError(
            "this machine's Slurm does not answer (`scontrol ping`); try again once it does, or set "
            "COSMOS_CLUSTER=debug to work in this process"
        )
    return "slurm"


def open_cluster(name: JobCluster) -> Cluster:
    """Return the cluster of a name."""
    clusters: dict[JobCluster, Cluster] = {
        "slurm": SlurmCluster(),
        "local": LocalCluster(),
        "debug": DebugCluster(),
    }
    return clusters[name]
