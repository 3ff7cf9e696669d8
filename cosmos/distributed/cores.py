"""Cores that this process may use: of its affinity, within its control groups' quotas and its Slurm job."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Root of the control groups; those of version 1 that limit the CPU are in its folder cpu."""

OWN_CGROUP = Path("/proc/self/cgroup")
"""File with the paths of this process's control groups, below the roots."""

SLURM_CORES = ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK")
"""Variables with the cores of a Slurm job on this node, and of each task of it where that was asked for.

Slurm may leave a task the affinity of the whole node.
"""


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    A container or a Slurm job may have fewer than the machine.
    """
    limits = [*cgroup_quotas(), *slurm_cores()]
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.floor, limits)]))


def slurm_cores() -> Iterator[int]:
    """Yield the limits that Slurm exports to the tasks of a job."""
    yield from (int(text) for text in map(os.environ.get, SLURM_CORES) if text and text.isdigit())


def cgroup_quotas() -> Iterator[float]:
    """Yield the quota, in cores, of each control group of this process that has one."""
    with suppress(OSError, ValueError):
        for line in OWN_CGROUP.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                yield from quotas_of(path, CGROUPS / "cpu" if controllers else CGROUPS)


def quotas_of(path: str, root: Path) -> Iterator[float]:
    """Yield the quotas of the control group at `path` and of those around it, up to `root`.

    In a container the path may be that of the host, of which the container sees the root alone.
    """
    own = root / path.lstrip("/")
    for group in (own, *own.parents):
        if group.is_relative_to(root):
            yield from read_quota(group)


def read_quota(group: Path) -> Iterator[float]:
    """Yield the quota of a control group, in cores; none where it has no limit."""
    with suppress(FileNotFoundError):
        quota, period = (group / "cpu.max").read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    with suppress(FileNotFoundError):  # of version 1
        microseconds = int((group / "cpu.cfs_quota_us").read_text())
        if microseconds > 0:
            yield microseconds / int((group / "cpu.cfs_period_us").read_text())
