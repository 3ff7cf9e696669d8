"""Order of points by several losses: those that no other dominates come first, then the next front.

A point is the values of a trial, each with a sign by which less is better; NaN counts as the worst value.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial

Losses = Sequence[float]
"""Values of a point, of each of which less is better."""


def order_by_dominance(points: Sequence[Losses]) -> list[int]:
    """Return the indices of points, the best first; those that are equal stay in their order.

    Points are ordered by front, and within a front by the first loss, then by the next ones.
    """
    fronts = number_fronts(points)
    return sorted(range(len(points)), key=lambda index: (fronts[index], *with_worst(points[index])))


def number_fronts(points: Sequence[Losses]) -> list[int]:
    """Return the number of each point's front: 0 where nothing beats it, 1 where only front 0 does, etc.

    Source: efficient non-dominated sorting, https://doi.org/10.1109/TEVC.2014.2308305: in order of their
    losses, points are beaten by earlier ones alone, and by one of each front before their own.
    """
    fronts, numbers = list[list[Losses]](), dict[int, int]()
    for index in sorted(range(len(points)), key=lambda index: with_worst(points[index])):
        numbers[index] = bisect_left(fronts, True, key=partial(is_unbeaten, points[index]))
        fronts += [[]] * (numbers[index] == len(fronts))
        fronts[numbers[index]].append(points[index])
    return [numbers[index] for index in range(len(points))]


def is_unbeaten(point: Losses, front: Sequence[Losses]) -> bool:
    """Return True where no point of a front beats this one."""
    return not any(beats(other, point) for other in front)


def beats(losses: Losses, others: Losses) -> bool:
    """Return True where no loss is larger than the other point's, and one is smaller: where it dominates."""
    pairs = list(zip(with_worst(losses), with_worst(others), strict=True))
    return all(mine <= theirs for mine, theirs in pairs) and any(mine < theirs for mine, theirs in pairs)


def with_worst(losses: Losses) -> list[float]:
    """Return losses with infinity in place of NaN."""
    return [math.inf if math.isnan(loss) else loss for loss in losses]
