"""Intervals hold what they state: of 1,000 samples of images about 95% have the true share inside."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from cosmos.run.statistics.image_values import AnswerCounts, FloatArray
from cosmos.run.statistics.intervals import Interval, intervals_json, share_interval
from cosmos.run.statistics.seed_statistics import SeedImages, SeedStatistics
from cosmos.run.statistics.student import student_quantile, student_two_sided

NUM_SAMPLES = 1000
RNG = np.random.default_rng(1)


def ends(values: FloatArray) -> tuple[float, float]:
    interval = share_interval(values)
    return interval.low, interval.high


def test_it_is_wilsons_where_each_image_is_right_or_wrong() -> None:
    assert ends(np.repeat([1.0, 0.0], [81, 182])) == pytest.approx(
        (0.2553, 0.3662), abs=1e-4
    )  # Newcombe 1998
    assert ends(np.zeros(20)) == pytest.approx((0, 0.1611), abs=1e-4)


@pytest.mark.parametrize("values", [[0.0], [1.0], [1.0] * 1000, [0.5, 0.5], [0.0] * 3])
def test_it_has_a_width_even_where_all_images_are_alike(values: list[float]) -> None:
    low, high = ends(np.array(values))
    assert 0 <= low <= values[0] <= high <= 1
    assert high - low > 0.003


def test_images_that_count_for_no_seed_together_leave_every_share_possible() -> None:
    images = SeedImages("set", np.array([[1.0, np.nan], [np.nan, 0.0]]))
    assert SeedStatistics.over([1.0, 0.0], images).interval == Interval(0.0, 1.0)


def coverage(draw: Callable[[], FloatArray], truth: float) -> float:
    intervals = [share_interval(draw()) for _ in range(NUM_SAMPLES)]
    return sum(interval.low <= truth <= interval.high for interval in intervals) / NUM_SAMPLES


@pytest.mark.parametrize("truth", [0.02, 0.3, 0.9])
def test_of_right_and_wrong_images(truth: float) -> None:
    assert 0.92 < coverage(lambda: (RNG.random(60) < truth).astype(np.float64), truth) < 0.985


def test_of_images_with_five_captions_that_go_right_together() -> None:
    def draw() -> FloatArray:
        hits = RNG.binomial(5, RNG.beta(0.6, 1.4, 80))
        return AnswerCounts.of_table(hits[:, None], np.full((80, 1), 5)).values()

    assert 0.925 < coverage(draw, 0.3) < 0.97


def test_of_the_mean_over_classes() -> None:
    shares = np.linspace(0.1, 0.95, 10)

    def draw() -> FloatArray:
        labels = RNG.integers(0, 10, 120)
        return AnswerCounts.of_images(RNG.random(120) < shares[labels], labels).values()

    assert 0.925 < coverage(draw, shares.mean()) < 0.97


def test_of_the_mean_iou() -> None:
    unions = (RNG.random((20_000, 6)) < 0.4) * RNG.integers(50, 500, (20_000, 6))
    hits = (unions * RNG.beta(2, 2, (20_000, 1)) * np.linspace(0.3, 1, 6)).astype(int)

    def draw() -> FloatArray:
        rows = RNG.integers(0, 20_000, 100)
        return AnswerCounts.of_table(hits[rows], unions[rows]).values()

    assert 0.925 < coverage(draw, (hits.sum(axis=0) / unions.sum(axis=0)).mean()) < 0.97


def test_of_several_seeds_it_has_their_spread_too() -> None:
    images: FloatArray = (RNG.random((3, 400)) < np.array([[0.2], [0.3], [0.4]])).astype(np.float64)
    over_seeds = SeedStatistics.over(images.mean(axis=1).tolist(), SeedImages("set", images))
    once = SeedStatistics.over([images[0].mean()], SeedImages("set", images[:1]))
    wide, narrow = over_seeds.interval, once.interval
    assert wide
    assert narrow
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert SeedStatistics.over([0.1, 0.2]).interval is None


def test_the_farther_end_is_the_margin() -> None:
    assert Interval(0.1, 0.4).margin(0.2) == pytest.approx(0.2)
    assert intervals_json({"top1": np.zeros(20)}) == {"top1": [0.0, pytest.approx(0.1611, abs=1e-4)]}


@pytest.mark.parametrize(("freedom", "quantile"), [(2, 4.303), (4, 2.776), (10, 2.228), (math.inf, 1.960)])
def test_students_distribution_is_near_enough(freedom: float, quantile: float) -> None:
    assert student_two_sided(quantile, freedom) == pytest.approx(0.05, abs=0.004)
    assert student_quantile(0.025, freedom) == pytest.approx(quantile, rel=0.05)
