import csv
import io
from typing import Any

from cosmos.model.loss import Losses
from cosmos.report.curves import TERMS, TOTALS, final_figures, lines_as_csv, training_lines


def line(step: int, **values: Any) -> dict[str, Any]:
    said = {"step": step, "samples": 8 * step, "loss": 5.0 - step, "samples_per_second": 100.0}
    return {**said, "contrastive": 2.0, "distill": 3.0 - step, "learning_rate": 1e-3, **values}


def test_the_terms_are_those_that_the_trainer_logs() -> None:
    logged = {n if n in ("contrastive", "distill") else f"distill_{n}" for n in Losses.__annotations__}
    assert logged - {"distill_total"} == {*TOTALS[1:], *TERMS}


def test_evaluations_and_steps_that_were_passed_over_are_no_points_of_a_curve() -> None:
    lines = [line(1), line(2, loss=None), {"step": 2, "evaluation": {"teacher/heldout/R@1": 0.5}}, line(3)]
    assert [one["step"] for one in training_lines(lines)] == [1, 3]


def test_a_pretraining_ends_with_the_losses_of_its_last_line_and_its_usual_speed() -> None:
    rates = [1.0, 90.0, 110.0]
    lines = [line(step, samples_per_second=rate) for step, rate in enumerate(rates, start=1)]
    assert final_figures(lines) == {
        **{"steps": 3, "samples": 24, "loss": 2.0, "contrastive": 2.0, "distill": 0.0},
        "samples_per_second": 90.0,
    }


def test_the_table_has_a_row_for_each_line_and_a_column_for_whatever_any_has() -> None:
    text = lines_as_csv([line(1), line(2, grad_norm=None), line(3, grad_norm=0.5)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["step"], row["loss"], row["grad_norm"]) for row in rows] == [
        ("1", "4.0", ""),
        ("2", "3.0", ""),
        ("3", "2.0", "0.5"),
    ]
    assert "\r" not in text
