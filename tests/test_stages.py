"""The whole way, on a demo world of a few images: prepare, pretrain, evaluate, export."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cosmos.data.prepare import prepare
from cosmos.data.shards import ShardedSamples
from cosmos.model import checkpoints
from cosmos.stages import draw_preview
from cosmos.tracking import read_metrics
from tests.data.examples import flickr8k, machine

ROOT = Path(__file__).parent.parent
TINY = """
data: {samples_per_shard: 16, demo: {num_train: 40, num_heldout: 12, image_size: 48}}
views: {image_size: 32, local_size: 16, num_local_crops: 1}
model:
  inline:
    embed_dim: 16
    vision: {width: 16, layers: 1, head_width: 8}
    text: {width: 16, layers: 1, heads: 2}
pretrain: {epochs: 3, batch_size: 8, warmup_steps: 2, log_every_steps: 1, evaluate_every_epochs: 3}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and a prepared dataset."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "tiny.yaml").write_text(TINY)
    done = cosmos(folder, "prepare")
    assert done.returncode == 0, done.stderr
    return folder


def environment(folder: Path, **machine: str) -> dict[str, str]:
    settings = {
        "DATA_ROOT": str(folder / "data"),
        "RUNS_ROOT": str(folder / "runs"),
        "DEVICE": "cpu",
        **machine,
    }
    return {**os.environ, "OMP_NUM_THREADS": "1", **{f"COSMOS_{k}": v for k, v in settings.items()}}


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "cosmos", *arguments, "--experiment", str(folder / "tiny.yaml")]


def cosmos(folder: Path, *arguments: str, **machine: str) -> subprocess.CompletedProcess[str]:
    env = environment(folder, **machine)
    return subprocess.run(command(folder, *arguments), cwd=ROOT, env=env, capture_output=True, text=True)


def final_weights(folder: Path, run: str) -> dict[str, torch.Tensor]:
    saved = checkpoints.read(folder / "runs" / run / "checkpoints" / "step-00000015.pt")
    return {**saved.student, **{f"teacher.{n}": v for n, v in saved.teacher.items()}}


def test_prepare_says_where_everything_is_and_does_nothing_the_second_time(place: Path) -> None:
    files = {p: p.stat().st_mtime_ns for p in (place / "data").rglob("*") if p.is_file()}
    done = cosmos(place, "prepare", "--json")
    assert json.loads(done.stdout)["train"]["num_samples"] == 40
    assert (place / "data" / "demo" / "preview.png").is_file()
    assert {p: p.stat().st_mtime_ns for p in (place / "data").rglob("*") if p.is_file()} == files


def test_prepare_with_other_parameters_is_refused(place: Path) -> None:
    done = cosmos(place, "prepare", "--data.seed", "5")
    assert done.returncode == 1
    assert "data.seed: 0 -> 5" in done.stderr


def test_a_sample_that_cannot_be_shown_leaves_a_dataset_without_a_preview(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = machine(tmp_path)
    prepare(flickr8k(tmp_path), here, processes=1)
    folder = here.dataset("things", "train")
    os.truncate(folder / "shard-00000.tar", 512)
    draw_preview(ShardedSamples(folder, here), tmp_path / "preview.png")
    assert not (tmp_path / "preview.png").exists()
    assert "no preview: shard-00000.tar: has 512 bytes" in caplog.text


@pytest.mark.slow
def test_pretrain_evaluate_and_export_one_after_the_other(place: Path) -> None:
    done = cosmos(place, "pretrain", "--run", "whole", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert Path(result["checkpoint"]).is_file()
    run = place / "runs" / "whole"
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 16))
    assert "teacher/image_to_text_R@1" in lines[-1]["evaluation"]
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["data"].keys() == {"train"}
    assert provenance["sessions"][0]["packages"]["torch"]

    again = cosmos(place, "pretrain", "--run", "whole")
    assert "step 15 of 15" in again.stdout

    other = cosmos(place, "pretrain", "--run", "whole", "--pretrain.seed", "1")
    assert other.returncode == 1
    assert "pretrain.seed: 0 -> 1" in other.stderr

    measured = cosmos(place, "evaluate", "retrieval", "--run", "whole", "--json")
    assert measured.returncode == 0, measured.stderr
    found = json.loads(measured.stdout)
    assert found["num_images"] == 12
    assert [Path(source).name for source in found["data"]] == ["manifest.json"]
    assert found["models"].keys() == {"student", "teacher"}
    assert json.loads((run / "results" / "retrieval.json").read_text()) == found

    exported = subprocess.run(
        [sys.executable, "-m", "cosmos", "export", result["checkpoint"], str(place / "clip.pt")],
        cwd=ROOT, capture_output=True, text=True, env=environment(place),
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    assert (place / "clip.json").is_file()


@pytest.mark.slow
def test_killed_several_times_and_resumed_the_weights_are_the_same_bit_for_bit(place: Path) -> None:
    interval = {"CHECKPOINT_EVERY_STEPS": "2", "WORKERS": "1"}
    assert cosmos(place, "pretrain", "--run", "undisturbed", **interval).returncode == 0
    chance, kills = random.Random(0), 0
    metrics = place / "runs" / "killed" / "metrics.jsonl"
    for _ in range(3):
        process = subprocess.Popen(
            command(place, "pretrain", "--run", "killed"),
            cwd=ROOT,
            env=environment(place, **interval),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        before = len(read_metrics(metrics))
        while process.poll() is None and len(read_metrics(metrics)) < before + 3:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.15))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 2
    assert cosmos(place, "pretrain", "--run", "killed", WORKERS="0").returncode == 0
    expected, resumed = final_weights(place, "undisturbed"), final_weights(place, "killed")
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    steps = [line["step"] for line in read_metrics(metrics) if "loss" in line]
    assert steps == list(range(1, 16))


@pytest.mark.slow
def test_a_termination_signal_leaves_with_75_and_the_same_command_continues(place: Path) -> None:
    process = subprocess.Popen(
        command(place, "pretrain", "--run", "stopped"),
        cwd=ROOT,
        env=environment(place),
        stderr=subprocess.PIPE,
    )
    metrics = place / "runs" / "stopped" / "metrics.jsonl"
    while process.poll() is None and len(read_metrics(metrics)) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate()
    assert process.returncode == 75
    assert b"the same command continues" in message
    assert cosmos(place, "pretrain", "--run", "stopped").returncode == 0


def test_pretraining_without_data_says_what_makes_it(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = cosmos(tmp_path, "pretrain")
    assert done.returncode == 1
    assert "`cosmos prepare`" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_evaluation_lacks_shows_before_the_first_step(place: Path) -> None:
    done = cosmos(place, "pretrain", "--run", "unevaluated", "--evaluate.retrieval.split", "test")
    assert done.returncode == 1
    assert "has no split 'test', only heldout, train" in done.stderr
    assert not (place / "runs" / "unevaluated" / "metrics.jsonl").exists()


def test_evaluating_a_run_that_is_not_there_says_what_makes_one(place: Path) -> None:
    done = cosmos(place, "evaluate", "retrieval", "--run", "none")
    assert done.returncode == 1
    assert "no checkpoint; `cosmos pretrain` makes one" in done.stderr
