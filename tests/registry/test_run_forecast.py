"""Forecasts of runs from their files: of all states, and of curves that say little."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos.config.params import LossParams, Params, PretrainParams
from cosmos.registry.index import list_runs
from cosmos.registry.record import read_run_record
from cosmos.registry.run_forecast import Forecaster, RunForecast, schedule_of
from cosmos.run.directory import RunDir, open_run
from cosmos.run.metrics import MetricsWriter, read_thinned_metrics

STEPS, EPOCHS = 400, 4
RECALL = "student/heldout/text_to_image_R@5"


def write_curve(run: RunDir, until: int = STEPS, level: float = 0.7, seed: int = 0, every: int = 10) -> None:
    """Log the curve of a run of STEPS steps up to a step, with an evaluation at each epoch."""
    schedule, rng = schedule_of(20, STEPS), np.random.default_rng(seed)
    writer = MetricsWriter(run.metrics)
    for step in range(every, until + 1, every):
        place = float((schedule.terms(np.array([step]), 0.5) @ np.array([level, 0.2, 0.1]))[0])
        loss, epoch = float(np.exp(place + rng.normal(0, 0.02))), step / STEPS * EPOCHS
        writer.log({"step": step, "epoch": epoch, "samples": 32 * step, "loss": loss})
        if step % (STEPS // EPOCHS) == 0:
            writer.log({"step": step, "epoch": epoch, "evaluation": {RECALL: 0.1 * epoch}})
    if until == STEPS:
        run.checkpoints.mkdir(exist_ok=True)
        run.checkpoint(STEPS).touch()


def make_run(folder: Path, name: str, until: int = STEPS, loss: Any = None, **curve: Any) -> RunDir:
    params = Params(pretrain=PretrainParams(epochs=EPOCHS), loss=LossParams(**(loss or {})))
    run = open_run(folder / name, params)
    write_curve(run, until, **curve)
    return run


def forecast(run: RunDir) -> RunForecast:
    root = run.path.parent
    return Forecaster(list_runs(root), root).forecast(read_run_record(run, run.path.name), run)


def test_a_run_on_its_way_has_a_forecast_of_its_loss_and_evaluations(tmp_path: Path) -> None:
    told = forecast(make_run(tmp_path, "mine", 200))
    assert (told.step, told.total_steps, told.siblings, told.problem) == (200, STEPS, 0, "")
    assert [figure.figure for figure in told.figures] == ["loss", f"evaluation/{RECALL}"]
    loss, recall = told.figures
    assert loss.end.low < loss.end.value < loss.end.high
    assert loss.end.value < loss.last
    assert recall.end.value > recall.last == pytest.approx(0.2)
    assert loss.describe().count(" -> ") == 1
    assert "%" in recall.describe()
    assert json.loads(json.dumps(told.as_json(), allow_nan=False)) == told.as_json()


def test_finished_runs_with_the_same_kind_of_loss_calibrate_the_interval(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", 160)
    alone = forecast(run).figures[0].end
    for seed in range(12):
        make_run(tmp_path, f"clip-{seed}", loss={"distillation": "none"}, seed=seed)
    assert forecast(run).siblings == 0
    for seed in range(12):
        make_run(tmp_path, f"done-{seed}", seed=seed + 1)
    make_run(tmp_path, "stopped", 300)
    told = forecast(run)
    assert told.siblings == 12
    assert told.figures[0].end.high - told.figures[0].end.low < alone.high - alone.low


def test_a_finished_run_states_its_end_and_the_forecast_that_it_had(tmp_path: Path) -> None:
    loss, recall = forecast(make_run(tmp_path, "mine")).figures
    assert loss.end.low == loss.end.value == loss.end.high == loss.last
    assert loss.earlier is not None
    assert loss.earlier.holds(loss.last)
    assert loss.earlier.low < loss.earlier.high
    assert recall.earlier is None, "one evaluation until then"
    assert loss.as_json()["earlier"]["low"] == loss.earlier.low


@pytest.mark.parametrize(("until", "every"), [(30, 10), (20, 20), (120, 40)])
def test_a_run_with_too_few_steps_is_told_how_many_it_needs(tmp_path: Path, until: int, every: int) -> None:
    told = forecast(make_run(tmp_path, "mine", until, every=every))
    assert told.figures == ()
    needed = max(40, 4 * every)
    assert told.problem == (
        f"{until} of 400 steps are too few for a forecast, which needs 4 logged losses and 10% of the steps: "
        f"step {needed}"
    )


def test_a_run_that_logs_too_seldom_is_told_so_until_its_end_is_there(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", 200, every=200)
    assert forecast(run).problem.endswith(": a smaller pretrain.log_every_steps logs more")
    write_curve(run, every=200)
    told = forecast(run)
    assert (told.problem, told.figures[0].earlier) == ("", None)
    assert told.figures[0].end.value == told.figures[0].last


def test_a_run_without_a_logged_loss_or_without_parameters_says_so(tmp_path: Path) -> None:
    run = open_run(tmp_path / "mine", Params())
    assert (
        forecast(run).problem == f"{run.metrics}: no loss is logged yet; a forecast needs a few lines of it"
    )
    run.metrics.write_text('{"step": 10, "epoch": 1e-300, "loss": 2.0}\n')
    assert "no run has these" in forecast(run).problem
    other = make_run(tmp_path, "other", 200)
    other.params.write_text("pretrain: {epochs: many}\n")
    assert f"{other.params}: pretrain.warmup_steps: no number" in forecast(other).problem


def test_odd_curves_are_remarked_on(tmp_path: Path) -> None:
    constant = make_run(tmp_path, "constant", 10)
    lines = [{"step": step, "epoch": step / 100, "loss": 2.5} for step in range(10, 201, 10)]
    constant.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = forecast(constant)
    assert told.remarks == ("the loss has been 2.5 at every step: nothing is learnt",)
    assert told.figures[0].end.value == pytest.approx(2.5, rel=0.01)

    rising = make_run(tmp_path, "rising", 10)
    lines = [{**line, "loss": 2 + line["step"] / 50} for line in lines]
    rising.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert forecast(rising).remarks == ("the loss is above that of the first steps: the run diverges",)

    broken = make_run(tmp_path, "broken", 200)
    MetricsWriter(broken.metrics, 200).log({"step": 210, "epoch": 2.1, "loss": float("nan")})
    assert forecast(broken).remarks == ("the loss of step 210 is not finite",)
    assert forecast(broken).step == 200


def test_an_evaluation_after_which_none_is_due_is_the_end_of_a_finished_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine")
    text, last = run.metrics.read_text(), '{"step": 400, "epoch": 4.0, "eval'
    run.metrics.write_text(text.replace(last, last.replace("400", "390")))
    assert [figure.has_ended for figure in forecast(run).figures] == [True, True]
    early = (last, last.replace("4", "3", 1).replace("4.0", "3.0"))
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith(early)]
    run.metrics.write_text("".join(kept))
    assert [figure.has_ended for figure in forecast(run).figures] == [True, False]


def test_a_long_run_is_forecast_by_some_of_its_lines_and_all_evaluations(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", every=1)
    with run.metrics.open("a") as file:
        file.write('{"step": 401, "lo')
    lines = read_thinned_metrics(run.metrics, 50)
    assert [line["epoch"] for line in lines if "evaluation" in line] == [1, 2, 3, 4]
    steps = [line["step"] for line in lines if "loss" in line]
    assert (steps[0], steps[-1], set(np.diff(steps))) == (8, 400, {8})


def test_steps_that_were_logged_twice_count_once_and_damaged_lines_not_at_all(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", 200)
    whole = forecast(run).figures[0]
    text = run.metrics.read_text()
    first = text.splitlines(keepends=True)[0]
    twice = json.dumps({**json.loads(first), "loss": 99.0}) + "\n"
    run.metrics.write_text(twice + text + "{damaged\n" + first)
    told = forecast(run)
    assert told.figures[0].end == whole.end
    assert "damaged" in told.remarks[0]


def test_losses_of_zero_have_no_law(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mine", 10)
    lines = [{"step": step, "epoch": step / 100, "loss": 0.0} for step in range(10, 201, 10)]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert forecast(run).problem == "the logged losses are 0 or below, which no law is for"
    assert forecast(run).figures == ()
