"""Trials of several objectives, or within constraints, that end early: by dominance at a rung."""

from pathlib import Path
from typing import Any

import pytest

from cosmos.config.params import Params
from cosmos.run.sweep_directory import TrialRecord
from cosmos.search.dominance_pruning import DominancePruner, TrialCurve
from tests.search.examples import RECALL, TIME, Bench, controller, small_sweep

BOTH = [{"figure": RECALL}, {"figure": TIME}]
MEDIAN = {"name": "median", "startup_trials": 1}
KEY = "student/heldout/text_to_image_R@1"


def lines_of(*points: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the lines of metrics of a trial with recall and device-seconds after each epoch."""
    return [
        line
        for epoch, (recall, seconds) in enumerate(points, 1)
        for line in (
            {"step": 10 * epoch, "epoch": float(epoch), "loss": 1.0, TIME: seconds},
            {"step": 10 * epoch, "epoch": epoch, "evaluation": {KEY: recall}},
        )
    ]


def pruner(tmp_path: Path, name: str, finished: list[tuple[float, float]], **changes: Any) -> DominancePruner:
    """Return a pruner that knows trials with these points after an epoch."""
    settings = {"name": name, "startup_trials": 1}
    made = DominancePruner(small_sweep(tmp_path, **{"objectives": BOTH, "pruner": settings, **changes}))
    for number, point in enumerate(finished):
        made.restore(TrialRecord("small", number, 0, {}, "finished"), lines_of(point))
    return made


@pytest.mark.parametrize(
    ("name", "point", "falls_behind"),
    [
        ("median", (0.1, 30.0), True),  # behind all others
        ("median", (0.1, 5.0), False),  # the cheapest
        ("median", (0.35, 30.0), False),  # dominated by one, before half of them
        ("halving", (0.35, 30.0), True),
        ("halving", (0.1, 5.0), False),
        ("halving", (0.5, 30.0), False),
        ("none", (0.1, 30.0), False),
    ],
)
def test_a_trial_falls_behind_where_it_is_dominated_and_too_many_come_before(
    tmp_path: Path, name: str, point: tuple[float, float], falls_behind: bool
) -> None:
    made = pruner(tmp_path, name, [(0.4, 20.0), (0.3, 20.0), (0.2, 20.0), (0.3, 25.0)])
    assert made.report(9, lines_of(point), epochs=3) is falls_behind
    assert not made.report(10, lines_of(point), epochs=1)  # nothing is left to train


def test_median_waits_for_trials_that_finish_and_for_its_warmup(tmp_path: Path) -> None:
    best = [(0.9, 1.0)]
    for settings in ({"startup_trials": 2}, {"startup_trials": 1, "warmup": 2}):
        made = pruner(tmp_path, "median", best, pruner={"name": "median", **settings})
        assert not made.report(9, lines_of((0.1, 9.0)), 3)


def test_trials_that_fail_or_break_a_constraint_are_no_rivals(tmp_path: Path) -> None:
    for state, breaches in (("failed", []), ("finished", ["device_seconds <= 1"])):
        made = pruner(tmp_path, "halving", [])
        made.restore(TrialRecord("small", 0, 0, {}, state, breaches=breaches), lines_of((0.9, 1.0)))  # type: ignore[arg-type]
        assert not made.report(9, lines_of((0.1, 9.0)), 3)


def test_a_cost_at_an_evaluation_is_that_of_the_last_line_before_it(tmp_path: Path) -> None:
    curve = TrialCurve(small_sweep(tmp_path, objectives=BOTH).file.objectives)
    evaluation = {"step": 10, "epoch": 1, "evaluation": {KEY: 0.5}}
    assert [curve.add(line) for line in (evaluation, {"step": 10, TIME: 3.0})] == [None, None]
    assert curve.last_values == {}
    later: list[dict[str, Any]] = [
        {"step": 20, TIME: 6.0},
        {"step": 24, TIME: 7.0},
        {"step": 20, "epoch": 2, "evaluation": {KEY: 0.6}},
    ]
    assert [curve.add(line) for line in later] == [None, None, 2]
    assert (curve.last_values, curve.losses(2)) == ({RECALL: 0.6, TIME: 6.0}, [-0.6, 6.0])


def test_figures_of_training_alone_are_compared_step_by_step(tmp_path: Path) -> None:
    objectives = [{"figure": "loss"}, {"figure": TIME}]
    curve = TrialCurve(small_sweep(tmp_path, objectives=objectives).file.objectives)
    assert curve.add({"step": 10, "epoch": 0.5, "loss": 2.0, TIME: 3.0}) == 10
    assert curve.add({"step": 20, "epoch": 1, "loss": None, TIME: 3.0}) is None
    assert curve.add({"step": 20, "epoch": 1, "evaluation": {KEY: 0.5}}) is None


def dearer(params: Params, epoch: int) -> dict[str, float]:
    """Every trial takes longer by its momentum."""
    return {TIME: 100 * params.pretrain.momentum * epoch}


def dominated(params: Params) -> list[float]:
    """Recall falls as the momentum grows: the lowest momentum dominates all others."""
    return [(1 - params.pretrain.momentum) * epoch for epoch in (1, 2, 3)]


def test_dominated_trials_are_stopped_and_a_controller_that_comes_later_decides_the_same(
    tmp_path: Path,
) -> None:
    sweep = small_sweep(tmp_path, objectives=BOTH, pruner=MEDIAN)
    lead = controller(sweep, tmp_path, Bench(dominated, extra=dearer, slow=True), parallel=1)
    lead.study.enqueue_trial({"1 - pretrain.momentum": 0.099, "loss.distill_weight": 1.0})
    list(lead.search(2))
    assert [record.state for record in lead.folder.trials] == ["finished", "pruned"]
    later = controller(sweep, tmp_path, Bench(dominated, extra=dearer, slow=True), parallel=1)
    list(later.search(3))
    third = later.folder.trials[2]
    assert (third.state, set(third.values), len(third.breaches)) == ("pruned", {RECALL, TIME}, 0)
    assert [trial.state.name for trial in later.study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert later.count_spent() == 3


def test_a_trial_whose_cost_is_beyond_its_limit_for_good_is_stopped(tmp_path: Path) -> None:
    limits = [{"figure": TIME, "max": 150, "min": 1}, {"figure": RECALL, "min": 0.001}]
    sweep = small_sweep(tmp_path, constraints=limits)
    bench = Bench(extra=dearer, slow=True)
    lead = controller(sweep, tmp_path, bench, parallel=1)
    list(lead.search(1))
    (record,) = lead.folder.trials
    assert (record.state, record.breaches) == ("pruned", ["device_seconds <= 150"])
    assert record.values[TIME] == pytest.approx(200 * record.asked["pretrain.momentum"])
    (trial,) = lead.study.trials
    assert trial.constraints == {"device_seconds <= 150": pytest.approx(record.values[TIME] / 150 - 1)}
    assert bench.stopped == [record.name]
