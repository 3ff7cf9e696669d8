"""Evaluations beside a training on a real Slurm, by a job on another node."""

import json
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from cosmos.launch.submission import read_submission
from cosmos.run.metrics import read_metrics
from tests.slurm.test_pretraining import COSMOS, OnSlurm, roots, slurm, weights
from tests.stages.examples import ROOT, TINY, cosmos, environment

pytestmark = pytest.mark.slurm

EPOCHS, EVERY = 60, 20
STEPS, DUE = 5 * EPOCHS, [100, 200, 300]
"""Steps of a run, and those that end in an evaluation."""

ONE_NODE = {"SLURM__NODES": "1", "SLURM__CPUS_PER_TASK": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared dataset, and the folder of an experiment that evaluates while it trains."""
    folder = tmp_path_factory.mktemp("beside")
    (folder / "evaluated").mkdir()
    described = TINY.replace("epochs: 3,", f"epochs: {EPOCHS},")
    (folder / "evaluated" / "tiny.yaml").write_text(
        described.replace("every_epochs: 3", f"every_epochs: {EVERY}")
    )
    prepared = cosmos(folder / "evaluated", "prepare", **roots(folder))
    assert prepared.returncode == 0, prepared.stderr
    return folder


def lines(place: Path, run: str) -> list[dict[str, Any]]:
    return read_metrics(place / "runs" / run / "metrics.jsonl")


def figures(place: Path, run: str) -> dict[int, dict[str, float]]:
    return {line["step"]: line["evaluation"] for line in lines(place, run) if "evaluation" in line}


def jobs_of_evaluations(run: OnSlurm) -> list[str]:
    """The states of the jobs that measured checkpoints of a run."""
    submitted = datetime.fromisoformat(run.submission.submitted).astimezone()
    since = submitted.strftime("%Y-%m-%dT%H:%M:%S")
    asked = slurm("sacct", "-X", "-n", "-P", "-S", since, "-o", "JobName,State")
    named = (line.split("|") for line in asked.splitlines())
    return [state.split()[0] for name, state in named if name.startswith(f"evaluate-{run.run}-")]


def test_figures_and_weights_are_those_of_a_training_that_evaluates_itself(place: Path) -> None:
    beside = OnSlurm(place, "beside", "evaluated", EVALUATE_IN="job", **ONE_NODE)
    said = beside.finish()
    assert beside.process.returncode == 0, said
    inside = cosmos(place / "evaluated", "pretrain", "--run", "inside", **roots(place), WORKERS="0")
    assert inside.returncode == 0, inside.stderr
    expected, measured = figures(place, "inside"), figures(place, "beside")
    assert list(expected) == DUE
    assert measured
    assert set(measured) <= set(expected)
    assert DUE[-1] in measured
    assert all(measured[step] == pytest.approx(expected[step], rel=1e-6) for step in measured)
    while "RUNNING" in jobs_of_evaluations(beside):  # the last one has left its figures, and ends
        time.sleep(0.5)
    assert set(jobs_of_evaluations(beside)) == {"COMPLETED"}
    first, second = weights(place, "inside", STEPS), weights(place, "beside", STEPS)
    assert all(torch.equal(first[name], second[name]) for name in first)
    steps = [line["step"] for line in lines(place, "beside")]
    assert steps == sorted(steps)


def test_a_requeued_training_finds_its_evaluation_and_a_cancelled_one_ends_it(place: Path) -> None:
    run = OnSlurm(place, "stopped", "evaluated", EVALUATE_IN="job", **ONE_NODE)
    record = run.path / "evaluations" / "submission.json"
    run.wait_for(lambda: record.exists() and bool(json.loads(record.read_text())["job_id"]))
    slurm("scontrol", "requeue", run.submission.job_id)
    run.wait_for(lambda: bool(figures(place, "stopped")))
    run.wait_for(record.exists)
    env = environment(place, **{**run.settings})
    subprocess.run([*COSMOS, "cancel", "stopped"], cwd=ROOT, env=env, check=True)
    said = run.finish()
    assert run.process.returncode == 1
    assert f"job {run.submission.job_id}: was cancelled" in said
    submission = read_submission(record)
    assert submission is None or not submission.is_alive()
    assert "RUNNING" not in jobs_of_evaluations(run)
