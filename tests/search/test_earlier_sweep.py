"""Sweeps that begin with the best trials of an earlier one: `cosmos sweep NAME --like OTHER`."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.sweep import Sweep
from cosmos.config.sweep_loading import load_sweep
from cosmos.errors import CosmosError, DamagedDataError, InputError
from cosmos.run.earlier_trials import EarlierTrials
from cosmos.run.sweep_directory import SweepDir
from cosmos.search.controller import Controller
from cosmos.search.earlier_sweep import describe_earlier, read_earlier_trials
from cosmos.search.terminal_tables import describe_trial
from tests.search.examples import RECALL, SMALL, Bench, controller, small_sweep, write_sweep

MOMENTUM, WEIGHT = "pretrain.momentum", "loss.distill_weight"


@pytest.fixture
def earlier(tmp_path: Path) -> Controller:
    """A sweep, `small`, with seven trials."""
    lead = controller(small_sweep(tmp_path), tmp_path, Bench())
    list(lead.search(7))
    return lead


def other_sweep(folder: Path, space: dict[str, Any] | None = None, **changes: Any) -> Sweep:
    changed = {**changes, **({"space": space} if space else {})}
    return load_sweep(str(write_sweep(folder / "other.yaml", sampler={"name": "random"}, **changed)))


def begin(sweep: Sweep, root: Path, like: str, bench: Bench | None = None) -> Controller:
    """Return a controller as `cosmos sweep --like` makes it."""
    folder = SweepDir(root / sweep.id)
    trials = read_earlier_trials(sweep, folder, like)
    folder.path.mkdir(exist_ok=True)
    if trials.trials:
        trials.write(folder.like)
    return controller(sweep, root, bench or Bench(), parallel=1)


def best_of(lead: Controller, count: int) -> list[Any]:
    return sorted(lead.folder.trials, key=lambda record: -record.values[RECALL])[:count]


def test_a_sweep_begins_with_the_best_of_an_earlier_one_once(earlier: Controller, tmp_path: Path) -> None:
    sweep = other_sweep(tmp_path, trials=9)
    lead = begin(sweep, tmp_path, "small")
    list(lead.search(6))
    begun, best = lead.folder.trials, best_of(earlier, 5)
    assert [record.asked for record in begun[:5]] == [record.asked for record in best]
    origins = [f"{earlier.sweep.id}/{record.name}" for record in best]
    assert [record.origin for record in begun] == [*origins, ""]
    assert f", as {origins[0]}" in describe_trial(replace(begun[0], state="running"))

    list(earlier.search(9))  # others may be the best by now
    for like in ("small", earlier.sweep.id, str(earlier.folder.path), ""):
        list(begin(sweep, tmp_path, like).search(7))
    assert [record.origin for record in lead.folder.trials] == [*origins, "", ""]
    shutil.rmtree(earlier.folder.path)
    assert read_earlier_trials(sweep, lead.folder, "small").sweeps == (earlier.sweep.id,)


def test_values_that_do_not_fit_are_left_to_the_sampler_and_named(
    earlier: Controller, tmp_path: Path
) -> None:
    space = {
        MOMENTUM: {"distribution": "float", "low": 0.1, "high": 0.8},
        WEIGHT: {"distribution": "float", "low": 0.05, "high": 20, "log": True},
        "pretrain.learning_rate": {"distribution": "float", "low": 1e-4, "high": 1e-2, "log": True},
        "views.num_captions": {"distribution": "int", "low": 5, "high": 9, "step": 2},
    }
    lead = begin(other_sweep(tmp_path, space), tmp_path, "small")
    list(lead.search(1))
    best, first = best_of(earlier, 1)[0], lead.folder.trials[0]
    assert first.asked[WEIGHT] == best.asked[WEIGHT]
    assert first.asked["pretrain.learning_rate"] == earlier.sweep.base.pretrain.learning_rate
    assert 0.1 <= float(first.asked[MOMENTUM]) <= 0.8
    lines = list(describe_earlier(EarlierTrials.of(lead.folder.like)))
    momentum = f"{best.asked[MOMENTUM]:.6g}"
    anew = f"not in the search space, and drawn anew: {MOMENTUM} {momentum}, views.num_captions 4"
    assert f"{earlier.sweep.id}/{best.name}: {anew}" in lines


def test_killed_at_any_moment_each_earlier_trial_is_begun_once(earlier: Controller, tmp_path: Path) -> None:
    sweep = other_sweep(tmp_path)
    lead = begin(sweep, tmp_path, "small")
    lead.study.enqueue_trial({}, user_attrs={"origin": "lost"})  # as if killed before it was asked for
    lead.study.ask()  # and again, before it had its values
    lead = begin(sweep, tmp_path, "small")
    lead.ask()  # before its record was written
    lead.folder.journal.unlink()
    bench = Bench()
    list(begin(sweep, tmp_path, "small", bench).search(7))
    origins = [record.origin for record in lead.folder.trials if record.origin]
    assert origins == [f"{earlier.sweep.id}/{record.name}" for record in best_of(earlier, 5)]


def test_a_record_of_values_that_the_space_does_not_have_is_damaged(
    earlier: Controller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lead = begin(other_sweep(tmp_path), tmp_path, "small")
    record = EarlierTrials.of(lead.folder.like)
    first = replace(record.trials[0], values={WEIGHT: 1e9})
    replace(record, trials=(first, *record.trials[1:])).write(lead.folder.like)
    list(lead.search(2))
    assert [trial.origin for trial in lead.folder.trials] == ["", ""]
    assert f"{lead.folder.like}: {WEIGHT}: 1000000000.0 is not of the search space" in caplog.text
    assert lead.folder.like.with_name("like.json.damaged-1").exists()


def test_a_sweep_asked_later_adds_its_trials_to_those_on_record(earlier: Controller, tmp_path: Path) -> None:
    sweep = other_sweep(tmp_path)
    list(begin(sweep, tmp_path, "small").search(6))
    third = controller(
        load_sweep(str(write_sweep(tmp_path / "third.yaml", sampler={"name": "random"}))), tmp_path, Bench()
    )
    third.study.enqueue_trial({"1 - pretrain.momentum": 0.05, WEIGHT: 2.0})
    list(third.search(1))
    list(begin(sweep, tmp_path, "third").search(7))
    last = SweepDir(tmp_path / sweep.id).trials[-1]
    assert (last.origin, last.asked[WEIGHT]) == (f"{third.sweep.id}/trial-0000", 2.0)


def test_the_sweep_itself_is_no_earlier_one_and_one_of_its_name_may_be(
    earlier: Controller, tmp_path: Path
) -> None:
    changed = small_sweep(tmp_path, objectives=[{"figure": RECALL}, {"figure": "loss"}])
    list(begin(changed, tmp_path, "small").search(1))
    assert SweepDir(tmp_path / changed.id).trials[0].origin.startswith(earlier.sweep.id)
    list(begin(changed, tmp_path, "small").search(2))
    with pytest.raises(InputError, match=r"--like small-\w+: .* is the sweep itself; name another one"):
        read_earlier_trials(earlier.sweep, earlier.folder, earlier.sweep.id)


def empty(folder: SweepDir) -> None:
    for run in folder.trial_runs:
        shutil.rmtree(run.path)


def lose_definition(folder: SweepDir) -> None:
    folder.definition.unlink()


def damage_definition(folder: SweepDir) -> None:
    folder.definition.write_text("name: [")


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (empty, InputError, r"--like small-\w+: no trial of it has finished$"),
        (lose_definition, DamagedDataError, r"sweep.yaml: missing; put it back"),
        (damage_definition, CosmosError, r"sweep.yaml"),
        (lambda folder: shutil.rmtree(folder.path), InputError, r"small: no sweep in .*; there are: none"),
    ],
)
def test_a_sweep_that_has_nothing_to_begin_with_is_refused_before_anything_starts(
    earlier: Controller, tmp_path: Path, harm: Any, error: type[Exception], message: str
) -> None:
    harm(earlier.folder)
    with pytest.raises(error, match=message):
        begin(other_sweep(tmp_path), tmp_path, "small")


def test_a_space_that_none_of_the_values_fits_is_refused(earlier: Controller, tmp_path: Path) -> None:
    space = {MOMENTUM: {"distribution": "float", "low": 0.1, "high": 0.2}}
    with pytest.raises(InputError, match="no value of its trials is in the search space"):
        begin(other_sweep(tmp_path, space), tmp_path, "small")


def test_damaged_records_of_the_earlier_sweep_are_passed_over(earlier: Controller, tmp_path: Path) -> None:
    first, second = best_of(earlier, 2)
    earlier.folder.run(first).trial.write_text("{}")
    trials = read_earlier_trials(other_sweep(tmp_path), SweepDir(tmp_path / "other"), "small").trials
    assert trials[0].origin.endswith(second.name)
    assert len(trials) == 5


def test_a_damaged_record_of_earlier_trials_is_kept_aside_and_made_again(
    earlier: Controller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = other_sweep(tmp_path)
    lead = begin(sweep, tmp_path, "small")
    list(lead.search(2))
    lead.folder.like.write_text('{"trials": [3]}')
    with caplog.at_level(logging.WARNING):
        list(begin(sweep, tmp_path, "small").search(7))
    assert "like.json: not a record of earlier trials" in caplog.text
    assert "kept as like.json.damaged-1" in caplog.text
    origins = [record.origin for record in lead.folder.trials if record.origin]
    assert len(origins) == len(set(origins)) == 5


def test_trials_within_constraints_alone_are_taken(tmp_path: Path) -> None:
    former = load_sweep(
        str(write_sweep(tmp_path / "former.yaml", constraints=[{"figure": RECALL, "min": 0.9}]))
    )
    list(controller(former, tmp_path, Bench()).search(2))
    with pytest.raises(InputError, match=r"no trial of it has finished and keeps its constraints"):
        begin(other_sweep(tmp_path), tmp_path, "former")


def test_a_base_that_is_searched_now_and_conditions_are_followed(earlier: Controller, tmp_path: Path) -> None:
    space = {
        "loss.contrastive": {"distribution": "categorical", "choices": ["siglip", "clip"]},
        MOMENTUM: {**SMALL["space"][MOMENTUM], "when": {"loss.contrastive": "clip"}},
        "views.num_captions": {
            "distribution": "int",
            "low": 4,
            "high": 8,
            "when": {"loss.contrastive": "siglip"},
        },
    }
    lead = begin(other_sweep(tmp_path, space), tmp_path, "small")
    list(lead.search(1))
    best = best_of(earlier, 1)[0].asked[MOMENTUM]
    assert earlier.sweep.base.loss.contrastive == "clip"
    assert lead.folder.trials[0].asked == {"loss.contrastive": "clip", MOMENTUM: best}
