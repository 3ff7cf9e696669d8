"""Partitions from the output of sinfo, as a real one printed it."""

import math
from pathlib import Path

import pytest

from cosmos.launch.partitions import NodeKind, Partition, find_partition, list_partitions, parse_minutes
from tests.launch.test_slurm import programs

PRINTED = """\
main*|up|infinite|2|8|64000|gpu:4|(null)
gpu|up|2-00:00:00|30|64|515000|gpu:a100:4(S:0-1),shard:8|a100,nvlink
gpu|up|2-00:00:00|2|96+|1031000|gpu:h100:8|h100
cpu|down|1:30:00|100|48|190000|(null)|(null)
some|warning"""


def test_partitions_have_the_nodes_that_sinfo_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, sinfo=PRINTED)
    cpu, gpu, main = list_partitions()
    assert (main.name, main.is_default, main.is_up, main.max_minutes) == ("main", True, True, math.inf)
    assert main.nodes == (NodeKind(2, 8, 64000, (("", 4),), frozenset()),)
    assert gpu.gpu_kinds == ("a100", "h100")
    assert [(kind.number, kind.cores, kind.num_gpus) for kind in gpu.nodes] == [(30, 64, 4), (2, 96, 8)]
    assert gpu.nodes[0].features == {"a100", "nvlink"}
    assert (gpu.max_minutes, cpu.max_minutes) == (2880, 90)
    assert not cpu.is_up
    assert cpu.nodes[0].num_gpus == 0


def test_the_default_partition_is_the_one_without_a_name() -> None:
    default, other = (
        Partition(name, name == "main", is_up=True, max_minutes=60, nodes=()) for name in ("main", "gpu")
    )
    assert find_partition([default, other], "") is default
    assert find_partition([default, other], "gpu") is other
    assert find_partition([default, other], "gup") is None
    assert find_partition([other], "") is None


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("infinite", math.inf), ("n/a", math.inf), ("30:00", 30), ("2:00:00", 120), ("1-02:30:00", 1590)],
)
def test_time_limits_are_read_as_slurm_writes_them(limit: str, minutes: float) -> None:
    assert parse_minutes(limit) == minutes


def test_without_a_slurm_there_are_no_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_partitions() == []
