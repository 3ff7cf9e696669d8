"""Forecasts of figures at a run's end, with intervals that finished runs keep honest.

The law of `annealing_law` gives a mean and a deviation. Forecasts of finished runs, from the same share, tell
how far ends lie from such means, in such deviations: their scores. The interval has as many of these scores
as its level says, together with usual ones, whose weight is that of a few runs. Source: normalised conformal
prediction, Lei, G'Sell, Rinaldo, Tibshirani and Wasserman 2018, Distribution-Free Predictive Inference for
Regression, arXiv 1604.04173, section 5.2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosmos.config.figures import LOSS
from cosmos.run.statistics.annealing_law import CurveForecast, LearningSchedule, forecast_curve
from cosmos.run.statistics.image_values import FloatArray
from cosmos.run.statistics.student import student_quantile
from cosmos.run.statistics.value_scales import ValueScale

FORECAST_LEVEL = 0.8
"""Share of the ends that lie within their intervals."""

USUAL_FREEDOM = 4.0
"""Degrees of freedom of the usual scores, which are Student's."""

USUAL_WEIGHT = 6.0
"""Number of finished runs that the usual scores are worth."""

NUM_USUAL = 40
"""Number of usual scores."""

FIGURE_POINTS = {LOSS.name: 4}
"""Number of values that a forecast needs, by figure; of others MIN_POINTS."""

MIN_POINTS = 2
"""Number of values that a forecast of an evaluation needs."""

HINDSIGHT = 0.4
"""Share of the steps at which the forecast of a finished run is told afterwards."""

MIN_SHARE = 0.1
"""Share of a run's steps that a forecast needs."""

FAN_STEPS = 24
"""Number of steps at which a fan is drawn."""

USUAL_SCORES = tuple(
    math.copysign(student_quantile(min(tail, 1 - tail), USUAL_FREEDOM), 0.5 - tail)
    for tail in ((place + 0.5) / NUM_USUAL for place in range(NUM_USUAL))
)
"""Scores of ends that runs have where none of the own ones has finished."""


@dataclass(frozen=True, eq=False)
class FigureCurve:
    """Values of a figure of a run, by step."""

    steps: FloatArray
    """(N,) ascending, each once"""
    values: FloatArray

    @classmethod
    def of(cls, points: dict[int, float], scale: ValueScale) -> "FigureCurve":
        """Return the curve of values by step, without those that are not on the scale."""
        kept = sorted((step, value) for step, value in points.items() if step > 0 and scale.has(value))
        return cls(np.array([step for step, _ in kept], float), np.array([value for _, value in kept], float))

    def until(self, step: float) -> "FigureCurve":
        """Return the part of the curve up to a step."""
        kept = self.steps <= step
        return FigureCurve(self.steps[kept], self.values[kept])

    @property
    def last_step(self) -> float:
        """Step of the last value; 0 without one."""
        return float(self.steps[-1]) if len(self.steps) else 0.0

    def reaches(self, last_step: float) -> bool:
        """Return True when no further value is due until the last step of a run."""
        spacing = self.last_step / max(1, len(self.steps))
        return self.last_step > 0 and self.last_step + spacing > last_step


@dataclass(frozen=True)
class Forecast:
    """Forecast of a value: the middle, and the interval at FORECAST_LEVEL."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Return True for a value within the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class ForecastFan:
    """Forecasts of the steps until the end of a run."""

    steps: Sequence[float]
    forecasts: Sequence[Forecast]

    @property
    def end(self) -> Forecast:
        """Forecast of the last step."""
        return self.forecasts[-1]


def forecast_fan(
    curve: FigureCurve, schedule: LearningSchedule, scale: ValueScale, scores: Sequence[float]
) -> ForecastFan:
    """Return the forecasts from a curve, until the end; `scores`: those of finished runs (`end_score`).

    Of a curve that has reached the end, the end is its own forecast, and the interval nothing beside it.
    """
    if curve.last_step >= schedule.last_step:
        return settled_fan(curve)
    later = np.linspace(curve.last_step, schedule.last_step, FAN_STEPS + 1)[1:]
    law = law_of(curve, schedule, scale, later)
    low, middle, high = score_range(scores, scale.usual_spread)
    places = [law.means + score * law.deviations for score in (middle, low, high)]
    values = zip(*(scale.values(place).tolist() for place in places), strict=True)
    return ForecastFan(later.tolist(), [Forecast(*each) for each in values])


def settled_fan(curve: FigureCurve) -> ForecastFan:
    """Return the last value of a curve as the forecast of its end."""
    end = float(curve.values[-1])
    return ForecastFan([curve.last_step], [Forecast(end, end, end)])


def law_of(
    curve: FigureCurve, schedule: LearningSchedule, scale: ValueScale, later: FloatArray
) -> CurveForecast:
    """Return the law's forecast of later steps, on the scale."""
    return forecast_curve(curve.steps, scale.to_scale(curve.values), schedule, scale, later)


def end_score(
    curve: FigureCurve, schedule: LearningSchedule, scale: ValueScale, share: float
) -> float | None:
    """Return the distance of a finished run's end from the law's forecast at `share`, in its deviations.

    None where the curve does not reach the end, or has too few points until there.
    """
    past = curve.until(share * schedule.last_step)
    if not curve.reaches(schedule.last_step) or len(past.steps) < 2:
        return None
    law = law_of(past, schedule, scale, np.array([schedule.last_step]))
    end = scale.to_scale(curve.values[-1:])
    return float((end - law.means)[0] / law.deviations[0])


def score_range(scores: Sequence[float], usual_spread: float = 1.0) -> tuple[float, float, float]:
    """Return the lower end, the middle and the upper end of scores, with the usual ones among them.

    `usual_spread`: factor by which these are wider. A further run counts as one beyond each end, as far
    as the scores are not the usual ones.
    """
    values = np.array([*scores, *(usual_spread * score for score in USUAL_SCORES)])
    weights = np.array([1.0] * len(scores) + [USUAL_WEIGHT / NUM_USUAL] * NUM_USUAL)
    order = values.argsort()
    values, weights = values[order], weights[order]
    total = weights.sum()
    places = (weights.cumsum() - weights / 2) / total
    own = len(scores) / total
    tail = max(0.0, (1 - FORECAST_LEVEL) / 2 - own * (1 + FORECAST_LEVEL) / 2 / total)
    low, middle, high = np.interp([tail, 0.5, 1 - tail], places, values)
    return float(low), float(middle), float(high)


def steps_needed(logged: FloatArray, total_steps: float, min_points: int) -> float:
    """Return the steps that a forecast needs of a run that logged at these; 0 where it has them."""
    if not len(logged):
        return max(1.0, MIN_SHARE * total_steps)
    last, share = float(logged[-1]), MIN_SHARE * total_steps
    if last >= total_steps or (last >= share and len(logged) >= min_points):
        return 0.0
    return max(share, min_points * last / len(logged))
