"""Evaluations where the machine says, one or many, and the folder that DVC gets."""

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
from cosmos.launch.outcome import CallFailure, RankFailure
from cosmos.stages.evaluate_jobs import (
    Evaluation,
    Row,
    cancel_many,
    digest,
    evaluate_into,
    evaluate_many,
    find_subject,
    in_short,
    launch_evaluation,
)
from cosmos.stages.evaluation_result import Evaluated
from tests.launch.examples import SMALL
from tests.stages.colours import experiment, here, make_place, params, write_flags, write_run
from tests.stages.sweeps import job_ids, sweep

SUITES: tuple[SuiteName, ...] = ("retrieval", "classification")
FIGURES = ("top1", "top5", "mean_per_class", "ties")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_place(tmp_path)
    return tmp_path


def locally(folder: Path) -> Machine:
    return here(folder).model_copy(update={"cluster": "local", "slurm": SMALL})


def into(folder: Path, *suites: Any, checkpoint: str = "", **evaluate: Any) -> Evaluated:
    """Evaluates the run of `place`; the folder `output` gets the results."""
    run = folder / "runs" / "tiny"
    wanted = experiment(**evaluate)
    return evaluate_into(folder / "output", suites, wanted, here(folder), run, checkpoint, quiet=True)


def many(folder: Path, *checkpoints: str) -> list[Row]:
    return evaluate_many(checkpoints, SUITES, experiment(), here(folder), print)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_output_has_what_this_evaluation_asked_for_and_nothing_older(place: Path) -> None:
    into(place, "retrieval", "segmentation", segmentation=write_flags(place))
    pictures = {f"segmentation-flags-{model}.png" for model in ("student", "teacher")}
    tables = {"retrieval.json", "retrieval.md", "segmentation.json", "segmentation.md"}
    assert contents(place / "output").keys() == pictures | tables
    outcome = into(place, "classification", models=["teacher"])
    assert contents(place / "output").keys() == {"classification.json", "classification.md"}
    found = json.loads((place / "output" / "classification.json").read_text())
    assert found == {"suite": "classification", "datasets": outcome.results["classification"]}
    assert "student" not in (place / "output" / "classification.md").read_text()


def test_the_output_of_another_checkpoint_than_the_runs_own_is_called_alike(place: Path) -> None:
    write_run(place / "runs" / "other", seed=1)
    other = place / "runs" / "other" / "checkpoints" / "step-00000003.pt"
    into(place, "segmentation", checkpoint=str(other), segmentation=write_flags(place), models=["student"])
    found = contents(place / "output").keys()
    assert found == {"segmentation.json", "segmentation.md", "segmentation-flags-student.png"}


def test_the_output_stays_byte_for_byte_where_nothing_is_measured_anew(place: Path) -> None:
    flags = write_flags(place)
    into(place, "segmentation", segmentation=flags)
    before = contents(place / "output")
    into(place, "retrieval", "classification")
    into(place, "segmentation", segmentation=flags)
    assert contents(place / "output") == before


def test_there_is_no_new_output_where_not_everything_was_measured(place: Path) -> None:
    into(place, "classification")
    before = contents(place / "output")
    outcome = into(place, "classification", classification={"datasets": ["none", "colours"]})
    assert len(outcome.problems) == 1
    assert contents(place / "output") == before


def test_every_checkpoint_is_measured_by_every_suite_and_one_that_is_bad_spoils_its_own_rows_alone(
    place: Path,
) -> None:
    write_run(place / "runs" / "second", seed=1)
    damaged = place / "damaged.pt"
    damaged.write_bytes(b"not a checkpoint")
    found = many(place, "tiny", str(damaged), "nowhere", str(place / "runs" / "second"), "tiny")
    figures = {(row.checkpoint, row.suite, row.dataset, row.model): row.figures for row in found}
    second = str(place / "runs" / "second")
    for checkpoint in ("tiny", second):
        for model in ("student", "teacher"):
            assert figures[checkpoint, "classification", "colours", model].keys() == set(FIGURES)
            assert "image_to_text_R@1" in figures[checkpoint, "retrieval", "heldout", model]
    problems = [(row.checkpoint, row.suite, row.problem) for row in found if row.problem]
    assert [problem[:2] for problem in problems] == [
        (str(damaged), "retrieval"),
        (str(damaged), "classification"),
        ("nowhere", "retrieval"),
        ("nowhere", "classification"),
    ]
    assert str(damaged) in problems[0][2]
    assert "nowhere: no checkpoint's file, and no run" in problems[2][2]
    assert "there are second, tiny" in problems[2][2]
    assert len(found) == 2 * 4 + 4


def test_a_second_call_measures_nothing_twice(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = many(place, "tiny")
    with caplog.at_level(logging.INFO, logger="cosmos"):
        assert many(place, "tiny") == first
    assert "measured in" not in caplog.text


def test_a_name_is_a_run_or_a_file_or_says_where_it_comes_from(place: Path) -> None:
    run, checkpoint = place / "runs" / "tiny", place / "runs" / "tiny" / "checkpoints" / "step-00000003.pt"
    machine = here(place)
    assert find_subject("tiny", machine) == (run, "")
    assert find_subject(str(run), machine) == (run, "")
    path, name = find_subject(str(checkpoint), machine)
    assert (path.parent, name) == (place / "runs", str(checkpoint))
    published = "published:cosmos_vitb16_cc3m"
    assert find_subject(published, machine) == (place / "runs" / "published-cosmos_vitb16_cc3m", published)


def test_jobs_are_known_by_what_they_measure(place: Path) -> None:
    run = place / "runs" / "tiny"

    def identity(suite: Any = "retrieval", **evaluate: Any) -> str:
        return digest([Evaluation((suite,), params(**evaluate), here(place), run, "")])

    before = identity()
    assert identity() == before
    assert identity("classification") != before
    assert identity(models=["student"]) != before
    write_run(run, seed=1)
    assert identity() != before


@pytest.mark.parametrize(
    ("checkpoint", "evaluate", "message"),
    [
        ("no-such.pt", {}, "no-such.pt: no such checkpoint"),
        ("published:no-such", {}, "no such published checkpoint"),
        ("", {"retrieval": {"datasets": ["train"]}}, "retrieval on train: .*`cosmos prepare` makes it"),
    ],
)
def test_what_a_job_would_only_find_out_in_the_queue_is_said_before(
    place: Path, checkpoint: str, evaluate: dict[str, Any], message: str
) -> None:
    run = place / "runs" / "tiny"
    with pytest.raises(ValueError, match=message):
        launch_evaluation(["retrieval"], experiment(**evaluate), locally(place), run, checkpoint, quiet=True)
    assert not (run / "jobs").exists()


def test_demo_sets_that_are_not_drawn_yet_are_missed_before_the_queue(place: Path) -> None:
    run = place / "runs" / "tiny"
    with pytest.raises(ValueError, match=r"perception on demo: .*`cosmos prepare` makes it"):
        launch_evaluation(["perception"], experiment(), locally(place), run, "", quiet=True)


def test_a_job_without_a_value_is_told_in_a_line() -> None:
    lines = [
        "Traceback (most recent call last):",
        "  File 'x.py'",
        "torch.OutOfMemoryError: CUDA: no\nmemory",
    ]
    rank = RankFailure(0, 0, "node0", "OutOfMemoryError", "\n".join(lines) + "\n", 0.0)
    failed = CallFailure("12_3", "failed", "1", rank, Path("log.out"))
    assert in_short(failed) == "torch.OutOfMemoryError: CUDA: no\nmemory (job 12_3; log: log.out)"
    cancelled = CallFailure("12_3", "was cancelled", "", None, Path("log.out"))
    assert in_short(cancelled) == "job 12_3: was cancelled; log: log.out"


@pytest.mark.slow
def test_an_evaluation_as_a_job_ends_as_one_in_this_process(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place / "runs" / "tiny"
    there = launch_evaluation(SUITES, experiment(), locally(place), run, "", quiet=False)
    said = capsys.readouterr().out
    assert f"results: {run / 'results' / 'retrieval.json'}" in said
    assert json.loads(json.dumps(there.results)) == there.results
    assert not list(run.glob("jobs/*.json"))
    assert launch_evaluation(SUITES, experiment(), here(place), run, "", quiet=True) == there


@pytest.mark.slow
def test_a_failed_job_is_told_and_the_same_command_submits_another(place: Path) -> None:
    damaged = place / "damaged.pt"
    damaged.write_bytes(b"not a checkpoint")
    run = place / "runs" / "damaged"
    for _ in range(2):
        with pytest.raises(ValueError, match=r"failed(.|\n)*damaged\.pt(.|\n)*log: "):
            launch_evaluation(["retrieval"], experiment(), locally(place), run, str(damaged), quiet=True)
        assert not list(run.glob("jobs/*.json"))
    assert len([path for path in run.glob("jobs/*") if path.is_dir()]) == 2


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
