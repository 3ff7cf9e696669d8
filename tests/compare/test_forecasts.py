"""`cosmos forecast`: its table, its JSON, the law over sizes, and the part of a run's page."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos.compare.forecasts import forecast_plots, forecast_remarks, forecast_run, print_forecasts
from cosmos.compare.sized_runs import size_of_model
from cosmos.config.experiment import load_params
from cosmos.errors import InputError
from cosmos.run.directory import open_run
from cosmos.run.metrics import MetricsWriter
from tests.compare.compared import machine
from tests.compare.test_run_report import page_of, plots_of, words_of
from tests.registry.test_run_forecast import make_run


def make_sized_run(folder: Path, name: str, width: int, samples: int, **pretrain: Any) -> None:
    """A finished run whose loss is that of a law of its size and samples."""
    tower = {"width": width, "layers": 2}
    inline = {"vision": {**tower, "head_width": 8}, "text": {**tower, "heads": 4}}
    settings = {"epochs": 1, "batch_size": 16, **pretrain}
    params = load_params("", {"model": {"inline": inline}, "pretrain": settings})
    run = open_run(folder / name, params)
    loss = 1.2 + 30 * size_of_model(params) ** -0.4 + 30 * samples**-0.5
    writer = MetricsWriter(run.metrics)
    for part in range(1, 21):
        step = part * samples // params.pretrain.batch_size // 20
        line = {"step": step, "epoch": part / 20, "samples": step * params.pretrain.batch_size}
        writer.log({**line, "loss": loss * (1 + (1 - part / 20) ** 2)})
    run.checkpoints.mkdir()
    run.checkpoint(step).touch()


def test_runs_are_listed_with_their_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "on-its-way", 160)
    make_run(tmp_path, "done", seed=1)
    make_run(tmp_path, "begun", 20)
    told = print_forecasts(["on-its-way", "done", "begun"], machine(tmp_path), quiet=False)
    said = capsys.readouterr().out
    assert "80% interval" in said
    assert "160/400" in said
    assert "is the end" in said
    assert "held" in said
    assert "begun: 20 of 400 steps are too few" in said
    assert "intervals by the ends of 0 to 1 finished runs" in said
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert [run["run"] for run in told["runs"]] == ["on-its-way", "done", "begun"]
    assert told["law"]["problem"].endswith("there are 1 size of the model and 1 number of samples seen")


def test_one_run_has_no_law_and_a_name_of_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "mine", 200)
    assert print_forecasts(["mine"], machine(tmp_path), quiet=False)["law"] is None
    assert "intervals are the usual ones" in capsys.readouterr().out
    with pytest.raises(InputError, match="no run and no sweep"):
        print_forecasts(["other"], machine(tmp_path), quiet=True)


def test_a_sweep_over_sizes_has_a_law_that_suggests_the_next_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sizes-1a2b3c4d"
    for number, (width, samples) in enumerate(product((32, 64, 128), (3200, 12800, 51200))):
        make_sized_run(sweep, f"trial-{number:04}", width, samples)
    make_sized_run(sweep, "trial-0009", 64, 12800, batch_size=32, momentum=0.96**2)
    (sweep / "sweep.yaml").touch()
    law = print_forecasts(["sizes"], machine(tmp_path), quiet=False)["law"]
    said = capsys.readouterr().out
    assert law["exponents"]["samples"] == pytest.approx(0.5, rel=0.1)
    assert 51200 <= law["next_run"]["samples"] <= 4 * 51200
    assert law["next_run"]["batch_size"] > 16
    ratio = law["next_run"]["batch_size"] / 16
    assert law["next_run"]["momentum"] == pytest.approx(0.96**ratio)
    assert law["next_run"]["learning_rate"] == pytest.approx(1e-3 * np.sqrt(ratio))
    assert "batch 32: sizes-1a2b3c4d/trial-0009 has momentum 0.9216" in said
    assert "which agrees" in said
    assert "finished runs minimise another loss or have another batch size, and are left out: 1" in said
    assert "check them" in said


def test_the_page_of_an_unfinished_run_has_its_forecast(tmp_path: Path) -> None:
    make_run(tmp_path, "mine", 200)
    done = make_run(tmp_path, "done")
    page = page_of(tmp_path, "mine")
    assert "Forecast of the loss at step 400:" in words_of(page)
    fan = plots_of(page)["Forecast of loss"]["data"]
    assert [trace.get("name") for trace in fan[1:]] == ["80% interval", "forecast", "until now"]
    assert fan[2]["x"][-1] == 400
    assert fan[0]["y"][-1] > fan[2]["y"][-1] > fan[1]["y"][-1]
    ended = forecast_run(done, machine(tmp_path))
    assert (forecast_plots(ended), list(forecast_remarks(ended))) == ([], [])
