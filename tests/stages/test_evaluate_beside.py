"""The job that measures a checkpoint beside its training."""

import json
import os
from pathlib import Path

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.run.directory import RunDir
from cosmos.run.metrics import read_metrics
from cosmos.stages.evaluate_beside import CheckpointEvaluation, evaluation_beside, share_of_request
from tests.stages.examples import cosmos

WHOLE = JobRequest(nodes=4, gpus_per_node=4, cpus_per_task=8, memory_gb=256, partition="gpu", minutes=600)


def call_of(machine: Machine) -> tuple[CheckpointEvaluation, JobRequest, str]:
    spec = evaluation_beside(
        Params(), machine, RunDir(Path("runs/a")), Path("runs/a/evaluations/step-00000007.pt")
    )
    (call,) = spec.calls
    assert isinstance(call, CheckpointEvaluation)
    assert spec.record == Path("runs/a/evaluations/submission.json")
    return call, spec.request, spec.cluster


def test_beside_a_job_of_slurm_it_is_a_job_with_the_resources_of_one_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COSMOS_JOB", json.dumps({"cluster": "slurm", "id": "12", "requeues": 0}))
    machine = Machine(slurm=WHOLE, device="cuda", evaluation_slurm=JobRequest(partition="small"))
    call, request, cluster = call_of(machine)
    assert (cluster, call.is_shared, call.machine.device) == ("slurm", False, "cuda")
    assert (request.nodes, request.gpus_per_node, request.num_ranks, request.memory_gb) == (1, 1, 1, 64)
    assert (request.cpus_per_task, request.partition, request.minutes) == (8, "small", 600)
    assert call.checkpoint.is_absolute()


def test_beside_any_other_training_it_is_a_process_without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSMOS_JOB", raising=False)
    call, request, cluster = call_of(Machine(slurm=WHOLE, device="cuda"))
    assert (cluster, call.is_shared, call.machine.device) == ("local", True, "cpu")
    assert (request.num_ranks, request.gpus_per_node) == (1, 0)
    assert call.machine.threads >= 1


def test_what_the_machine_sets_for_evaluations_wins() -> None:
    machine = Machine(slurm=WHOLE, evaluation_slurm=JobRequest(gpus_per_node=2, tasks_per_node=2, minutes=30))
    request = share_of_request(machine, is_shared=False)
    assert (request.num_ranks, request.minutes, request.warning_seconds) == (2, 30, 120)


@pytest.mark.slow
def test_a_training_in_the_command_is_evaluated_by_a_process_beside_it(place: Path) -> None:
    often = ("--pretrain.epochs", "24", "--pretrain.evaluate_every_epochs", "4")
    inside = cosmos(place, "pretrain", "--run", "inside", *often)
    assert inside.returncode == 0, inside.stderr
    beside = cosmos(place, "pretrain", "--run", "beside", *often, EVALUATE_IN="job")
    assert beside.returncode == 0, beside.stderr

    def figures(run: str) -> dict[int, dict[str, float]]:
        lines = read_metrics(place / "runs" / run / "metrics.jsonl")
        return {line["step"]: line["evaluation"] for line in lines if "evaluation" in line}

    expected, measured = figures("inside"), figures("beside")
    assert list(expected) == [20, 40, 60, 80, 100, 120]
    assert {120} < set(measured)
    assert all(measured[step] == pytest.approx(expected[step], rel=1e-6) for step in measured)
    log = (place / "runs" / "beside" / "log.txt").read_text()
    assert all(f"step {step} is not evaluated" in log for step in set(expected) - set(measured))
    assert not list((place / "runs" / "beside" / "evaluations").glob("*.pt"))
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19
