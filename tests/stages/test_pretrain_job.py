"""Pretraining as a job of this machine, and the commands about jobs."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cosmos.__main__ import main
from cosmos.launch.submission import read_submission
from cosmos.run.metrics import read_metrics
from cosmos.stages.jobs import find_submission
from tests.forks import run_forked
from tests.launch.test_submission import WRITTEN
from tests.stages.examples import ROOT, command, cosmos, environment

LOCAL = {"CLUSTER": "local", "SLURM__TASKS_PER_NODE": "2", "SLURM__MINUTES": "10", "WORKERS": "0"}


def about_jobs(place: Path, *arguments: str, **machine: str) -> subprocess.CompletedProcess[str]:
    """A command that takes no experiment."""
    return run_forked(main, arguments, ROOT, environment(place, **machine))


@contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """Processes that are started inside hear Ctrl-C, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_dry_run_shows_parameters_and_script_and_does_nothing(place: Path) -> None:
    shown = cosmos(place, "pretrain", "--run", "dry", "--dry-run", SLURM__NODES="2", SLURM__PARTITION="gpu")
    assert shown.returncode == 0, shown.stderr
    assert "#SBATCH --nodes=2\n" in shown.stdout
    assert "#SBATCH --partition=gpu\n" in shown.stdout
    assert "batch_size: 8" in shown.stdout
    machine_readable = cosmos(place, "pretrain", "--run", "dry", "--dry-run", "--json")
    described = json.loads(machine_readable.stdout)
    assert described["params"]["pretrain"]["batch_size"] == 8
    steps, problem = described["plan"]
    assert steps == "15 steps of 8 samples; 3 epochs of 5 steps; warm-up: 2 steps"
    assert problem.startswith("pretrain.momentum: 0.96 leaves the teacher 54.2% of its random first weights")
    assert f"\n# {steps}\n# {problem}\n" in shown.stdout
    assert described["script"].startswith("#!/bin/bash")
    assert not (place / "runs" / "dry").exists()


def test_a_dry_run_does_not_import_torch(place: Path) -> None:
    code = """
import sys
from cosmos.cli import main
main()
assert "torch" not in sys.modules
"""
    arguments = command(place, "pretrain", "--dry-run")[3:]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment(place), capture_output=True
    )
    assert done.returncode == 0, done.stderr


def test_what_a_job_would_only_find_out_in_the_queue_is_said_before(place: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text((place / "tiny.yaml").read_text())
    unprepared = cosmos(tmp_path, "pretrain", "--run", "early", **LOCAL)
    assert unprepared.returncode == 2
    assert "`cosmos prepare` makes it" in unprepared.stderr
    uneven = cosmos(place, "pretrain", "--run", "early", **{**LOCAL, "SLURM__TASKS_PER_NODE": "3"})
    assert uneven.returncode == 2
    assert "8 samples cannot be shared equally by 3 ranks" in uneven.stderr
    nodes = cosmos(place, "pretrain", "--run", "early", **LOCAL, SLURM__NODES="2")
    assert nodes.returncode == 2
    assert "slurm.nodes: 2 nodes need Slurm" in nodes.stderr
    assert not (place / "runs" / "early" / "job.json").exists()


def test_runs_without_jobs_are_told(place: Path) -> None:
    for name in ("attach", "cancel"):
        done = about_jobs(place, name, "no-such-run")
        assert done.returncode == 2
        assert "no-such-run has no job" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_job_of_a_run_that_this_user_may_only_read_is_found(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(WRITTEN))
    (tmp_path / "job.lock").mkdir()  # which cannot be opened to be written
    submission = find_submission(tmp_path / "job.json")
    assert submission is not None
    assert submission.job_id == "812"


@pytest.mark.slow
def test_a_job_of_this_machine_ends_as_the_command_would_have(place: Path) -> None:
    done = cosmos(place, "pretrain", "--run", "job", "--json", **LOCAL)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 15
    assert "step 15 of 15" in done.stderr
    again = cosmos(place, "pretrain", "--run", "job", **LOCAL)
    assert again.returncode == 0
    assert "attached" in again.stdout
    (row,) = [row for row in json.loads(about_jobs(place, "jobs", "--json").stdout) if row["run"] == "job"]
    assert (row["state"], row["step"], row["total_steps"]) == ("finished", 15, 15)
    assert "finished" in about_jobs(place, "jobs").stdout
    session = json.loads((place / "runs" / "job" / "provenance.json").read_text())["sessions"][0]
    assert (session["job"]["cluster"], session["job"]["requeues"]) == ("local", 0)
    over = about_jobs(place, "cancel", "job")
    assert "had ended already" in over.stdout


@pytest.mark.slow
def test_ctrl_c_leaves_the_job_and_attach_and_cancel_find_it(place: Path) -> None:
    (place / "long").mkdir()
    long = (
        (place / "tiny.yaml")
        .read_text()
        .replace("epochs: 3,", "epochs: 500,")
        .replace("every_epochs: 3", "every_epochs: 0")
    )
    (place / "long" / "tiny.yaml").write_text(long)
    arguments = command(place / "long", "pretrain", "--run", "left")
    env = environment(place, **LOCAL)
    with heeding_ctrl_c():
        process = subprocess.Popen(arguments, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
    run = place / "runs" / "left"
    while process.poll() is None and len(read_metrics(run / "metrics.jsonl")) < 3:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 75
    assert "goes on: `cosmos attach left` shows it, `cosmos cancel left` ends it" in said
    record = read_submission(run / "job.json")
    assert record is not None
    assert record.is_alive()

    beside = subprocess.run(
        arguments, cwd=ROOT, env=environment(place, CLUSTER="debug"), capture_output=True, text=True
    )
    assert beside.returncode == 2
    assert f"job {record.job_id} trains" in beside.stderr

    assert "cancelled" in about_jobs(place, "cancel", "left").stdout
    attached = about_jobs(place, "attach", "left")
    assert attached.returncode == 75
    assert "was asked to stop; all is saved, and the same command continues\nlog: " in attached.stderr
    assert not record.is_alive()
    steps = [line["step"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line]
    assert (run / "checkpoints" / f"step-{steps[-1]:08}.pt").is_file()
