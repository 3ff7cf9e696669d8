"""Evaluation where the machine says, and the folder that DVC gets."""

import json
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.machine import Machine
from cosmos.stages.evaluate_job import Evaluation, evaluate_into, evaluation_digest, launch_evaluation
from cosmos.stages.evaluation_result import EvaluationResult
from tests.launch.examples import SMALL
from tests.stages.colours import experiment, here, make_place, params, write_flags, write_run

SUITES: tuple[SuiteName, ...] = ("retrieval", "classification")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_place(tmp_path)
    return tmp_path


def locally(folder: Path) -> Machine:
    return here(folder).model_copy(update={"cluster": "local", "slurm": SMALL})


def into(folder: Path, *suites: Any, checkpoint: str = "", **evaluate: Any) -> EvaluationResult:
    """Evaluates the run of `place`; the folder `output` gets the results."""
    run = folder / "runs" / "tiny"
    wanted = experiment(**evaluate)
    return evaluate_into(folder / "output", suites, wanted, here(folder), run, checkpoint, quiet=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_output_has_what_this_evaluation_asked_for_and_nothing_older(place: Path) -> None:
    outcome = into(place, "retrieval", "segmentation", segmentation=write_flags(place))
    files = {"retrieval.json", "retrieval.md", "segmentation.json", "segmentation.md"}
    for suite, dataset, ends in (
        ("segmentation", "flags", ("png", "npz")),
        ("retrieval", "heldout", ("npz",)),
    ):
        version = f"{dataset}@{outcome.results[suite][dataset]['data_hash'][:8]}"
        files |= {f"{suite}-{version}-{model}.{end}" for model in ("student", "teacher") for end in ends}
    assert contents(place / "output").keys() == files
    outcome = into(place, "classification", models=["teacher"])
    (values,) = (place / "output").glob("classification-colours@*-teacher.npz")
    assert contents(place / "output").keys() == {"classification.json", "classification.md", values.name}
    results = json.loads((place / "output" / "classification.json").read_text())
    assert results == {"suite": "classification", "datasets": outcome.results["classification"]}
    assert "student" not in (place / "output" / "classification.md").read_text()


def test_the_output_of_another_checkpoint_than_the_runs_own_is_called_alike(place: Path) -> None:
    write_run(place / "runs" / "other", seed=1)
    other = place / "runs" / "other" / "checkpoints" / "step-00000003.pt"
    into(place, "segmentation", checkpoint=str(other), segmentation=write_flags(place), models=["student"])
    files = [name.partition("@")[0] for name in sorted(contents(place / "output"))]
    assert files == ["segmentation-flags", "segmentation-flags", "segmentation.json", "segmentation.md"]


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


def test_jobs_are_known_by_what_they_measure(place: Path) -> None:
    run = place / "runs" / "tiny"

    def identity(suite: Any = "retrieval", **evaluate: Any) -> str:
        return evaluation_digest([Evaluation((suite,), params(**evaluate), here(place), run, "")])

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
