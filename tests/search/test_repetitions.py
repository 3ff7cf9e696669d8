"""Repetitions of the best trials while the search goes on."""

import itertools
from pathlib import Path

from cosmos.config.sweep import Sweep
from cosmos.search.repetitions import due_repetitions, remaining_repetitions
from tests.search.examples import RECALL, Bench, controller, small_sweep

WHILE = {"best": 1, "seeds": 2, "every": 3}


def sweep_of(folder: Path, **repeats: int) -> Sweep:
    return small_sweep(folder, sampler={"name": "random"}, repeats={**WHILE, **repeats})


def test_the_best_so_far_get_their_seeds_whenever_so_many_more_have_ended(tmp_path: Path) -> None:
    lead = controller(sweep_of(tmp_path), tmp_path, Bench(), parallel=1)
    ended = [record for record in lead.search(7) if record.state == "finished"]
    firsts = [record for record in ended if not record.seed]
    assert [record.number for record in firsts] == list(range(7))
    for count in (3, 6):
        best = max(firsts[:count], key=lambda record: record.values[RECALL])
        assert {record.name for record in ended} >= {f"{best.name}-seed-1", f"{best.name}-seed-2"}
    assert [record.seed for record in ended[:6]] == [0, 0, 0, 1, 2, 0]
    assert len(lead.study.trials) == 7
    remaining = {record.name for record in remaining_repetitions(lead.sweep, lead.study, lead.folder)}
    assert {record.name for record in lead.repeat()} == remaining


def test_they_take_the_place_of_new_trials_and_no_further_one(tmp_path: Path) -> None:
    lead = controller(sweep_of(tmp_path, seeds=5), tmp_path, Bench(slow=True), parallel=2)
    running = [len(lead.running) for _ in lead.search(6)]
    assert max(running) == 2


def test_a_controller_that_comes_later_takes_over_repetitions_and_begins_none_twice(tmp_path: Path) -> None:
    sweep, bench = sweep_of(tmp_path), Bench()
    first = controller(sweep, tmp_path, bench, parallel=2)
    seen = itertools.takewhile(lambda record: record.seed == 0, first.search(6))
    count = len(list(seen))  # killed as the first repetition has begun
    assert 6 <= count <= 9
    (repetition,) = (record for record in first.folder.trials if record.seed)
    assert repetition.state == "running"
    later = controller(sweep, tmp_path, (again := Bench()), parallel=2)
    records = list(later.search(6))
    assert repetition.name in {record.name for record in records[:3]}
    names = [record.name for record in later.folder.trials if record.state == "finished"]
    assert len(names) == len(later.folder.trials)
    assert max(again.started.count(name) for name in again.started) == 1


def test_trials_that_failed_bring_nobodys_turn_nearer_and_none_is_due_without_every(tmp_path: Path) -> None:
    lead = controller(sweep_of(tmp_path), tmp_path, Bench(), parallel=1)
    list(lead.search(3))
    numbers = [record.number for record in lead.folder.trials if not record.seed]
    assert due_repetitions(lead.sweep, lead.study, [*numbers[:2], 77], ()) == []
    due = due_repetitions(lead.sweep, lead.study, numbers, ())
    assert [record.seed for record in due] == [1, 2]
    assert [r.seed for r in due_repetitions(lead.sweep, lead.study, numbers, {due[0].name})] == [2]
    assert due_repetitions(small_sweep(tmp_path), lead.study, numbers, ()) == []
