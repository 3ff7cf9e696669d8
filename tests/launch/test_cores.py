"""Cores of a process that has fewer than the machine."""

import os
from pathlib import Path

import pytest

from cosmos.launch import cores
from cosmos.launch.cores import usable_cores


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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    affinity: int,
    of_group: str,
    of_parent: str,
    usable: int,
) -> None:
    (tmp_path / "cgroup").write_text("0::/slice/job\n")
    (tmp_path / "slice" / "job").mkdir(parents=True)
    (tmp_path / "slice" / "job" / "cpu.max").write_text(of_group)
    (tmp_path / "slice" / "cpu.max").write_text(of_parent)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)))
    assert usable_cores() == usable


def test_without_control_groups_the_affinity_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "OWN_CGROUP", Path("/no/such/file"))
    assert usable_cores() == len(os.sched_getaffinity(0))
