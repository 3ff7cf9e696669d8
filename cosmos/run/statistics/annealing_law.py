"""Law of a training curve whose learning rate anneals, and the forecast that follows from it.

On its scale (`value_scales`), a figure after some steps is

    level + slope x (spent^-exponent - 1) / exponent - drop x annealed

where `spent` is the share of the learning rate's integral over the run that is behind it, and `annealed` the
share of the peak rate that has been given up, averaged over the last steps. The first term is a power law
without which a curve of a constant rate does not level off, the second one the fall that comes as the rate
decays: a power law alone, fitted before that, ends too high. Source: Tissue, Wang and Wang 2024, Scaling Law
with Learning Rate Annealing, arXiv 2408.11029, which has both terms on the loss itself.

Slope and drop have priors, since the first part of a curve says little about the drop. Exponents are averaged
by their likelihood, so that all is in closed form, and a curve in other units has the same forecast.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cosmos.run.statistics.image_values import FloatArray
from cosmos.run.statistics.value_scales import ValueScale

EXPONENTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Exponents of the power law that are averaged; 0 stands for the logarithm."""

MEMORY = 0.05
"""Share of a run's steps over which the annealed rate is averaged."""

MAX_GRID = 2000
"""Largest number of steps at which a schedule is evaluated."""

SKIPPED_SHARE = 0.4
"""Share of the observed steps, the first ones, that say nothing about the end."""

WINDOW, SPIKE = 7, 6.0
"""Number of points around a point, and the distance, in the noise, from which on it is a spike."""

NORMAL_MEDIAN = 0.6745
"""Median distance from the mean of a normal distribution, in its standard deviations."""

MIN_NOISE = 1e-6
"""Smallest noise, on the scale: curves that are smoother are no surer."""

ENOUGH_POINTS = 8
"""Number of points whose own scatter tells the noise; those that lack count with the scale's usual noise."""

LEVEL_DEVIATION = 10.0
"""Standard deviation of the level around the curve's mean, on the scale: hardly any prior."""

SLOPE_PRIOR = (1.0, 0.5)
"""Mean and standard deviation of the slope of a figure that falls, in usual changes of its scale."""

DROP_PRIOR = (1.0, 0.5)
"""Mean and standard deviation of the drop of a figure that falls, in usual changes of its scale."""

MISFIT = 0.2
"""Standard deviation of the law itself, as a share of the change that it foretells."""


@dataclass(frozen=True)
class LearningSchedule:
    """Learning rate of a run, as its law takes it, at steps from 0 to the last one."""

    steps: FloatArray
    """(G,) numbers of steps, ascending"""
    spent: FloatArray
    """(G,) share of the rate's integral that is behind"""
    annealed: FloatArray
    """(G,) share of the peak rate that is given up, averaged over the last steps"""

    @classmethod
    def of(cls, rate: Callable[[int], float], total_steps: int) -> "LearningSchedule":
        """Return the schedule of a run whose learning rate `rate` returns by step."""
        steps = np.unique(np.linspace(0, total_steps, min(total_steps, MAX_GRID) + 1).round())
        rates = np.array([rate(int(step)) for step in steps])
        parts = (rates[1:] + rates[:-1]) / 2 * np.diff(steps)
        spent = np.concatenate([[0.0], parts.cumsum()])
        given_up = 1 - rates / max(rates.max(), np.finfo(float).tiny)
        given_up[: rates.argmax()] = 0  # the rate that warms up is not annealed
        return cls(steps, spent / max(spent[-1], np.finfo(float).tiny), trailing_mean(given_up))

    @property
    def last_step(self) -> float:
        """Number of steps of the run."""
        return float(self.steps[-1])

    def spent_at(self, steps: FloatArray) -> FloatArray:
        """Return the share of the rate's integral after some steps; above 0."""
        shares = np.interp(steps, self.steps, self.spent)
        return np.maximum(shares, 1 / (10 * max(1.0, self.last_step)))

    def terms(self, steps: FloatArray, exponent: float) -> FloatArray:
        """Return what level, slope and drop are multiplied by after some steps, (N, 3)."""
        spent = self.spent_at(steps)
        power = (spent**-exponent - 1) / exponent if exponent else -np.log(spent)
        return np.stack([np.ones_like(spent), power, -np.interp(steps, self.steps, self.annealed)], axis=-1)


def trailing_mean(values: FloatArray) -> FloatArray:
    """Return the mean of the last MEMORY of a run's values at each of them."""
    width = max(1, round(MEMORY * len(values)))
    sums = np.concatenate([np.zeros(width), values.cumsum()])
    counts = np.minimum(np.arange(1, len(values) + 1), width)
    return np.asarray((sums[width:] - sums[:-width]) / counts)


@dataclass(frozen=True)
class CurveForecast:
    """Forecast of a curve, on its scale."""

    steps: FloatArray
    """(N,) later steps, the run's last one at the end"""
    means: FloatArray
    deviations: FloatArray
    """standard deviations of a value there, with its noise"""


@dataclass(frozen=True)
class LawFit:
    """Law with one exponent, as the points of a curve leave it."""

    exponent: float
    log_likelihood: float
    means: FloatArray
    """(3,) level, slope, drop"""
    covariance: FloatArray

    def forecast(self, terms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the means and the variances, without noise, of values with these terms."""
        return terms @ self.means, np.einsum("ni,ij,nj->n", terms, self.covariance, terms)


def forecast_curve(
    steps: FloatArray, places: FloatArray, schedule: LearningSchedule, scale: ValueScale, later: FloatArray
) -> CurveForecast:
    """Return the forecast of later steps of a curve from its points: places on its scale, by step.

    There are two points at least; steps ascend.
    """
    used = (steps >= SKIPPED_SHARE * steps[-1]) & ~spikes_of(places)
    steps, places = (steps[used], places[used]) if used.sum() > 1 else (steps, places)
    noise = noise_of(places, scale)
    fits = [fit_law(steps, places, schedule, scale, noise, exponent) for exponent in EXPONENTS]
    weights = np.exp([fit.log_likelihood - max(f.log_likelihood for f in fits) for fit in fits])
    weights /= weights.sum()
    at = np.append(later, steps[-1])
    forecasts = [fit.forecast(schedule.terms(at, fit.exponent)) for fit in fits]
    means, variances = (np.array(part) for part in zip(*forecasts, strict=True))
    mean = weights @ means
    variance = weights @ (variances + (means - mean) ** 2)
    change = mean[:-1] - mean[-1]
    deviations = np.sqrt(variance[:-1] + (MISFIT * change) ** 2 + noise**2)
    return CurveForecast(later, mean[:-1], deviations)


def spikes_of(places: FloatArray) -> NDArray[np.bool_]:
    """Return True for each point that lies far from the median of the WINDOW around it: a batch gone wrong.

    Distances are in the noise by the median of second differences, which spikes do not move.
    """
    if len(places) < 2 * WINDOW:
        return np.zeros(len(places), bool)
    padded = np.pad(places, WINDOW // 2, mode="reflect", reflect_type="odd")
    distances = np.abs(places - np.median(sliding_window_view(padded, WINDOW), axis=1))
    noise = float(np.median(np.abs(np.diff(places, 2)))) / NORMAL_MEDIAN / math.sqrt(6)
    return np.asarray(distances > SPIKE * max(MIN_NOISE, noise))


def noise_of(places: FloatArray, scale: ValueScale) -> float:
    """Return the standard deviation of points around their trend, from their second differences.

    Of independent noise these have six times its variance, and of a smooth curve hardly any.
    """
    bends = np.diff(places, 2)
    lacking = max(0, ENOUGH_POINTS - len(bends))
    variance = (np.square(bends).sum() / 6 + lacking * scale.usual_noise**2) / (len(bends) + lacking)
    return max(MIN_NOISE, float(np.sqrt(variance)))


def fit_law(
    steps: FloatArray,
    places: FloatArray,
    schedule: LearningSchedule,
    scale: ValueScale,
    noise: float,
    exponent: float,
) -> LawFit:
    """Return the law with an exponent, by Bayes' linear regression with a known noise."""
    terms, change = schedule.terms(steps, exponent), scale.usual_change
    prior = np.array([places.mean(), change * SLOPE_PRIOR[0], change * DROP_PRIOR[0]])
    spread = abs(change)
    deviations = np.array([LEVEL_DEVIATION, spread * SLOPE_PRIOR[1], spread * DROP_PRIOR[1]])
    precision = np.diag(deviations**-2) + terms.T @ terms / noise**2
    covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
    means = prior + covariance @ terms.T @ (places - terms @ prior) / noise**2
    rest, moved = places - terms @ means, (means - prior) / deviations
    log_determinant = np.linalg.slogdet(precision)[1] + 2 * np.log(deviations).sum()
    likelihood = -0.5 * (np.square(rest).sum() / noise**2 + np.square(moved).sum() + log_determinant)
    return LawFit(exponent, float(likelihood), means, covariance)


def without_annealing(schedule: LearningSchedule) -> LearningSchedule:
    """Return a schedule in which nothing is annealed: the law of a plain power law in its steps."""
    return replace(
        schedule, spent=schedule.steps / schedule.last_step, annealed=np.zeros_like(schedule.annealed)
    )
