"""The whole way, on a demo world of a few images: prepare, pretrain, evaluate, export."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cosmos.errors import DamagedDataError, SupersededError, TransientError
from cosmos.model import checkpoints
from cosmos.run.metrics import read_metrics
from tests.disks import small_disk
from tests.distributed.test_stop_signals import stopped_at_import
from tests.stages.examples import ROOT, TINY, command, cosmos, environment


def final_weights(folder: Path, run: str, step: int = 15) -> dict[str, torch.Tensor]:
    saved = checkpoints.read_checkpoint(folder / "runs" / run / "checkpoints" / f"step-{step:08}.pt")
    return {**saved.student, **{f"teacher.{n}": v for n, v in saved.teacher.items()}}


@pytest.mark.slow
def test_pretrain_evaluate_and_export_one_after_the_other(place: Path) -> None:
    done = cosmos(place, "pretrain", "--run", "whole", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert Path(result["checkpoint"]).is_file()
    run = place / "runs" / "whole"
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 16))
    assert "teacher/heldout/image_to_text_R@1" in lines[-1]["evaluation"]
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["data"].keys() == {"train", "heldout"}
    assert provenance["sessions"][0]["packages"]["torch"]

    again = cosmos(place, "pretrain", "--run", "whole")
    assert "step 15 of 15; nothing is left to do\n" in again.stdout

    other = cosmos(place, "pretrain", "--run", "whole", "--pretrain.seed", "1")
    assert other.returncode == 2
    assert "pretrain.seed: 0 -> 1" in other.stderr

    measured = cosmos(place, "evaluate", "--run", "whole", "--json")
    assert measured.returncode == 0, measured.stderr
    found = json.loads(measured.stdout)
    assert list(found) == ["retrieval", "classification", "segmentation", "perception"]
    heldout = found["retrieval"]["heldout"]
    assert heldout["num_images"] == 12
    assert heldout["data_hash"] == provenance["data"]["heldout"]
    assert [Path(source).name for source in heldout["data"]] == ["manifest.json"]
    assert heldout["models"].keys() == {"student", "teacher"}
    for suite, datasets in found.items():
        assert json.loads((run / "results" / f"{suite}.json").read_text())["datasets"] == datasets

    exported = subprocess.run(
        [sys.executable, "-m", "cosmos", "export", result["checkpoint"], "--to", str(place / "exported")],
        cwd=ROOT, capture_output=True, text=True, env=environment(place),
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    assert (place / "exported" / "open_clip_config.json").is_file()


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


@pytest.mark.slow
def test_a_signal_before_the_first_step_leaves_with_75_too(place: Path) -> None:
    moments = {
        "torch.nn": signal.SIGINT,
        "cosmos.training.opening": signal.SIGTERM,
        "cosmos.data.loader": signal.SIGUSR1,
        "open_clip.model": signal.SIGUSR2,
    }
    arguments = ["--experiment", str(place / "tiny.yaml"), "--run"]
    stopped = [
        subprocess.Popen(
            stopped_at_import(module, number, "pretrain", *arguments, f"early-{number}"),
            cwd=ROOT, env=environment(place), stderr=subprocess.PIPE, text=True,
        )
        for module, number in moments.items()
    ]  # fmt: skip
    for process in stopped:
        _, said = process.communicate()
        assert process.returncode == 75, said
        assert "the same command continues" in said


@pytest.mark.slow
def test_a_shard_that_is_away_for_seconds_changes_no_weight(place: Path) -> None:
    assert cosmos(place, "pretrain", "--run", "undisturbed").returncode == 0
    process = subprocess.Popen(
        command(place, "pretrain", "--run", "waiting"),
        cwd=ROOT, env=environment(place, WORKERS="1"), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (place / "runs" / "waiting" / "data.json").exists():
        time.sleep(0.02)
    shard = place / "data" / "demo" / "train" / "shard-00001.tar"
    shard.rename(place / "away.tar")
    time.sleep(3)
    (place / "away.tar").rename(shard)
    _, message = process.communicate()
    assert process.returncode == 0, message
    assert "waits for data" in message
    expected, found = final_weights(place, "undisturbed"), final_weights(place, "waiting")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.slow
def test_damage_stops_a_run_which_goes_on_with_a_larger_limit(place: Path) -> None:
    shard = place / "data" / "demo" / "train" / "shard-00001.tar"
    content = shard.read_bytes()
    quarter = len(content) // 4
    shard.write_bytes(content[:quarter] + b"\xff" * (2 * quarter) + content[3 * quarter :])
    stopped = cosmos(place, "pretrain", "--run", "damaged")
    done = cosmos(place, "pretrain", "--run", "damaged", "--pretrain.max_damaged", "0.4")
    shard.write_bytes(content)
    assert stopped.returncode == DamagedDataError.exit_status
    assert "of 40 samples cannot be used, more than pretrain.max_damaged allows (0.001)" in stopped.stderr
    assert "shard-00001.tar: sample " in stopped.stderr
    assert done.returncode == 0, done.stderr
    lines = read_metrics(place / "runs" / "damaged" / "metrics.jsonl")
    last = next(line for line in reversed(lines) if "loss" in line)
    assert last["samples_used"] + last["damaged_samples"] == last["samples_listed"] == 40
    assert 6 <= last["damaged_samples"] <= 16


@pytest.mark.slow
def test_of_two_processes_on_one_run_the_later_one_goes_on_and_the_earlier_one_stops(place: Path) -> None:
    longer = ("--pretrain.epochs", "12")
    settings = environment(place, CHECKPOINT_EVERY_STEPS="1", WORKERS="0")

    def start(run: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(place, "pretrain", "--run", run, *longer),
            cwd=ROOT, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_for(process: subprocess.Popen[str], lines: int) -> None:
        while process.poll() is None and len(read_metrics(metrics)) < lines:
            time.sleep(0.02)

    metrics = place / "runs" / "twice" / "metrics.jsonl"
    undisturbed = start("once")
    assert undisturbed.wait() == 0
    orphan = start("twice")
    wait_for(orphan, 10)
    orphan.send_signal(signal.SIGSTOP)  # its node seems gone, and comes back as the run goes on elsewhere
    step = read_metrics(metrics)[-1]["step"]
    later = start("twice")
    wait_for(later, step + 10)
    orphan.send_signal(signal.SIGCONT)
    _, said = orphan.communicate()
    assert orphan.returncode == SupersededError.exit_status
    assert f"writer.json: process {later.pid} on {socket.gethostname()} took over this run" in said
    assert "Traceback" not in said
    assert later.wait() == 0
    steps = [line["step"] for line in read_metrics(metrics) if "loss" in line]
    assert steps == list(range(1, 61))
    evaluated = [line["step"] for line in read_metrics(metrics) if "evaluation" in line]
    assert evaluated == [15, 30, 45, 60]
    expected, found = final_weights(place, "once", 60), final_weights(place, "twice", 60)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.slow
def test_a_full_disk_is_a_transient_error_and_the_same_command_continues(place: Path) -> None:
    assert cosmos(place, "pretrain", "--run", "roomy").returncode == 0
    size = (place / "runs" / "roomy" / "checkpoints" / "step-00000015.pt").stat().st_size
    disk, settings = place / "disk", {"CHECKPOINT_EVERY_STEPS": "5"}
    with small_disk(disk, f"size={3 * size // 2}"):
        settings |= {"RUNS_ROOT": str(disk)}
        full = cosmos(place, "pretrain", "--run", "full", **settings)
        assert full.returncode == TransientError.exit_status, full.stderr
        assert "step-00000010.pt: cannot be written (No space left on device)" in full.stderr
        assert "free space there" in full.stderr
        assert [path.name for path in (disk / "full" / "checkpoints").iterdir()] == ["step-00000005.pt"]
        subprocess.run(["mount", "-o", f"remount,size={9 * size}", str(disk)], check=True)
        continued = cosmos(place, "pretrain", "--run", "full", **settings)
        assert continued.returncode == 0, continued.stderr
        assert "step 5 of 15" in continued.stdout
        saved = final_weights(disk.parent, "../disk/full")
    expected = final_weights(place, "roomy")
    assert all(torch.equal(expected[name], saved[name]) for name in expected)


def test_pretraining_without_data_says_what_makes_it(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = cosmos(tmp_path, "pretrain")
    assert done.returncode == 2
    assert "`cosmos prepare`" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_evaluation_lacks_shows_before_the_first_step(place: Path) -> None:
    done = cosmos(place, "pretrain", "--run", "unevaluated", "--evaluate.retrieval.datasets", "flickr8k")
    assert done.returncode == 2
    assert "flickr8k/captions.txt: no such file; `cosmos datasets` shows what it expects" in done.stderr
    assert not (place / "runs" / "unevaluated" / "metrics.jsonl").exists()
