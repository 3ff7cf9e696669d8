"""Cores that this process may use: those of its affinity, within the quota of its control groups."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Root of the control groups (version 2)."""

OWN_CGROUP = Path("/proc/self/cgroup")
"""File with the path of this process's control group, below the root."""


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    A container or a Slurm job may have fewer than the machine.
    """
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.floor, cgroup_quotas())]))


def cgroup_quotas() -> Iterator[float]:
    """Yield the quota, in cores, of each control group of this process that has one."""
    with suppress(OSError, ValueError):
        line = OWN_CGROUP.read_text().splitlines()[-1]
        own = CGROUPS / line.removeprefix("0::").lstrip("/")  # of version 1, this is no folder
        for group in (own, *own.parents):
            if group.is_relative_to(CGROUPS) and (group / "cpu.max").exists():
                yield from read_quota(group / "cpu.max")


def read_quota(file: Path) -> Iterator[float]:
    """Yield the quota in a file `cpu.max`, in cores; none where the file sets no limit."""
    quota, period = file.read_text().split()
    if quota != "max":
        yield int(quota) / int(period)
