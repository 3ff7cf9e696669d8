from pathlib import Path
from typing import Any

from cosmos.registry.candidates import SeedStatistics, rank_candidates
from cosmos.registry.sweep_directory import TrialRecord, TrialState
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


def test_the_best_is_named_by_its_mean_among_those_with_as_many_seeds(tmp_path: Path) -> None:
    lucky, steady = [finished(0, 0, 0.9), finished(0, 1, 0.1)], [finished(1, 0, 0.6), finished(1, 1, 0.6)]
    once = [finished(2, 0, 0.8)]
    assert best(tmp_path, [*lucky, *steady, *once]) == [1]
    assert best(tmp_path, once) == [2]
    assert best(tmp_path, [finished(3, 0, 0.9, state="pruned"), *once]) == [2]
    assert best(tmp_path, [finished(3, 0, 0.9), *once], objectives=[{**BOTH[0], "goal": "minimize"}]) == [2]


def test_of_several_objectives_the_best_are_those_that_none_beats_in_all(tmp_path: Path) -> None:
    trials = [
        finished(0, 0, 0.5, 10),
        finished(1, 0, 0.6, 20),
        finished(2, 0, 0.5, 15),
        finished(3, 0, 0.4, 5),
    ]
    assert best(tmp_path, trials, objectives=BOTH) == [1, 0, 3]
