"""Forecasts of thirty runs of a demo world, stopped at 40%, held to account (benchmarks/forecast.py)."""

import math

import numpy as np
import pytest

from tests.run.statistics.curves import demo_runs, forecast_early

RECALL = "evaluation/student/heldout/text_to_image_R@5"
ALLOWED = 0.75
"""Share of ends that intervals hold, at least."""


@pytest.mark.parametrize("figure", ["loss", RECALL])
@pytest.mark.parametrize("has_finished", [False, True])
def test_intervals_hold_the_ends_of_runs_that_were_stopped_early(figure: str, has_finished: bool) -> None:
    runs = demo_runs()
    finished = runs if has_finished else []
    held = [forecast_early(run, figure, finished).holds(run.end(figure)) for run in runs]
    assert len(held) == 30
    assert np.mean(held) >= ALLOWED


def test_intervals_are_narrower_than_the_spread_of_ends_and_forecasts_better_than_the_last_value() -> None:
    runs = demo_runs()
    ends = np.log([run.end("loss") for run in runs])
    forecasts = [forecast_early(run, "loss", []) for run in runs]
    widths = [math.log(forecast.high / forecast.low) for forecast in forecasts]
    assert np.mean(widths) < np.ptp(np.sort(ends)[3:-3])
    lasts = np.log([run.curves["loss"].until(0.4 * run.schedule.last_step).values[-1] for run in runs])
    errors = np.log([forecast.value for forecast in forecasts]) - ends
    assert np.abs(errors).mean() < 0.75 * np.abs(lasts - ends).mean()
