"""Values of images: their mean is the figure, and their spread that of a bootstrap over images."""

import numpy as np
import pytest

from cosmos.run.statistics.image_values import AnswerCounts, drop_uncounted
from cosmos.run.statistics.intervals import variance_of_mean

RNG = np.random.default_rng(0)
HITS, UNIONS = np.array([[4, 0], [1, 3], [0, 2]]), np.array([[5, 0], [2, 6], [0, 2]])


def test_an_image_that_counts_once_has_its_share_of_right_answers_as_its_value() -> None:
    assert AnswerCounts.of_images([1, 0, 0.5]).values() == pytest.approx([1, 0, 0.5], abs=1e-15)
    captions = AnswerCounts.of_queries([0, 0, 1, 1], 2, [True, False, True, True])
    assert captions.values() == pytest.approx([0.5, 1])


def test_the_mean_of_the_values_is_the_figure() -> None:
    uneven = AnswerCounts.of_queries([0, 0, 0, 1], 2, [True, True, False, False])
    assert uneven.values().mean() == pytest.approx(2 / 4)
    by_class = AnswerCounts.of_images([1, 0, 1, 1], groups=[0, 0, 0, 2])
    assert by_class.values().mean() == pytest.approx((2 / 3 + 1) / 2)
    assert AnswerCounts.of_table(HITS, UNIONS).values().mean() == pytest.approx((5 / 7 + 5 / 8) / 2)


def test_an_image_without_answers_does_not_count() -> None:
    values = AnswerCounts.of_queries([0, 2], 3, [True, False]).values()
    assert np.isnan(values).tolist() == [False, True, False]
    assert np.nanmean(values) == 0.5
    second = AnswerCounts.of_images([1, 0, 1], groups=[0, 1, 1]).of_group(1).values()
    assert np.nan_to_num(second, nan=-1).tolist() == [-1, 0, 1]


def draw_pixels(num_images: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Intersections and unions of images that show some of the classes, some better than others."""
    shown = RNG.random((num_images, num_classes)) < 0.4
    unions = shown * RNG.integers(50, 500, (num_images, num_classes))
    quality = RNG.beta(2, 2, (num_images, 1)) * np.linspace(0.4, 1, num_classes)
    return (unions * quality).astype(int), unions


@pytest.mark.parametrize("kind", ["captions", "classes", "pixels"])
def test_their_spread_is_that_of_a_bootstrap_over_images(kind: str) -> None:
    num_images = 200
    if kind == "captions":
        totals = RNG.integers(1, 6, (num_images, 1))
        rights = RNG.binomial(totals, RNG.beta(1, 2, (num_images, 1)))
    elif kind == "classes":
        totals = np.eye(8, dtype=int)[RNG.integers(0, 8, num_images)]
        rights = totals * (RNG.random((num_images, 1)) < np.linspace(0.2, 0.9, 8))
    else:
        rights, totals = draw_pixels(num_images, 8)
    values = drop_uncounted(AnswerCounts.of_table(rights, totals).values())
    drawn = RNG.multinomial(num_images, np.full(num_images, 1 / num_images), size=2000)
    bootstrap = (drawn @ rights / (drawn @ totals)).mean(axis=1)
    assert variance_of_mean(values) ** 0.5 == pytest.approx(bootstrap.std(), rel=0.08)
