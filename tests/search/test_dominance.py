"""Order of points by several losses."""

import math
import random

import pytest

from cosmos.search.dominance import beats, number_fronts, order_by_dominance


@pytest.mark.parametrize(
    ("losses", "others", "expected"),
    [
        ((0, 1), (1, 1), True),
        ((0, 2), (1, 1), False),
        ((1, 1), (1, 1), False),
        ((1, 5), (math.nan, 5), True),
        ((math.nan, 5), (math.nan, 5), False),
        ((1,), (2,), True),
    ],
)
def test_a_point_beats_one_that_is_nowhere_better_and_somewhere_worse(
    losses: tuple[float, ...], others: tuple[float, ...], expected: bool
) -> None:
    assert beats(losses, others) is expected
    assert not (expected and beats(others, losses))


def test_the_front_comes_first_and_its_points_are_in_order_of_the_first_loss() -> None:
    points = [(2, 2), (3, 1), (1, 3), (3, 3), (0, 9), (2, 2), (math.nan, 0.5)]
    assert number_fronts(points) == [0, 0, 0, 1, 0, 0, 0]
    assert order_by_dominance(points) == [4, 2, 0, 5, 1, 6, 3]


def test_a_single_loss_gives_its_own_order_and_no_points_none() -> None:
    assert order_by_dominance([(3.0,), (math.nan,), (1.0,), (2.0,), (1.0,)]) == [2, 4, 3, 0, 1]
    assert order_by_dominance([]) == []


def test_nothing_is_behind_what_it_beats() -> None:
    generator = random.Random(0)
    points = [tuple(generator.choice((0, 1, 2, 3)) for _ in range(3)) for _ in range(60)]
    order = order_by_dominance(points)
    assert sorted(order) == list(range(60))
    places = {index: place for place, index in enumerate(order)}
    assert all(places[i] < places[j] for i in order for j in order if beats(points[i], points[j]))
