import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.run.directory import RunDir
from cosmos.run.files import write_json
from cosmos.run.labels import RunLabels
from cosmos.run.metrics import MetricsWriter
from cosmos.run.results import read_result_figures
from cosmos.tracking.shown import Axis, Best, Described, Rows, better, curve_direction, flat, table
from tests.tracking.examples import R1, begun, evaluation, measure, trained


def test_a_step_is_one_row_and_the_newest_is_held_back(tmp_path: Path) -> None:
    rows = Rows(trained(tmp_path / "run", steps=3).metrics)
    first, second = rows.news()
    assert first == {"step": 10, "epoch": 0.5, "samples": 320, "loss": 4.0, "seconds": 1}
    assert (second["loss"], second[f"evaluation/student/heldout/{R1}"]) == (3.0, 0.5)
    assert rows.held["step"] == 30
    assert rows.news() == []


def test_only_what_was_added_since_is_new(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", steps=3)
    rows = Rows(run.metrics)
    rows.news()
    with run.metrics.open("a") as file:
        file.write('{"step": 40, "loss": 1}\n{"step": 50, "lo')
    assert [row["step"] for row in rows.news()] == [30]
    with run.metrics.open("a") as file:
        file.write('ss": 2}\nno JSON\n{"step": 60}\n')
    assert [(row["step"], row["loss"]) for row in rows.news()] == [(40, 1), (50, 2)]


def test_a_file_that_a_resume_wrote_anew_is_read_again(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", steps=5)
    rows = Rows(run.metrics)
    rows.news()
    MetricsWriter(run.metrics, resume_step=20).log({"step": 30})
    assert [row["step"] for row in rows.news()] == [10, 20]
    assert rows.held == {"step": 30}


def test_a_run_without_metrics_has_no_rows(tmp_path: Path) -> None:
    assert Rows(tmp_path / "metrics.jsonl").news() == []


@given(st.lists(st.lists(st.integers(0, 20), max_size=8)))
def test_rows_hold_each_line_once_however_the_file_grows(chunks: list[list[int]]) -> None:
    """Lines as they come: the steps never fall."""
    import tempfile

    steps = sorted(step for chunk in chunks for step in chunk)
    lines = [json.dumps({"step": step, f"line{i}": i}) + "\n" for i, step in enumerate(steps)]
    with tempfile.TemporaryDirectory() as folder:
        path, seen, at = Path(folder) / "metrics.jsonl", [], 0
        rows = Rows(path)
        for chunk in chunks:
            with path.open("a") as file:
                file.writelines(lines[at : at + len(chunk)])
            at += len(chunk)
            seen += rows.news()
        seen += [rows.held] if rows.held else []
    assert [row["step"] for row in seen] == sorted(set(steps))
    assert {key for row in seen for key in row} - {"step"} == {f"line{i}" for i in range(len(steps))}


def test_values_that_were_not_finite_are_left_out() -> None:
    assert flat({"step": 1, "loss": None, "evaluation": {"a/b": None, "a/c": 1.0}}) == {
        "step": 1,
        "evaluation/a/c": 1.0,
    }


def test_an_evaluation_lies_at_the_samples_seen_by_its_step(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    assert Axis.of(run).placed({"step": 20}) == {"step": 20, "samples": 20 * 32}
    assert Axis.of(RunDir(tmp_path / "sweep")).placed({"step": 20}) == {"step": 20}


def test_the_end_of_an_epoch_owes_an_evaluation_until_that_is_there(tmp_path: Path) -> None:
    axis = Axis.of(trained(tmp_path / "run", every_epochs=2))
    assert axis.owes_evaluation({"step": 40, "epoch": 2.0})
    assert not axis.owes_evaluation({"step": 30, "epoch": 1.5})
    assert not axis.owes_evaluation({"step": 20, "epoch": 1.0})
    assert not axis.owes_evaluation({"step": 40, "epoch": 2.0} | flat(evaluation(4)))


@pytest.mark.parametrize(
    ("key", "way"),
    [
        ("loss", "min"),
        ("distill_image_to_text", "min"),
        ("distill_logit_scale", ""),
        ("learning_rate", ""),
        (f"evaluation/student/heldout/{R1}", "max"),
        ("evaluation/student/heldout/image_to_text_mean_rank", "min"),
        ("evaluation/student/heldout/image_to_text_ties", ""),
        ("segmentation/voc20/teacher/csa_mIoU", "max"),
    ],
)
def test_the_better_direction_of_a_curve(key: str, way: str) -> None:
    assert curve_direction(key) == way


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_the_best_of_a_curve_is_that_of_all_its_rows(values: list[float]) -> None:
    known: Best = {}
    for value in values:
        known = better(known, {"step": 1, "loss": value, f"evaluation/student/heldout/{R1}": value})
    assert known["loss"] == {"min": min(values), "last": values[-1]}
    assert known[f"evaluation/student/heldout/{R1}"]["max"] == max(values)
    assert "step" not in known
    assert all(math.isfinite(value["last"]) for value in known.values())


def test_a_trial_is_described_by_its_sweep_and_parameters(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "lr-1a2b3c4d" / "trial-0003")
    begun(run.path, "lr-1a2b3c4d")
    write_json(run.trial, {"number": 3, "seed": 1, "state": "running"})
    found = Described.of(run)
    assert (found.name, found.group, found.job_type) == ("lr-1a2b3c4d/trial-0003", "lr-1a2b3c4d", "pretrain")
    assert found.tags == ("first try", "demo")
    assert found.config["pretrain"]["momentum"] == 0.96
    assert found.config["trial"] == {"number": 3, "seed": 1}


def test_config_says_commit_data_and_job_but_no_command(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    session = {
        "commit": "c0ffee",
        "diff": "",
        "hardware": {"device": "cpu"},
        "job": {},
        "command": ["secret"],
    }
    newest = {**session, "job": {"cluster": "slurm", "id": "812", "requeues": 1}}
    write_json(
        run.provenance, {"data": {"train": "b9be"}, "requeues": 1, "sessions": [session, newest], "dvc": {}}
    )
    assert Described.of(run).config["provenance"] == {
        "commit": "c0ffee",
        "changed": False,
        "data": {"train": "b9be"},
        "device": "cpu",
        "job": {"cluster": "slurm", "id": "812", "requeues": 1},
        "requeues": 1,
    }


def test_what_was_only_evaluated_is_described_by_its_checkpoint(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "published-cc3m")
    measure(run, 0.5)
    found = Described.of(run)
    assert (found.name, found.job_type) == ("published-cc3m", "evaluate")
    assert found.config["provenance"] == {"checkpoint": "published:cc3m"}


def test_a_sweep_needs_no_parameters(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "lr-1a2b3c4d")
    RunLabels("lr-1a2b3c4d", "search", ("lr", "x" * 90)).write(run)
    found = Described.of(run)
    assert (found.name, found.job_type) == ("lr-1a2b3c4d", "search")
    assert found.tags == ("lr", "x" * 64)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    run.provenance.write_text("{")
    with pytest.raises(ValueError, match=r"provenance\.json: no JSON"):
        Described.of(run)


def test_figures_and_table_of_results_leave_single_classes_out(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    measure(run, 0.5)
    file = run.result_file("retrieval")
    assert read_result_figures(file) == {
        f"retrieval/heldout/student/{R1}": 0.5,
        f"retrieval/heldout/teacher/{R1}": 0.25,
    }
    assert table(file) == (
        ["dataset", "model", "images", R1],
        [["heldout", "student", 12, 0.5], ["heldout", "teacher", 12, 0.25]],
    )
