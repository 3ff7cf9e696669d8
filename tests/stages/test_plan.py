"""`cosmos plan`, and the plan that a submission is held against."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cosmos.__main__ import main
from cosmos.config.experiment import experiment_names, load_experiment, load_params
from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.launch.partitions import NodeKind, Partition
from cosmos.run.directory import open_run
from cosmos.stages import plan as planning
from cosmos.stages.plan import (
    PlanQuestion,
    heed_plan,
    plan_pretraining,
    plan_published_runs,
    refuse_plan_errors,
)
from tests.forks import run_forked
from tests.stages.examples import ROOT, cosmos, environment

SHARED = {"runs_root": Path("/shared/runs"), "data_root": Path("/shared/data"), "cluster": "debug"}


def plan(folder: Path, *arguments: str, **machine: str) -> subprocess.CompletedProcess[str]:
    return run_forked(main, ["plan", *arguments], ROOT, environment(folder, **machine))


def test_a_plan_of_a_published_run_needs_no_data_and_no_gpu(tmp_path: Path) -> None:
    shown = plan(tmp_path, "--experiment", "vitb16-cc3m")
    assert shown.returncode == 0, shown.stderr
    words = " ".join(shown.stdout.split())
    assert "nodes x ranks 4 x 4 a100-40gb" in words
    assert "steps 88,192 32 epochs of 2,756" in words
    assert "a100-40gb: fits" in words
    assert "published: 16" in words
    assert "data.name: cc3m is not prepared on this machine; `cosmos prepare` makes it" in words


def test_json_has_the_figures_of_the_table(tmp_path: Path) -> None:
    done = plan(tmp_path, "--experiment", "vitb16-cc3m", "--nodes", "2", "--gpu", "h100", "--json")
    answer = json.loads(done.stdout)
    assert (answer["workload"]["nodes"], answer["workload"]["gpu"]) == (2, "h100")
    assert answer["workload"]["batch_per_rank"] == 128
    assert answer["remedies"] == []
    memory = answer["plan"]["memory"]
    parts = [value for key, value in memory.items() if key not in ("peak", "reserve", "needed")]
    assert sum(parts) == pytest.approx(memory["peak"])
    shown = plan(tmp_path, "--experiment", "vitb16-cc3m", "--nodes", "2", "--gpu", "h100").stdout
    assert f"{memory['peak'] / 1e9:.3g} GB" in shown
    assert f"{answer['plan']['steps']['total']:,}" in shown


def test_a_plan_with_an_error_ends_in_exit_status_2_with_its_figures(tmp_path: Path) -> None:
    done = plan(tmp_path, "--experiment", "vitb16-cc3m", "--nodes", "3", "--gpu", "t4")
    assert done.returncode == 2
    assert "3 x 4 t4" in " ".join(done.stdout.split())
    assert "cosmos: vitb16-cc3m cannot run so:" in done.stderr
    assert (
        "pretrain.batch_size: 1024 samples cannot be shared equally by 12 ranks; 1020 would do" in done.stderr
    )
    assert "pretrain.precision: bf16 is no arithmetic of t4" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pretrain.epoch", "3"], "no argument --pretrain.epoch; near it: --pretrain.epochs"),
        (["--experiment", "vitb16-cc3"], "experiments/vitb16-cc3.yaml: no such file; near it: vitb16-cc3m"),
        (["--gpu", "a100-40"], "'a100-40' is no kind of GPU; near it: a100-40gb"),
        (["--data.source", "coco"], "--data.source: `cosmos prepare` takes that"),
        (
            ["--published", "--nodes", "2"],
            "--published plans all published runs as they are, without --nodes",
        ),
        (["--model.architecture", "ViT-B-61"], "model.architecture: open_clip has no 'ViT-B-61'"),
    ],
)
def test_mistakes_are_those_of_pretrain(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = plan(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("name", experiment_names())
def test_every_shipped_experiment_has_a_plan_without_an_error(name: str) -> None:
    machine = Machine(**SHARED, workers=8)
    planned = plan_pretraining(load_experiment(name), machine, PlanQuestion(samples=3_000_000))
    assert not planned.errors
    assert planned.plan.memory.peak > 0


def test_all_published_runs_fit_and_are_set_beside_the_paper(tmp_path: Path) -> None:
    plans = plan_published_runs(Machine(**SHARED))
    assert len(plans) == 10
    for planned in plans:
        assert planned.workload.gpu
        assert planned.plan.memory.fits(planned.workload.gpu), planned.name
        assert planned.workload.num_ranks == planned.workload.published.gpus
        assert planned.workload.batch_per_rank == planned.workload.published.batch_per_gpu
    shown = plan(tmp_path, "--published")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("a100-40gb x") == 10
    assert len(json.loads(plan(tmp_path, "--published", "--json").stdout)) == 10


def test_a_plan_imports_no_torch_and_takes_less_than_five_seconds(tmp_path: Path) -> None:
    code = """
import sys, time
from cosmos.cli import main
main()
assert "torch" not in sys.modules
assert time.process_time() < 5
"""
    arguments = ["plan", "--experiment", "vitb16-merged30m", "--page", str(tmp_path / "page.html")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment(tmp_path), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert "a100-40gb" in (tmp_path / "page.html").read_text()


def test_a_calibrated_plan_has_a_time_on_this_machine(place: Path) -> None:
    assert "run not known" in " ".join(cosmos(place, "plan").stdout.split())
    measured = json.loads(cosmos(place, "plan", "--calibrate", "--json", WORKERS="0").stdout)["plan"]["time"]
    assert 0 < measured["step"]["seconds"]["low"] <= measured["step"]["seconds"]["high"]
    assert measured["step"]["utilisation"] is None


def test_a_run_of_other_parameters_is_no_place_for_the_plan(place: Path) -> None:
    assert cosmos(place, "plan", "--run", "planned").returncode == 0
    open_run(place / "runs" / "planned", load_params(str(place / "tiny.yaml")))
    assert cosmos(place, "plan", "--run", "planned").returncode == 0
    other = cosmos(place, "plan", "--run", "planned", "--pretrain.seed", "7")
    assert other.returncode == 2
    assert "holds a run with other parameters" in other.stderr
    assert "pretrain.seed: 0 -> 7" in other.stderr


GPU_NODES = Partition("gpu", True, True, 1440.0, (NodeKind(4, 64, 500_000, (("a100", 4),), frozenset()),))


def heed(monkeypatch: pytest.MonkeyPatch, cluster: Any = "slurm", **machine: Any) -> None:
    """Hold the published run on CC3M against a cluster of four nodes of four GPUs."""
    monkeypatch.setattr(planning, "partitions_here", lambda machine: (GPU_NODES,))
    settings = Machine(**{**SHARED, "workers": 8, **machine})
    heed_plan(load_experiment("vitb16-cc3m"), settings, cluster, Path("/shared/runs/mine"))


def test_a_submission_is_refused_with_what_would_make_it_go(monkeypatch: pytest.MonkeyPatch) -> None:
    heed(monkeypatch)
    with pytest.raises(
        InputError, match=r"slurm.nodes: 8 nodes are more than the 4 .*; COSMOS_PLAN_ERRORS=warn"
    ):
        heed(monkeypatch, slurm={"nodes": 8})
    small = {"nodes": 1, "gpu_kind": "a100-40gb"}
    with pytest.raises(InputError, match=r"256 samples on a rank needs .*; slurm.nodes: 4 .* or COSMOS_"):
        heed(monkeypatch, slurm=small)


def test_an_error_is_told_alone_where_the_machine_says_so_and_on_no_slurm(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for cluster, consequence in ("slurm", "warn"), ("local", "refuse"):
        caplog.clear()
        heed(monkeypatch, cluster, plan_errors=consequence, slurm={"nodes": 8})
        assert "slurm.nodes: 8 nodes are more than the 4 of partition gpu" in caplog.text


def test_an_unknown_kind_of_gpu_stops_no_submission_that_goes_ahead_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = {"gpu_kind": "abacus"}
    with pytest.raises(InputError, match=r"'abacus' is no kind of GPU; .*; COSMOS_PLAN_ERRORS=warn"):
        heed(monkeypatch, slurm=unknown)
    heed(monkeypatch, slurm=unknown, plan_errors="warn")
    assert "'abacus' is no kind of GPU" in caplog.text


def test_a_kind_of_gpu_that_the_experiment_alone_states_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heed(monkeypatch, slurm={"nodes": 1})
    assert "256 samples on a rank needs" in caplog.text


def test_errors_are_listed_together() -> None:
    machine = Machine(**SHARED)
    planned = plan_pretraining(
        load_experiment("vitb16-cc3m"), machine, PlanQuestion(nodes=3, gpu="v100-16gb")
    )
    with pytest.raises(InputError, match=r"^vitb16-cc3m cannot run so:\n  pretrain.batch_size: 1024 .*"):
        refuse_plan_errors(planned)
    refuse_plan_errors(replace(planned, problems=()))
    json.dumps(planned.as_json())


def test_a_refused_submission_leaves_no_run_and_the_setting_serves_every_door(place: Path) -> None:
    local = {"CLUSTER": "slurm", "SLURM__GPUS_PER_NODE": "2", "DEVICE": "cuda:1"}
    done = cosmos(place, "pretrain", "--run", "refused", **local)
    assert done.returncode == 2
    assert "COSMOS_DEVICE: cuda:1 is one GPU for 2 processes" in done.stderr
    assert "COSMOS_PLAN_ERRORS=warn submits it all the same" in done.stderr
    assert not (place / "runs" / "refused" / "params.yaml").exists()
