"""Law of the final loss over sizes of the model and samples seen: a power law with a floor.

    loss = floor + size_factor x size^-size_exponent + sample_factor x samples^-sample_exponent

A term is there where its quantity varies. Source: Hoffmann et al. 2022, Training Compute-Optimal Large
Language Models, arXiv 2203.15556, whose third approach this is: the logarithm of the loss is fitted, and
outliers count less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from cosmos.run.statistics.forecasts import FORECAST_LEVEL, Forecast
from cosmos.run.statistics.image_values import FloatArray
from cosmos.run.statistics.student import student_quantile

MIN_SIZES = 3
"""Number of different sizes without which the exponent and the floor cannot be told apart."""

MIN_FACTOR = 1.2
"""Factor by which sizes differ at least, to count as different ones."""

MIN_FALL = 0.001
"""Share by which a quantity changes the loss at least, to have a term."""

WORDS = {"size": "size{} of the model", "samples": "number{} of samples seen"}
"""Quantities in words, with a place for the plural's letter."""

OUTLIER = 0.01
"""Distance from the law, in the logarithm, from which on a run counts less."""

START_EXPONENTS = (0.1, 0.4, 1.0)
START_FLOORS = (0.02, 0.5, 0.95)
"""Exponents, and floors as shares of the smallest loss, from which the fit starts."""

GROWTH = 4.0
"""Factor between the compute of the largest run and of the one that is suggested."""


@dataclass(frozen=True)
class SizedRun:
    """Finished run, as the law takes it."""

    size: float
    """parameters of the model"""
    samples: float
    """samples seen"""
    loss: float


class NoLawError(ValueError):
    """Error of runs that are too few or too alike for a law, or whose loss does not fall as they grow."""


@dataclass(frozen=True, eq=False)
class ScalingLaw:
    """Law that was fitted to runs."""

    runs: Sequence[SizedRun]
    varied: tuple[str, ...]
    """`size`, `samples` or both: the quantities that have a term"""
    values: FloatArray
    """logarithms of the floor, and of factor at the mean size and exponent for each term"""
    covariance: FloatArray
    scatter: float
    """standard deviation of the runs around the law, in the logarithm"""

    @property
    def floor(self) -> float:
        """Loss that no size goes below."""
        return math.exp(self.values[0])

    @cached_property
    def exponents(self) -> dict[str, float]:
        """Exponents by the quantity."""
        return {name: math.exp(self.values[2 + 2 * place]) for place, name in enumerate(self.varied)}

    def factor(self, name: str) -> float:
        """Return the factor of a quantity's term."""
        centre = math.exp(np.log(quantities(self.runs, name)).mean())
        return float(math.exp(self.values[1 + 2 * self.varied.index(name)]) * centre ** self.exponents[name])

    def fall(self, name: str) -> float:
        """Return the share by which a quantity lowers the loss, from its least to its largest value."""
        ends = [extreme(self.runs, key=lambda run: getattr(run, name)) for extreme in (min, max)]
        middle = {each: float(np.median(quantities(self.runs, each))) for each in ("size", "samples")}
        places = [SizedRun(**{**middle, name: getattr(run, name)}, loss=1.0) for run in ends]
        first, last = log_losses(self.values, places, self.runs, self.varied)
        return float(1 - np.exp(last - first))

    def forecast(self, size: float, samples: float) -> Forecast:
        """Return the loss that the law gives a run, and the interval at FORECAST_LEVEL.

        The interval has the runs' scatter and the law's own uncertainty, to first order.
        """
        place = [SizedRun(size, samples, 1.0)]
        value = float(log_losses(self.values, place, self.runs, self.varied)[0])
        slope = jacobian(self.values, place, self.runs, self.varied)[0]
        deviation = math.sqrt(self.scatter**2 + float(slope @ self.covariance @ slope))
        freedom = len(self.runs) - len(self.values)
        reach = student_quantile((1 - FORECAST_LEVEL) / 2, freedom) * deviation
        ends = (math.exp(min(700.0, value + sign * reach)) for sign in (0, -1, 1))
        return Forecast(*ends)

    def next_run(self) -> tuple[float, float]:
        """Return size and samples of a run with GROWTH times the compute of the largest, size x samples.

        Where both vary, the split is the one of least loss among those in which neither shrinks; where one
        does, that one grows.
        """
        largest = max(self.runs, key=lambda run: run.size * run.samples)
        if self.varied == ("size",):
            return GROWTH * largest.size, largest.samples
        if self.varied == ("samples",):
            return largest.size, GROWTH * largest.samples
        compute = GROWTH * largest.size * largest.samples
        rise, fall = self.exponents["size"], self.exponents["samples"]
        weights = rise * self.factor("size") / (fall * self.factor("samples"))
        best = (weights * compute**fall) ** (1 / (rise + fall))
        size = min(max(best, largest.size), GROWTH * largest.size)
        return size, compute / size


def fit_scaling_law(runs: Sequence[SizedRun]) -> ScalingLaw:
    """Return the law of runs. Raises NoLawError where they have none."""
    law = fit_values(runs)
    for name in law.varied:
        fall, scatter = law.fall(name), law.scatter
        if fall < max(MIN_FALL, 2 * scatter):
            quantity, share = WORDS[name].format(""), f"they lie {100 * scatter:.2g}% around a law"
            raise NoLawError(
                f"over these runs the {quantity} lowers the loss by {100 * fall:.2g}%, and {share}"
            )
    return law


def fit_values(runs: Sequence[SizedRun]) -> ScalingLaw:
    """Return the law that is nearest to runs. Raises NoLawError where they are too few or too alike."""
    varied = varied_quantities(runs)
    from scipy.optimize import least_squares  # late: scipy takes longer than all the rest

    targets = np.log([run.loss for run in runs])
    starts = start_values(runs, varied)
    bounds = value_bounds(runs, varied)

    def rest(values: FloatArray) -> FloatArray:
        return (log_losses(values, runs, runs, varied) - targets) / OUTLIER

    fits = [least_squares(rest, start, bounds=bounds, loss="soft_l1", x_scale="jac") for start in starts]
    values = min(fits, key=lambda fit: fit.cost).x
    errors, slopes = rest(values) * OUTLIER, jacobian(values, runs, runs, varied)
    variance = float(np.square(errors).sum()) / (len(runs) - len(values))
    covariance = np.asarray(variance * np.linalg.pinv(slopes.T @ slopes), dtype=np.float64)
    return ScalingLaw(runs, varied, values, covariance, math.sqrt(variance))


def varied_quantities(runs: Sequence[SizedRun]) -> tuple[str, ...]:
    """Return the quantities that have enough different values. Raises NoLawError where none has."""
    counts = {name: count_sizes(quantities(runs, name)) for name in ("size", "samples")}
    varied = tuple(name for name, count in counts.items() if count >= MIN_SIZES)
    too_few = {name: count for name, count in counts.items() if 1 < count < MIN_SIZES}
    if too_few or not varied:
        there = " and ".join(
            f"{count} {WORDS[name].format('s' * (count != 1))}" for name, count in (too_few or counts).items()
        )
        raise NoLawError(f"a law needs {MIN_SIZES} or more of what varies; there are {there}")
    if len(runs) < (needed := 2 + 2 * len(varied)):
        raise NoLawError(f"{len(runs)} runs: a law of {' and '.join(varied)} needs {needed} or more")
    return varied


def count_sizes(values: FloatArray) -> int:
    """Return the number of different values, those that differ by less than MIN_FACTOR counted once."""
    count, last = 0, 0.0
    for value in np.sort(values):
        if value > last * MIN_FACTOR:
            count, last = count + 1, float(value)
    return count


def quantities(runs: Sequence[SizedRun], name: str) -> FloatArray:
    """Return the size or the samples of runs."""
    return np.array([getattr(run, name) for run in runs], float)


def log_losses(
    values: FloatArray, places: Sequence[SizedRun], runs: Sequence[SizedRun], varied: Sequence[str]
) -> FloatArray:
    """Return the logarithms of the losses at places, by a law of runs with these values."""
    logs = [np.full(len(places), values[0])]
    for number, name in enumerate(varied):
        centre = np.log(quantities(runs, name)).mean()
        exponent = np.exp(values[2 + 2 * number])
        logs.append(values[1 + 2 * number] - exponent * (np.log(quantities(places, name)) - centre))
    return np.asarray(np.logaddexp.reduce(logs, axis=0))


def jacobian(
    values: FloatArray, places: Sequence[SizedRun], runs: Sequence[SizedRun], varied: Sequence[str]
) -> FloatArray:
    """Return the slopes of `log_losses` by the values, (N, K), from central differences."""
    steps = 1e-5 * np.eye(len(values))
    pairs = (
        (log_losses(values + step, places, runs, varied), log_losses(values - step, places, runs, varied))
        for step in steps
    )
    return np.stack([(upper - lower) / 2e-5 for upper, lower in pairs], axis=-1)


def start_values(runs: Sequence[SizedRun], varied: Sequence[str]) -> list[FloatArray]:
    """Return the values from which the fit starts."""
    losses = [run.loss for run in runs]
    starts = product(START_FLOORS, START_EXPONENTS)
    typical = math.exp(float(np.log(losses).mean()))
    return [
        np.array(
            [
                math.log(share * min(losses)),
                *[math.log(max(typical - share * min(losses), 1e-3 * typical) / len(varied)), math.log(power)]
                * len(varied),
            ]
        )
        for share, power in starts
    ]


def value_bounds(runs: Sequence[SizedRun], varied: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return the least and the largest values of a law: exponents from 0.01 to 5."""
    logs = np.log([run.loss for run in runs])
    low, high = float(logs.min()), float(logs.max())
    lower = [low - 15, *[low - 15, math.log(0.01)] * len(varied)]
    return lower, [low + 1e-9, *[high + 5, math.log(5.0)] * len(varied)]
