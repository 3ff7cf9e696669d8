"""Evaluations of several checkpoints by several suites, here and as jobs."""

import json
import logging
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import load_experiment
from cosmos.config.machine import Machine
from cosmos.errors import TransientError
from cosmos.stages.checkpoint_origin import run_of_checkpoint
from cosmos.stages.evaluate_job import Evaluation
from cosmos.stages.evaluate_sweep import EvaluationRow, cancel_many, evaluate_many
from tests.launch.examples import SMALL
from tests.stages.colours import experiment, here, make_place, write_run
from tests.stages.sweeps import job_ids, sweep

SUITES: tuple[SuiteName, ...] = ("retrieval", "classification")
FIGURES = ("top1", "top5", "mean_per_class", "ties")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_place(tmp_path)
    return tmp_path


def locally(folder: Path) -> Machine:
    return here(folder).model_copy(update={"cluster": "local", "slurm": SMALL})


def many(folder: Path, *checkpoints: str) -> list[EvaluationRow]:
    return evaluate_many(checkpoints, SUITES, experiment(), here(folder), print)


def test_every_checkpoint_is_measured_by_every_suite_and_one_that_is_bad_spoils_its_own_rows_alone(
    place: Path,
) -> None:
    write_run(place / "runs" / "second", seed=1)
    damaged = place / "damaged.pt"
    damaged.write_bytes(b"not a checkpoint")
    rows = many(place, "tiny", str(damaged), "nowhere", str(place / "runs" / "second"), "tiny")
    figures = {(row.checkpoint, row.suite, row.dataset, row.model): row.figures for row in rows}
    second = str(place / "runs" / "second")
    for checkpoint in ("tiny", second):
        for model in ("student", "teacher"):
            assert figures[checkpoint, "classification", "colours", model].keys() == set(FIGURES)
            assert "image_to_text_R@1" in figures[checkpoint, "retrieval", "heldout", model]
    problems = [(row.checkpoint, row.suite, row.problem) for row in rows if row.problem]
    assert not any(row.is_transient for row in rows)
    assert [problem[:2] for problem in problems] == [
        (str(damaged), "retrieval"),
        (str(damaged), "classification"),
        ("nowhere", "retrieval"),
        ("nowhere", "classification"),
    ]
    assert str(damaged) in problems[0][2]
    assert "nowhere: no checkpoint's file, and no run" in problems[2][2]
    assert "there are: second, tiny" in problems[2][2]
    assert len(rows) == 2 * 4 + 4


def test_a_problem_that_may_pass_is_marked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(call: Evaluation) -> dict[str, Any]:
        raise (
            TransientError("the file server does not answer") if call.suites == ("retrieval",) else OSError(5)
        )

    monkeypatch.setattr(Evaluation, "__call__", failing)
    rows = many(place, "tiny")
    assert [(row.suite, row.is_transient) for row in rows] == [("retrieval", True), ("classification", True)]
    assert rows[0].problem == "the file server does not answer"


def test_a_problem_beside_figures_is_marked_as_its_result_is(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"results": {}, "problems": ["heldout: the disk failed"], "is_first": True, "is_transient": True}
    monkeypatch.setattr(Evaluation, "__call__", lambda call: left)
    assert all(row.is_transient for row in many(place, "tiny"))


def test_a_second_call_measures_nothing_twice(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = many(place, "tiny")
    caplog.clear()  # another test may have had a command set the level of logs
    with caplog.at_level(logging.INFO, logger="cosmos"):
        assert many(place, "tiny") == first
    assert "measured in" not in caplog.text


def test_a_name_is_a_run_or_a_file_or_says_where_it_comes_from(place: Path) -> None:
    run, checkpoint = place / "runs" / "tiny", place / "runs" / "tiny" / "checkpoints" / "step-00000003.pt"
    machine = here(place)
    assert run_of_checkpoint("tiny", machine) == (run, "")
    assert run_of_checkpoint(str(run), machine) == (run, "")
    path, name = run_of_checkpoint(str(checkpoint), machine)
    assert (path.parent, name) == (place / "runs", str(checkpoint))
    published = "published:cosmos_vitb16_cc3m"
    assert run_of_checkpoint(published, machine) == (
        place / "runs" / "published-cosmos_vitb16_cc3m",
        published,
    )


@pytest.mark.slow
def test_ctrl_c_leaves_the_jobs_and_the_same_call_waits_for_them(place: Path) -> None:
    write_run(place / "runs" / "second", seed=1)
    process = sweep(place, "tiny", "second")
    folder = place / "runs" / "evaluations"
    while process.poll() is None and not any(job_ids(folder)):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode != 0
    (job,) = job_ids(folder)
    assert f"job {job} goes on: the same command waits for it, `kill {job}` ends it" in said

    again = sweep(place, "tiny", "second")
    rows, said = again.communicate()
    assert again.returncode == 0, said
    assert f"job {job}, submitted" in said
    assert len(json.loads(rows)) == 8
    assert not list(folder.glob("*.json"))
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 1


@pytest.mark.slow
def test_the_jobs_of_a_sweep_are_cancelled_by_what_it_measures(place: Path) -> None:
    process = sweep(place, "tiny")
    while process.poll() is None and not any(job_ids(place / "runs" / "evaluations")):
        time.sleep(0.1)
    process.kill()
    process.communicate()
    (job,) = job_ids(place / "runs" / "evaluations")
    asked = load_experiment(str(place / "tiny.yaml"))
    assert cancel_many(["other"], SUITES, asked, locally(place)) == "no evaluation is under way"
    assert cancel_many(["tiny"], SUITES, asked, locally(place)) == f"job {job}: cancelled"
    until = time.monotonic() + 30  # its process takes a moment to end
    while cancel_many(["tiny"], SUITES, asked, locally(place)) != "no evaluation is under way":
        assert time.monotonic() < until
        time.sleep(0.1)
