"""Cores of a process that has fewer than the machine."""

import os
from pathlib import Path

import pytest

from cosmos.distributed import cores
from cosmos.distributed.cores import SLURM_CORES, usable_cores


@pytest.fixture(autouse=True)
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of control groups, of a process in none, on eight cores."""
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for name in SLURM_CORES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("affinity", "of_group", "of_parent", "usable"),
    [
        (8, "max 100000", "max 100000", 8),
        (8, "max 100000", "300000 100000", 3),
        (8, "250000 100000", "300000 100000", 2),
        (2, "400000 100000", "max 100000", 2),
        (8, "50000 100000", "max 100000", 1),
        (8, "no quota", "max 100000", 8),
    ],
)
def test_the_cores_are_those_of_the_affinity_within_every_quota(
    groups: Path, monkeypatch: pytest.MonkeyPatch, affinity: int, of_group: str, of_parent: str, usable: int
) -> None:
    (groups / "cgroup").write_text("0::/slice/job\n")
    (groups / "slice" / "job").mkdir(parents=True)
    (groups / "slice" / "job" / "cpu.max").write_text(of_group)
    (groups / "slice" / "cpu.max").write_text(of_parent)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)))
    assert usable_cores() == usable


@pytest.mark.parametrize(
    ("path", "quota", "usable"), [("/docker/job", "300000", 3), ("/docker", "50000", 1), ("/", "-1", 8)]
)
def test_control_groups_of_version_1_count_too(groups: Path, path: str, quota: str, usable: int) -> None:
    (groups / "cgroup").write_text(f"5:memory:/other\n3:cpu,cpuacct:{path}\n1:cpuset:/\n0::/\n")
    # of a container: the path is that of the host, and the root is its own
    (groups / "cpu").mkdir()
    (groups / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (groups / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores() == usable


def test_without_control_groups_the_affinity_counts() -> None:
    assert usable_cores() == 8


@pytest.mark.parametrize(
    ("of_node", "of_task", "usable"),
    [("4", None, 4), ("6", "2", 2), ("64", "16", 8), (None, "3", 3), ("many", "", 8)],
)
def test_a_task_of_a_slurm_job_has_the_cores_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch, of_node: str | None, of_task: str | None, usable: int
) -> None:
    for name, value in zip(SLURM_CORES, (of_node, of_task), strict=True):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert usable_cores() == usable
