"""Forecasts: a law without noise is found, units do not matter, and intervals hold what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmos.run.statistics.annealing_law import EXPONENTS, LearningSchedule
from cosmos.run.statistics.forecasts import (
    FORECAST_LEVEL,
    USUAL_SCORES,
    FigureCurve,
    end_score,
    forecast_fan,
    score_range,
    steps_needed,
)
from cosmos.run.statistics.value_scales import LOSS_SCALE, RANK_SCALE, SHARE_SCALE, scale_of
from tests.run.statistics.curves import law_values

RECALL = "evaluation/student/heldout/text_to_image_R@5"


def cosine(total: int = 1000) -> LearningSchedule:
    return LearningSchedule.of(lambda step: 0.5 * (1 + math.cos(math.pi * step / total)), total)


def noisy_curve(schedule: LearningSchedule, seed: int, until: float = 0.4) -> FigureCurve:
    steps = np.arange(10, until * schedule.last_step + 1, 10)
    values = law_values(schedule, steps, 0.5, 0.5, 0.2, 0.1)
    return FigureCurve(steps, values * np.exp(np.random.default_rng(seed).normal(0, 0.03, len(steps))))


@pytest.mark.parametrize("exponent", EXPONENTS)
@settings(max_examples=10, deadline=None)
@given(level=st.floats(-2, 2), slope=st.floats(0.05, 0.4), drop=st.floats(0, 0.3))
def test_the_forecast_of_a_law_without_noise_is_the_law(
    exponent: float, level: float, slope: float, drop: float
) -> None:
    schedule = cosine()
    steps = np.arange(10.0, 401, 10)
    past = FigureCurve(steps, law_values(schedule, steps, exponent, level, slope, drop))
    end = law_values(schedule, np.array([1000.0]), exponent, level, slope, drop)[0]
    forecast = forecast_fan(past, schedule, LOSS_SCALE, []).end
    assert forecast.value == pytest.approx(end, rel=0.03)
    assert forecast.holds(end)


def test_a_decay_that_comes_later_is_foreseen_where_a_power_law_is_not_enough() -> None:
    schedule = cosine()
    steps = np.arange(10.0, 401, 10)
    past = FigureCurve(steps, law_values(schedule, steps, 0.0, 1.0, 0.1, 0.25))
    end = law_values(schedule, np.array([1000.0]), 0.0, 1.0, 0.1, 0.25)[0]
    slope, level = np.polyfit(np.log(steps), np.log(past.values), 1)
    plain = math.exp(level + slope * math.log(1000))
    forecast = forecast_fan(past, schedule, LOSS_SCALE, []).end
    assert plain > 1.05 * end
    assert abs(forecast.value - end) < 0.1 * (plain - end)


@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_a_loss_in_other_units_has_the_same_forecast_in_these(factor: float, seed: int) -> None:
    schedule = cosine()
    curve = noisy_curve(schedule, seed)
    scaled = FigureCurve(curve.steps, factor * curve.values)
    end, other = (forecast_fan(each, schedule, LOSS_SCALE, []).end for each in (curve, scaled))
    ends = [factor * value for value in (end.value, end.low, end.high)]
    assert [other.value, other.low, other.high] == pytest.approx(ends, rel=1e-6)


@given(stretch=st.sampled_from([2, 10, 100]), seed=st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_a_run_of_more_steps_with_the_same_curve_has_the_same_forecast(stretch: int, seed: int) -> None:
    schedule, longer = cosine(), cosine(1000 * stretch)
    curve = noisy_curve(schedule, seed)
    stretched = FigureCurve(curve.steps * stretch, curve.values)
    end, other = (
        forecast_fan(*each, LOSS_SCALE, []).end for each in ((curve, schedule), (stretched, longer))
    )
    assert other.value == pytest.approx(end.value, rel=2e-3)


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=6), share=st.floats(0.1, 1.0))
@settings(max_examples=50, deadline=None)
def test_shares_stay_shares_and_an_interval_has_its_middle(values: list[float], share: float) -> None:
    schedule = cosine()
    curve = FigureCurve(np.linspace(0.1, share, len(values)) * 1000, np.array(values))
    for forecast in forecast_fan(curve, schedule, SHARE_SCALE, []).forecasts:
        assert 0 <= forecast.low <= forecast.value <= forecast.high <= 1


def test_a_finished_value_is_its_own_forecast() -> None:
    schedule = cosine()
    curve = noisy_curve(schedule, 0, until=1.0)
    end = forecast_fan(curve, schedule, LOSS_SCALE, [5.0, 6.0]).end
    assert end.low == end.value == end.high == curve.values[-1]


def test_an_interval_narrows_as_the_end_comes_near() -> None:
    schedule = cosine()
    ends = [
        forecast_fan(noisy_curve(schedule, 1, until), schedule, LOSS_SCALE, []).end
        for until in (0.15, 0.4, 0.9)
    ]
    widths = [end.high - end.low for end in ends]
    assert widths[0] > widths[1] > widths[2]


def test_intervals_are_as_wide_as_finished_runs_were_wrong() -> None:
    narrow, usual = score_range([0.1, -0.1] * 20), score_range([])
    wide, shifted = score_range([8.0, -8.0] * 20), score_range([3.0] * 40)
    assert wide[2] > usual[2] > narrow[2] > 0
    assert shifted[1] == pytest.approx(3.0, abs=0.2)
    assert usual[0] == pytest.approx(-usual[2])


def test_ends_that_are_like_those_of_finished_runs_are_within_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    for number in (0, 5, 20, 60):
        trials = [
            (low <= fresh <= high)
            for fresh in rng.choice(USUAL_SCORES, 400)
            for low, _, high in [score_range(rng.choice(USUAL_SCORES, number).tolist())]
        ]
        assert np.mean(trials) > FORECAST_LEVEL - 0.05, number


def test_a_spike_of_the_loss_moves_neither_the_forecast_nor_its_interval() -> None:
    schedule = cosine()
    curve = noisy_curve(schedule, 3)
    spiked = FigureCurve(curve.steps, curve.values * np.where(curve.steps == 330, 5.0, 1.0))
    end, other = (forecast_fan(each, schedule, LOSS_SCALE, []).end for each in (curve, spiked))
    assert other.value == pytest.approx(end.value, rel=0.01)
    assert other.high / other.low == pytest.approx(end.high / end.low, rel=0.05)


def test_scores_are_of_runs_that_have_reached_the_end() -> None:
    schedule = cosine()
    whole = noisy_curve(schedule, 2, until=1.0)
    assert abs(end_score(whole, schedule, LOSS_SCALE, 0.4) or math.inf) < 5
    assert end_score(whole.until(980), schedule, LOSS_SCALE, 0.4) is None
    assert whole.reaches(1005), "no further line is due"
    assert not whole.reaches(1010)
    assert end_score(whole, schedule, LOSS_SCALE, 0.01) is None


def test_what_is_not_on_a_scale_is_left_out() -> None:
    points = {20: 2.0, 10: 3.0, 30: 0.0, 40: -1.0, 0: 4.0}
    assert FigureCurve.of(points, LOSS_SCALE).values.tolist() == [3.0, 2.0]
    assert scale_of("loss") is LOSS_SCALE
    assert scale_of(RECALL) is SHARE_SCALE
    assert scale_of("evaluation/student/heldout/text_to_image_mean_rank") is RANK_SCALE
    assert scale_of("evaluation/student/heldout/text_to_image_ties") is None
    assert scale_of("samples_per_second") is None


def test_the_steps_that_a_forecast_needs_are_told() -> None:
    assert steps_needed(np.array([], float), 1000, 4) == 100
    assert steps_needed(np.array([10, 20, 30], float), 1000, 4) == 100
    assert steps_needed(np.array([100, 200, 300], float), 1000, 4) == 400
    assert steps_needed(np.array([100, 200, 300, 400], float), 1000, 4) == 0


def test_constant_curves_stay_where_they_are() -> None:
    schedule = cosine()
    curve = FigureCurve(np.arange(10.0, 401, 10), np.full(40, 2.5))
    end = forecast_fan(curve, schedule, LOSS_SCALE, []).end
    assert end.value == pytest.approx(2.5, rel=1e-3)
