"""Curves of runs: noiseless laws, and those of thirty runs of a small demo world."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cosmos.registry.run_forecast import schedule_of
from cosmos.run.statistics.annealing_law import LearningSchedule
from cosmos.run.statistics.forecasts import HINDSIGHT, FigureCurve, Forecast, end_score, forecast_fan
from cosmos.run.statistics.image_values import FloatArray
from cosmos.run.statistics.value_scales import scale_of

FILE = Path(__file__).with_name("demo_curves.json")


@dataclass(frozen=True, eq=False)
class DemoRun:
    """Finished run of `benchmarks/forecast.py`."""

    name: str
    loss: tuple[str, ...]
    schedule: LearningSchedule
    curves: dict[str, FigureCurve]

    def end(self, figure: str) -> float:
        return float(self.curves[figure].values[-1])


@cache
def demo_runs() -> list[DemoRun]:
    return [
        DemoRun(
            run["name"],
            tuple(run["loss"]),
            schedule_of(run["warmup_steps"], run["total_steps"]),
            {
                name: FigureCurve(np.array(steps, float), np.array(values, float))
                for name, (steps, values) in run["curves"].items()
            },
        )
        for run in json.loads(FILE.read_text())
    ]


def forecast_early(run: DemoRun, figure: str, finished: Sequence[DemoRun]) -> Forecast:
    """Forecast of a run's end from the first steps, with others as runs that have finished."""
    scale = scale_of(figure)
    assert scale
    scores = [
        score
        for other in finished
        if other.name != run.name and (other.loss == run.loss or figure != "loss")
        if (score := end_score(other.curves[figure], other.schedule, scale, HINDSIGHT)) is not None
    ]
    past = run.curves[figure].until(HINDSIGHT * run.schedule.last_step)
    return forecast_fan(past, run.schedule, scale, scores).end


def law_values(
    schedule: LearningSchedule, steps: FloatArray, exponent: float, level: float, slope: float, drop: float
) -> FloatArray:
    """Losses that follow the law without noise."""
    return np.asarray(np.exp(schedule.terms(steps, exponent) @ np.array([level, slope, drop])))
