"""Requests that a cluster cannot meet, each said with its key, its value and the remedy."""

import math
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.gpus import GPUS, Gpu
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import Params, PretrainParams
from cosmos.launch.partitions import NodeKind, Partition
from cosmos.plan.job_problems import job_problems
from cosmos.plan.run_place import RunPlace, free_bytes

NODES = NodeKind(8, 64, 512_000, (("a100", 4),), frozenset({"a100"}))
GPU = Partition("gpu", is_default=True, is_up=True, max_minutes=1440, nodes=(NODES,))
CPU = Partition("cpu", False, True, math.inf, (NodeKind(100, 48, 190_000, (), frozenset()),))
BIG = Partition("big", False, True, math.inf, (NodeKind(2, 192, 2_000_000, (("h100", 8),), frozenset()),))
V100 = GPUS["v100-16gb"]

MACHINE = Machine(runs_root=Path("/shared/runs"), data_root=Path("/shared/data"))


def problems(
    request: dict[str, Any],
    machine: Machine = MACHINE,
    place: RunPlace = RunPlace((GPU, CPU, BIG)),  # noqa: B008
    gpu: Gpu | None = None,
    precision: str = "bf16",
) -> list[str]:
    params = Params(pretrain=PretrainParams.model_validate({"precision": precision}))
    found = job_problems(params, machine, JobRequest(**request), place, gpu)
    return [f"{'error' if problem.is_error else 'warning'}: {problem}" for problem in found]


def test_a_request_that_the_partition_can_meet_has_no_problem() -> None:
    assert problems({"nodes": 8, "gpus_per_node": 4, "cpus_per_task": 16, "memory_gb": 500}) == []


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (
            {"partition": "gup"},
            "error: slurm.partition: gup is no partition of this cluster; near it: gpu",
        ),
        (
            {"partition": "cpu", "gpus_per_node": 4},
            "error: slurm.gpus_per_node: 4 GPUs are more than any node of partition cpu has; "
            "slurm.partition: gpu or big has",
        ),
        (
            {"gpus_per_node": 16},
            "error: slurm.gpus_per_node: 16 GPUs are more than any node of partition gpu has; 4 would do",
        ),
        (
            {"gpus_per_node": 4, "cpus_per_task": 32},
            "error: slurm.cpus_per_task: 32 cores for each of 4 processes are more than any node of "
            "partition gpu has; slurm.partition: big has",
        ),
        (
            {"memory_gb": 1000, "cpus_per_task": 2},
            "error: slurm.memory_gb: 1000 GiB are more than any node of partition gpu has; "
            "slurm.partition: big has",
        ),
        (
            {"nodes": 9},
            "error: slurm.nodes: 9 nodes are more than the 8 of partition gpu that have as much; "
            "set 8 or less, or name another partition",
        ),
        (
            {"minutes": 2880},
            "error: slurm.minutes: 2880 minutes are more than the 1440 that partition gpu allows; "
            "set 1440: the job is saved and requeued at its limit, and goes on",
        ),
        (
            {"gpus_per_node": 4, "tasks_per_node": 8},
            "error: slurm.tasks_per_node: 8 processes share 4 GPUs of a node, which NCCL refuses; "
            "leave it out: one process for each GPU",
        ),
        (
            {"gpus_per_node": 4, "tasks_per_node": 1},
            "warning: slurm.tasks_per_node: 1 leaves 3 of 4 GPUs of each node idle; "
            "leave it out: one process for each GPU",
        ),
        (
            {"cpus_per_task": 1},
            "warning: slurm.cpus_per_task: 1 cores of a process are fewer than its 2 workers; "
            "ask for 3, or set COSMOS_WORKERS to 1",
        ),
    ],
)
def test_what_a_partition_cannot_give_is_said(request_: dict[str, Any], problem: str) -> None:
    assert problems(request_) == [problem]


def test_a_partition_that_is_down_is_a_warning() -> None:
    down = Partition("gpu", True, False, math.inf, GPU.nodes)
    assert problems({}, place=RunPlace((down, BIG))) == [
        "warning: slurm.partition: gpu is not up; wait until it is, or take another: big"
    ]
    assert problems({}, place=RunPlace((BIG,)))[0].startswith(
        "error: slurm.partition: no partition is the default"
    )


@pytest.mark.parametrize(
    ("device", "request_", "problem"),
    [
        ("cpu", {"gpus_per_node": 4}, "warning: COSMOS_DEVICE: cpu leaves 4 GPUs of each node idle"),
        ("cuda", {}, "error: COSMOS_DEVICE: cuda needs a GPU, and the job asks for none"),
        ("cuda:1", {"gpus_per_node": 4}, "error: COSMOS_DEVICE: cuda:1 is one GPU for 4 processes"),
    ],
)
def test_devices_and_gpus_that_do_not_fit_are_said(
    device: str, request_: dict[str, Any], problem: str
) -> None:
    machine = MACHINE.model_copy(update={"device": device})
    (said,) = problems(request_, machine)
    assert said.startswith(problem)


def test_an_arithmetic_that_the_gpu_has_not_is_an_error() -> None:
    assert problems({"gpus_per_node": 4}, place=RunPlace(), gpu=V100) == [
        "error: pretrain.precision: bf16 is no arithmetic of v100-16gb; "
        "--pretrain.precision fp16 takes its tensor cores"
    ]
    assert problems({"gpus_per_node": 4}, place=RunPlace(), gpu=V100, precision="fp16") == []


def test_a_kind_of_gpu_that_the_partition_has_not_is_a_warning() -> None:
    assert problems({"gpus_per_node": 4}, gpu=GPUS["a100-40gb"]) == []
    assert problems({"gpus_per_node": 4}, gpu=GPUS["h100"]) == [
        "warning: slurm.gpu_kind: h100 is planned, and partition gpu has a100; "
        "state the kind that the partition has"
    ]


def test_folders_that_nodes_do_not_share_are_said_on_a_cluster_alone() -> None:
    machine = MACHINE.model_copy(update={"runs_root": Path("/tmp/runs")})
    assert problems({}, machine) == [
        "warning: COSMOS_RUNS_ROOT: /tmp/runs lies on a disk that each machine has for itself; "
        "name a folder that all nodes share"
    ]
    assert problems({}, machine, RunPlace()) == []


def test_a_taken_run_a_missing_key_and_missing_evaluation_data_are_said() -> None:
    place = RunPlace(
        run=Path("runs/mine"),
        run_problem="runs/mine holds a run with other parameters",
        unmeasurable=("heldout: no such file",),
        has_wandb_key=False,
    )
    machine = MACHINE.model_copy(update={"wandb": MACHINE.wandb.model_copy(update={"mode": "online"})})
    assert [said.partition(";")[0] for said in problems({}, machine, place)] == [
        "error: --run: mine is taken",
        "error: evaluate.while_training: heldout: no such file",
        "warning: COSMOS_WANDB__MODE: online has no API key",
    ]


def test_the_free_space_is_that_of_the_folder_to_be_made(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "runs" / "of" / "nobody") == free_bytes(tmp_path)
