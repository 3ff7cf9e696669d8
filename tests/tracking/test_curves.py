import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.run.directory import RunDir
from cosmos.run.metrics import MetricsWriter
from cosmos.tracking.curves import (
    BestValues,
    CurveAxis,
    CurveRows,
    curve_direction,
    flatten_line,
    update_best,
)
from tests.tracking.examples import R1, evaluation, trained


def test_a_step_is_one_row_and_the_newest_is_held_back(tmp_path: Path) -> None:
    rows = CurveRows(trained(tmp_path / "run", steps=3).metrics)
    first, second = rows.new_rows()
    assert first == {"step": 10, "epoch": 0.5, "samples": 320, "loss": 4.0, "seconds": 1}
    assert (second["loss"], second[f"evaluation/student/heldout/{R1}"]) == (3.0, 0.5)
    assert rows.held["step"] == 30
    assert rows.new_rows() == []


def test_only_what_was_added_since_is_new(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", steps=3)
    rows = CurveRows(run.metrics)
    rows.new_rows()
    with run.metrics.open("a") as file:
        file.write('{"step": 40, "loss": 1}\n{"step": 50, "lo')
    assert [row["step"] for row in rows.new_rows()] == [30]
    with run.metrics.open("a") as file:
        file.write('ss": 2}\nno JSON\n{"step": 60}\n')
    assert [(row["step"], row["loss"]) for row in rows.new_rows()] == [(40, 1), (50, 2)]


def test_a_file_that_a_resume_wrote_anew_is_read_again(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", steps=5)
    rows = CurveRows(run.metrics)
    rows.new_rows()
    MetricsWriter(run.metrics, resume_step=20).log({"step": 30})
    assert [row["step"] for row in rows.new_rows()] == [10, 20]
    assert rows.held == {"step": 30}


def late(*lines: tuple[int, float]) -> str:
    """Lines of losses (1.0) and of evaluations that come after later steps (below 1.0)."""
    values = (
        {"step": step, "loss": value} if value == 1 else {"step": step, "epoch": 1, "evaluation": {R1: value}}
        for step, value in lines
    )
    return "".join(json.dumps(line) + "\n" for line in values)


def test_a_late_evaluation_joins_the_next_row_without_one_at_its_own_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(late((10, 1), (20, 1), (10, 0.1), (20, 0.2), (30, 1), (40, 1)))
    rows = CurveRows(path)
    assert [
        (row["step"], row.get("evaluation/step"), row.get(f"evaluation/{R1}")) for row in rows.new_rows()
    ] == [
        (10, None, None),
        (20, 20, 0.2),
        (30, 10, 0.1),
    ]
    assert CurveAxis(32, 1).with_samples({"step": 30, "evaluation/step": 10})["evaluation/samples"] == 320


def test_late_evaluations_of_a_run_that_ended_have_rows_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(late((30, 1), (10, 0.1), (20, 0.2), (30, 0.3)))
    rows = CurveRows(path)
    assert rows.new_rows() == []
    shown = [(row["step"], row["evaluation/step"], row[f"evaluation/{R1}"]) for row in rows.last_rows()]
    assert shown == [(30, 30, 0.3), (31, 10, 0.1), (32, 20, 0.2)]


def test_a_run_without_metrics_has_no_rows(tmp_path: Path) -> None:
    assert CurveRows(tmp_path / "metrics.jsonl").new_rows() == []


@given(st.lists(st.lists(st.integers(0, 20), max_size=8)))
def test_rows_hold_each_line_once_however_the_file_grows(chunks: list[list[int]]) -> None:
    """Lines as they come: the steps never fall."""
    import tempfile

    steps = sorted(step for chunk in chunks for step in chunk)
    lines = [json.dumps({"step": step, f"line{i}": i}) + "\n" for i, step in enumerate(steps)]
    with tempfile.TemporaryDirectory() as folder:
        path, seen, at = Path(folder) / "metrics.jsonl", [], 0
        rows = CurveRows(path)
        for chunk in chunks:
            with path.open("a") as file:
                file.writelines(lines[at : at + len(chunk)])
            at += len(chunk)
            seen += rows.new_rows()
        seen += [rows.held] if rows.held else []
    assert [row["step"] for row in seen] == sorted(set(steps))
    assert {key for row in seen for key in row} - {"step"} == {f"line{i}" for i in range(len(steps))}


def test_values_that_were_not_finite_are_left_out() -> None:
    assert flatten_line({"step": 1, "loss": None, "evaluation": {"a/b": None, "a/c": 1.0}}) == {
        "step": 1,
        "evaluation/a/c": 1.0,
        "evaluation/step": 1,
    }


def test_an_evaluation_lies_at_the_samples_seen_by_its_step(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    assert CurveAxis.of(run).with_samples({"step": 20}) == {"step": 20, "samples": 20 * 32}
    assert CurveAxis.of(RunDir(tmp_path / "sweep")).with_samples({"step": 20}) == {"step": 20}


def test_the_end_of_an_epoch_owes_an_evaluation_until_that_is_there(tmp_path: Path) -> None:
    axis = CurveAxis.of(trained(tmp_path / "run", every_epochs=2))
    assert axis.owes_evaluation({"step": 40, "epoch": 2.0})
    assert not axis.owes_evaluation({"step": 30, "epoch": 1.5})
    assert not axis.owes_evaluation({"step": 20, "epoch": 1.0})
    assert not axis.owes_evaluation({"step": 40, "epoch": 2.0} | flatten_line(evaluation(4)))


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
    best: BestValues = {}
    for value in values:
        best = update_best(best, {"step": 1, "loss": value, f"evaluation/student/heldout/{R1}": value})
    assert best["loss"] == {"min": min(values), "last": values[-1]}
    assert best[f"evaluation/student/heldout/{R1}"]["max"] == max(values)
    assert "step" not in best
    assert all(math.isfinite(value["last"]) for value in best.values())
