"""Rungs: the order in which paused trials go on, and the values that they have there."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.sweep import Sweep
from cosmos.run.directory import RunDir
from cosmos.run.metrics import MetricsWriter
from cosmos.run.sweep_directory import RungResult, TrialRecord, TrialState
from cosmos.search import rungs
from cosmos.search.rungs import RungReader, Rungs
from tests.search.examples import RECALL, small_sweep, write_metrics

PROMOTE = {"name": "promote", "rungs": [1, 2], "keep": 0.5}


def sweep_of(folder: Path, **changes: Any) -> Sweep:
    return small_sweep(folder, **{"epochs": 4, "pruner": PROMOTE, "repeats": {"best": 0}, **changes})


def stands(
    sweep: Sweep, number: int, *values: float | None, state: TrialState = "paused", seed: int = 0
) -> TrialRecord:
    """A trial that had these values after 1, 2, ... epochs."""
    figure = sweep.file.objectives[0].figure
    results = tuple(RungResult(epochs, 4, {figure: value}) for epochs, value in enumerate(values, 1))
    return TrialRecord(sweep.id, number, seed, {}, state, rungs=results)


def stands_at(sweep: Sweep, number: int, recall: float, seconds: float) -> TrialRecord:
    """A trial that paused after an epoch with these values of two objectives."""
    result = RungResult(1, 4, {RECALL: recall, "device_seconds": seconds})
    return TrialRecord(sweep.id, number, 0, {}, "paused", rungs=(result,))


def numbers_in_order(sweep: Sweep, *records: TrialRecord) -> list[int]:
    """Numbers of the trials that go on, one after the other, none of which comes to its next rung."""
    standings, order = Rungs(sweep, records), list[int]()
    while record := standings.next_promotion():
        order.append(record.number)
        standings.update(stands(sweep, record.number, *values_of(record), state="running"))
    return order


def values_of(record: TrialRecord) -> list[float | None]:
    return [value for result in record.rungs for value in result.values.values()]


@pytest.mark.parametrize(
    ("keep", "values", "order"),
    [
        (0.5, [0.1], []),  # half of one trial is none
        (0.5, [0.1, 0.3, 0.2], [1]),
        (0.5, [0.1, 0.3, 0.2, 0.4], [3, 1]),
        (0.25, [0.1, 0.3, 0.2, 0.4], [3]),
        (0.1, [0.01 * number for number in range(30)], [29, 28, 27]),
        (0.5, [0.2, 0.2, 0.2, 0.2], [0, 1]),  # of equal ones those that came first
        (0.5, [None, 0.2, None, None], [1]),  # what is not finite falls behind all
        (0.9, [None, None], []),
    ],
)
def test_the_best_share_of_a_rung_goes_on(
    tmp_path: Path, keep: float, values: list[float | None], order: list[int]
) -> None:
    sweep = sweep_of(tmp_path, pruner={**PROMOTE, "keep": keep})
    assert numbers_in_order(sweep, *(stands(sweep, n, value) for n, value in enumerate(values))) == order


def test_small_losses_are_the_best(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, objectives=[{"figure": "loss"}])
    assert numbers_in_order(sweep, stands(sweep, 0, 3.0), stands(sweep, 1, 2.0)) == [1]


def test_several_objectives_go_on_in_order_of_dominance_but_for_those_that_break_a_constraint(
    tmp_path: Path,
) -> None:
    objectives = [{"figure": RECALL}, {"figure": "device_seconds"}]
    sweep = sweep_of(tmp_path, objectives=objectives, pruner={**PROMOTE, "keep": 0.6})
    points = [(0.4, 9.0), (0.3, 1.0), (0.35, 9.5), (0.5, 20.0), (0.2, 8.0)]
    records = [stands_at(sweep, number, *point) for number, point in enumerate(points)]
    broken = replace(stands_at(sweep, 9, 0.9, 0.5), state="pruned", breaches=["device_memory <= 1"])
    standings = Rungs(sweep, [*records, broken])
    assert [record.number for record in standings.paused] == [3, 0, 1, 2, 4]
    assert [record.number for record in filter(standings.is_promotable, standings.paused)] == [3, 0, 1]


def test_the_furthest_rung_comes_first_and_who_went_on_counts_at_the_rungs_before(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    far = [stands(sweep, 0, 0.1, 0.5), stands(sweep, 1, 0.2, 0.6)]
    near = [stands(sweep, 2, 0.9), stands(sweep, 3, 0.8), stands(sweep, 4, 0.15)]
    assert numbers_in_order(sweep, *far, *near) == [1, 2, 3]


def test_failed_trials_and_repetitions_stand_at_no_rung(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    others = [stands(sweep, 1, 0.9, state="failed"), stands(sweep, 0, 0.95, seed=1)]
    assert numbers_in_order(sweep, stands(sweep, 0, 0.1), *others) == []
    assert numbers_in_order(sweep, stands(sweep, 0, 0.2), stands(sweep, 2, 0.1), *others) == [0]


@pytest.mark.parametrize("pruner", [{**PROMOTE, "rungs": [2]}, {"name": "median"}])
def test_where_a_rung_is_taken_out_of_the_file_its_trials_go_on(
    tmp_path: Path, pruner: dict[str, Any]
) -> None:
    sweep = sweep_of(tmp_path, pruner=pruner)
    assert numbers_in_order(sweep, stands(sweep, 0, 0.1), stands(sweep, 1, None)) == [0, 1]


@pytest.mark.parametrize(
    ("repeated", "finished", "broken", "number"),
    [(0, 0, 0, 1), (0, 1, 0, None), (3, 2, 0, 1), (3, 3, 0, None), (0, 0, 2, 1), (2, 1, 1, 1)],
)
def test_where_nothing_else_is_left_enough_trials_finish_from_the_furthest_rung(
    tmp_path: Path, repeated: int, finished: int, broken: int, number: int | None
) -> None:
    sweep = sweep_of(tmp_path, repeats={"best": repeated})
    ended = [stands(sweep, 10 + n, 0.9, 0.9, state="finished") for n in range(finished)]
    beyond = [
        replace(stands(sweep, 20 + n, 0.9, 0.9, state="finished"), breaches=["loss <= 1"])
        for n in range(broken)
    ]
    waiting = [stands(sweep, 0, 0.8), stands(sweep, 1, 0.1, 0.1), stands(sweep, 2, 0.2, None)]
    last = Rungs(sweep, [*ended, *beyond, *waiting]).final_promotion(num_running=0)
    assert (last and last.number) == number


def reached(sweep: Sweep, until: int) -> TrialRecord:
    return TrialRecord(sweep.id, 0, 0, {"pretrain.momentum": 0.95, "loss.distill_weight": 1.0}, until=until)


def test_a_value_is_that_of_the_rung_whatever_was_measured_later(tmp_path: Path) -> None:
    sweep, run = sweep_of(tmp_path), RunDir(tmp_path / "run")
    run.path.mkdir()
    write_metrics(run, [0.1, 0.2, 0.3])
    result = RungReader(sweep).read(reached(sweep, 2), run)
    assert result == RungResult(2, 4, {RECALL: 0.2})
    losses = sweep_of(tmp_path, objectives=[{"figure": "loss"}])
    assert RungReader(losses).read(reached(losses, 2), run) == RungResult(2, 4, {"loss": 1.8})


def test_an_evaluation_that_comes_after_the_job_has_ended_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sweep, run = sweep_of(tmp_path), RunDir(tmp_path / "run")
    run.path.mkdir()
    write_metrics(run, [0.1])
    reader = RungReader(sweep)
    assert [reader.read(reached(sweep, 2), run) for _ in range(3)] == [None] * 3
    assert caplog.text.count(f"trial-0000: {RECALL} at epoch 2: not measured yet; waited for, 120 s") == 1
    write_metrics(run, [0.1, 0.2])
    assert reader.read(reached(sweep, 2), run) == RungResult(2, 4, {RECALL: 0.2})

    monkeypatch.setattr(rungs, "EVALUATION_SECONDS", 0.0)
    assert reader.read(reached(sweep, 3), run) == RungResult(3, 4, {RECALL: None})
    assert "at epoch 3: not measured; the trial falls behind all others there" in caplog.text


def test_a_value_that_is_not_finite_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rungs, "EVALUATION_SECONDS", 0.0)
    sweep, run = sweep_of(tmp_path), RunDir(tmp_path / "run")
    run.path.mkdir()
    evaluation = {"student/heldout/text_to_image_R@1": None}
    MetricsWriter(run.metrics).log({"step": 1, "epoch": 1, "evaluation": evaluation})
    assert RungReader(sweep).read(reached(sweep, 1), run) == RungResult(1, 4, {RECALL: None})
