import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cosmos.registry.candidates import SweepVerdict, judge_candidates, rank_candidates
from cosmos.run.statistics.seed_statistics import SeedStatistics
from cosmos.run.sweep_directory import TrialRecord, TrialState
from tests.search.examples import RECALL, TIME, small_sweep

BOTH = [{"figure": RECALL}, {"figure": TIME, "goal": "minimize"}]


def finished(number: int, seed: int, *values: float, state: TrialState = "finished") -> TrialRecord:
    figures = (RECALL, TIME)[: len(values)]
    return TrialRecord("small", number, seed, {}, state, 1, dict(zip(figures, values, strict=True)))


def best(tmp_path: Path, trials: list[TrialRecord], **changes: Any) -> list[int]:
    return [
        candidate.number
        for candidate in rank_candidates(small_sweep(tmp_path, **changes), trials)
        if candidate.is_best
    ]


def test_figures_have_the_spread_of_their_seeds() -> None:
    assert str(SeedStatistics.over([0.1, 0.2, 0.3])) == "0.2 ± 0.1"
    assert str(SeedStatistics.over([0.25])) == "0.25"
    assert str(SeedStatistics.over([0.000638, 0.00064])) == "0.000639 ± 1.4e-06"
    assert str(SeedStatistics.over([123456.0, 123466.0])) == "123461 ± 7.1"
    assert SeedStatistics.over([1.7e308, -1.7e308]).mean == 0.0
    assert SeedStatistics.over([1.7e308, 1.7e308]).mean == pytest.approx(1.7e308)


def test_the_best_is_named_by_its_mean_among_those_with_as_many_seeds(tmp_path: Path) -> None:
    lucky, steady = [finished(0, 0, 0.9), finished(0, 1, 0.1)], [finished(1, 0, 0.6), finished(1, 1, 0.6)]
    once = [finished(2, 0, 0.8)]
    leader = judge(tmp_path, [*lucky, *steady, *once]).leader
    assert leader
    assert leader.number == 1
    good, bad = seeds(2, 0.80, 0.81, 0.82), seeds(3, 0.70, 0.71, 0.72)
    assert best(tmp_path, [*good, *bad]) == [2]
    assert best(tmp_path, [*good, *bad, finished(4, 0, 0.9, state="pruned")]) == [2]
    assert best(tmp_path, [*good, *bad], objectives=[{**BOTH[0], "goal": "minimize"}]) == [3]


def test_of_several_objectives_the_best_are_those_that_none_beats_in_all(tmp_path: Path) -> None:
    trials = [
        finished(0, 0, 0.5, 10),
        finished(1, 0, 0.6, 20),
        finished(2, 0, 0.5, 15),
        finished(3, 0, 0.4, 5),
    ]
    assert best(tmp_path, trials, objectives=BOTH) == [1, 0, 3]


def test_what_breaks_a_constraint_with_any_seed_comes_last_and_never_wins(tmp_path: Path) -> None:
    broken = [*seeds(0, 0.9, 0.9), replace(finished(0, 2, 0.9), breaches=["device_memory <= 4e10"])]
    good, bad = seeds(2, 0.60, 0.61, 0.62), seeds(1, 0.50, 0.51, 0.52)
    ranked = rank_candidates(small_sweep(tmp_path), [*broken, *bad, *good])
    assert [(c.number, c.is_best, c.breaches) for c in ranked] == [
        (2, True, ()),
        (1, False, ()),
        (0, False, ("device_memory <= 4e10",)),
    ]
    assert judge(tmp_path, [*broken, *bad, *good]).words == judge(tmp_path, [*bad, *good]).words
    assert judge(tmp_path, [*broken, *bad]).words == "no winner: trial 1 alone keeps the constraints"
    alone = judge(tmp_path, broken)
    assert (alone.leader, alone.words) == (None, "no winner: every trial that finished breaks a constraint")


def seeds(number: int, *values: float) -> list[TrialRecord]:
    """A configuration that was trained once with each seed."""
    return [finished(number, seed, value) for seed, value in enumerate(values)]


def judge(tmp_path: Path, trials: list[TrialRecord], **changes: Any) -> SweepVerdict:
    sweep = small_sweep(tmp_path, **changes)
    return judge_candidates(sweep, rank_candidates(sweep, trials))


@pytest.mark.parametrize(
    ("trials", "leader", "stars", "words"),
    [
        ([], None, [], "no winner: no trial finished"),
        ([finished(0, 0, 0.5, state="pruned")], None, [], "no winner: no trial finished"),
        ([finished(0, 0, 0.5, state="failed")], None, [], "no winner: no trial finished"),
        (seeds(0, 0.5), 0, [], "no winner: trial 0 alone finished"),
        ([*seeds(0, 0.0), *seeds(1, 0.0), *seeds(2, 0.0)], None, [], "no winner: 3 trials are equal"),
        ([*seeds(0, 0.0), *seeds(1, 0.0), *seeds(2, 0.0, 0.0)], None, [], "no winner: 3 trials are equal"),
        ([*seeds(0, 0.4), *seeds(1, 0.5), *seeds(2, 0.5)], None, [], "no winner: 2 trials are equal"),
        ([*seeds(0, 0.1 + 0.2), *seeds(1, 0.3)], None, [], "no winner: 2 trials are equal"),
        (
            [*seeds(0, 0.5), *seeds(1, 0.4)],
            0,
            [],
            "no winner at 95%: trial 0 leads, by one seed: nothing shows the spread over seeds or images",
        ),
        (
            [*seeds(0, 0.50, 0.51, 0.52), *seeds(1, 0.40, 0.41, 0.42)],
            0,
            [0],
            "trial 0 wins at 95%, over 3 seeds",
        ),
        (
            [*seeds(0, 0.50, 0.52), *seeds(1, 0.40, 0.42)],
            0,
            [0],
            "trial 0 wins at 95%, over 2 seeds",
        ),
        (
            [*seeds(0, 0.50, 0.52), *seeds(1, 0.40, 0.42), *seeds(2, 0.7)],
            0,
            [],
            "no winner: trial 0 leads those with 2 seeds; with fewer, trial 2 did better, "
            "and would need as many",
        ),
        (
            [*seeds(0, 0.50, 0.60), *seeds(1, 0.40, 0.42), *seeds(2, 0.55)],
            0,
            [],
            "no winner: trial 0 leads those with 2 seeds; with fewer, trial 2 did as well, "
            "and would need as many",
        ),
        (
            [*seeds(0, 0.50, 0.60), *seeds(1, 0.52, 0.54), *seeds(2, 0.1, 0.1)],
            0,
            [],
            "no winner at 95%: trial 0 leads, trial 1 may be as good; they are too close to tell apart",
        ),
        (
            [*seeds(0, 0.50, 0.60), *seeds(1, 0.54)],
            0,
            [],
            "no winner at 95%: trial 0 leads, trial 1 may be as good; they are too close to tell apart",
        ),
        ([*seeds(0, 0.5, 0.5), *seeds(1, math.nan), *seeds(2, 0.4, 0.41)], 0, [0], None),
        ([*seeds(0, 0.5, 0.5), finished(1, 0), *seeds(2, 0.4, 0.41)], 0, [0], None),
    ],
)
def test_a_winner_leads_by_more_than_chance_and_has_no_equal(
    tmp_path: Path, trials: list[TrialRecord], leader: int | None, stars: list[int], words: str | None
) -> None:
    verdict = judge(tmp_path, trials)
    assert (verdict.leader.number if verdict.leader else None) == leader
    assert best(tmp_path, trials) == stars
    assert words in (None, verdict.words)


def test_on_a_front_equals_and_those_within_the_spread_have_no_star(tmp_path: Path) -> None:
    front = [finished(0, 0, 0.5, 10), finished(1, 0, 0.6, 20), finished(2, 0, 0.4, 15)]
    assert (
        judge(tmp_path, front, objectives=BOTH).words == f"trial 1 has the best {RECALL} of the Pareto front"
    )
    assert best(tmp_path, [*front, finished(3, 0, 0.6, 20)], objectives=BOTH) == [0]
    verdict = judge(tmp_path, [*front, finished(3, 0, 0.6, 20)], objectives=BOTH)
    assert (verdict.leader, verdict.words) == (None, "no winner: 2 trials are equal")
    assert best(tmp_path, [*front, finished(4, 0, 0.9, math.nan)], objectives=BOTH) == [1, 0]
    once = finished(3, 0, 0.65, 15)  # ahead of 1 in both, but its one seed is no member of the front
    twice = [
        finished(trial.number, seed, *(value * (1 + seed / 1000) for value in trial.values.values()))
        for trial in front
        for seed in (0, 1)
    ]
    assert best(tmp_path, [*twice, once], objectives=BOTH) == [0]
    assert judge(tmp_path, [*twice, once], objectives=BOTH).words.startswith(
        "no winner: trial 1 leads those with 2 seeds; with fewer, trial 3 did better"
    )
    noisy = [
        finished(0, 0, 0.5, 10),
        finished(0, 1, 0.7, 12),
        finished(1, 0, 0.61, 12),
        finished(1, 1, 0.61, 12),
    ]
    assert best(tmp_path, noisy, objectives=BOTH) == []
    words = judge(tmp_path, noisy, objectives=BOTH).words
    assert words == "no winner at 95%: trial 1 leads, trial 0 may be as good"
