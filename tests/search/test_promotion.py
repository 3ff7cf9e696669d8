"""Trials that pause at rungs and go on from them, by the controller, with a study on disk."""

import itertools
import json
import math
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.sweep import Sweep
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    InputError,
    NotPermittedError,
    SupersededError,
    TransientError,
)
from cosmos.run.directory import RunDir
from cosmos.run.metrics import read_metrics
from cosmos.run.sweep_directory import SweepDir
from cosmos.run.sweep_directory import TrialState as RecordState
from cosmos.search import trial_retries
from cosmos.search.study_of_records import contradiction, study_of_records
from cosmos.search.study_storage import open_study
from cosmos.search.terminal_tables import describe_trial
from cosmos.search.trial_jobs import TrialJobState
from tests.search.examples import RECALL, Bench, controller, rising, small_sweep

EPOCHS = 8
NUM_TRIALS = 9


@dataclass
class PausingBench(Bench):
    """Bench whose trials leave a checkpoint where they end, and go on from it."""

    epochs: Counter[str] = field(default_factory=Counter)
    """epochs that were computed for each trial"""

    def start(self, run: RunDir, params: Params, until: int) -> TrialJobState:
        state = super().start(run, params, until)
        saved, last = run.saved_checkpoints, until or params.pretrain.epochs
        self.epochs[run.path.name] += max(
            0, last - (int(saved[0].stem.removeprefix("step-")) if saved else 0)
        )
        run.checkpoints.mkdir(exist_ok=True)
        run.checkpoint(last).touch()
        return state


def sweep_of(folder: Path, **changes: Any) -> Sweep:
    promote = {"name": "promote", "rungs": [1, 2, 4], "keep": 1 / 3}
    return small_sweep(folder, **{"epochs": EPOCHS, "pruner": promote, "repeats": {"best": 0}, **changes})


def equal(params: Params) -> list[float]:
    """Trials all of which are equal, so that the first goes on first."""
    return [0.5] * EPOCHS


def states(folder: SweepDir) -> list[RecordState]:
    return [record.state for record in folder.trials if not record.seed]


def epochs_trained(folder: SweepDir) -> list[int]:
    """Epochs in the metrics of each trial."""
    lines = (read_metrics(folder.run(record).metrics) for record in folder.trials)
    return [int(max((line["epoch"] for line in trial), default=0)) for trial in lines]


def test_few_trials_are_trained_to_the_end_and_the_best_is_among_them(tmp_path: Path) -> None:
    bench = PausingBench()
    lead = controller(sweep_of(tmp_path), tmp_path, bench, parallel=1)
    records = list(lead.search(NUM_TRIALS))
    final = {record.number: rising(bench.params[record.name])[-1] for record in lead.folder.trials}
    ends = dict(zip(final, epochs_trained(lead.folder), strict=True))
    assert Counter(ends.values())[EPOCHS] == 1
    assert max(final, key=lambda number: final[number]) == max(ends, key=lambda number: ends[number])
    assert sum(ends.values()) < NUM_TRIALS * EPOCHS / 2
    assert bench.epochs == Counter({record.name: ends[record.number] for record in lead.folder.trials})
    assert Counter(states(lead.folder)) == {"finished": 1, "paused": NUM_TRIALS - 1}
    assert [record.state for record in records].count("running") == len(bench.started)


def test_a_slot_that_is_free_is_for_a_promotion_first_then_for_a_new_trial(tmp_path: Path) -> None:
    lead = controller(sweep_of(tmp_path), tmp_path, PausingBench(), parallel=1)
    begun = [(r.number, r.epochs_reached) for r in lead.search(NUM_TRIALS) if r.state == "running"]
    firsts = [number for number, epochs in begun if epochs == 0]
    assert firsts == list(range(NUM_TRIALS))
    assert begun[3][1] == 1  # the best of three goes on before the fourth begins


def test_the_record_has_the_values_of_each_rung_and_says_where_the_trial_stands(tmp_path: Path) -> None:
    bench = PausingBench()
    lead = controller(sweep_of(tmp_path), tmp_path, bench, parallel=1)
    said = [describe_trial(record) for record in lead.search(NUM_TRIALS)]
    for record in lead.folder.trials:
        curve = rising(bench.params[record.name])
        assert {result.epochs: result.values[RECALL] for result in record.rungs} == {
            epochs: curve[epochs - 1] for epochs in (1, 2, 4)[: len(record.rungs)]
        }
    first = next(record for record in lead.folder.trials if record.state == "paused")
    assert first.standing == f"paused at epoch {first.epochs_reached} of 8"
    assert any(f"{first.name}: {first.standing}: " in line for line in said)
    assert any(": goes on from epoch 1 (job 1): " in line for line in said)


def test_paused_trials_run_as_far_as_the_study_says_and_the_sampler_heeds_their_values(
    tmp_path: Path,
) -> None:
    drawn = dict[str, list[float]]()
    for sampler in ("tpe", "random"):
        (tmp_path / sampler).mkdir()
        sweep = sweep_of(tmp_path / sampler, sampler={"name": sampler, "startup_trials": 3})
        lead = controller(sweep, tmp_path / sampler, PausingBench(), parallel=1)
        list(lead.search(NUM_TRIALS))
        counts = Counter(trial.state for trial in lead.study.trials)
        assert counts == {TrialState.COMPLETE: 1, TrialState.RUNNING: NUM_TRIALS - 1}
        assert all(trial.intermediate_values for trial in lead.study.trials)
        drawn[sampler] = [float(record.asked["pretrain.momentum"]) for record in lead.folder.trials]
    assert drawn["tpe"][:3] == drawn["random"][:3]
    assert not set(drawn["tpe"][3:]) & set(drawn["random"][3:])


def test_with_further_trials_those_that_waited_may_go_on(tmp_path: Path) -> None:
    sweep, bench = sweep_of(tmp_path), PausingBench()
    list(controller(sweep, tmp_path, bench).search(3))
    before = states(SweepDir(tmp_path / sweep.id))
    again = controller(sweep, tmp_path, bench)
    assert (again.has_trials_left(3), again.has_trials_left(4)) == (False, True)
    list(again.search(30))
    assert Counter(before) == {"finished": 1, "paused": 2}
    assert sum(len(record.rungs) > 1 for record in again.folder.trials) >= 10
    assert list(controller(sweep, tmp_path, bench).search(30)) == []


@pytest.mark.parametrize("is_study_lost", [False, True])
def test_a_waiting_trial_whose_record_has_other_values_is_named_and_never_goes_on_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_study_lost: bool
) -> None:
    sweep, bench = sweep_of(tmp_path), PausingBench()
    first = controller(sweep, tmp_path, bench)
    list(first.search(4))
    damaged = next(record for record in first.folder.trials if record.state == "paused")
    file = first.folder.run(damaged).trial
    file.write_text(json.dumps({**json.loads(file.read_text()), "asked": {"pretrain.momentum": 7.0}}))
    if is_study_lost:
        first.folder.journal.unlink()
    all_go_on = sweep_of(tmp_path, pruner={"name": "promote", "rungs": [1], "keep": 0.99})
    again = controller(all_go_on, tmp_path, bench)
    list(again.search(4))
    assert f"{file}: asked: not values of the search space; put it back" in caplog.text
    trials = again.folder.read_trials()
    if is_study_lost:  # another one takes its place
        assert (len(trials.records), list(trials.problems)) == (4, [damaged.name])
    else:
        assert [record.asked for record in trials.records if record.number == damaged.number] == [
            damaged.asked
        ]


def test_a_trial_that_was_measured_on_other_data_at_its_rung_stops_the_sweep_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluated_data(run: RunDir, objectives: Any) -> dict[str, str]:
        return {"evaluation/mine": ("ff" if run.path.name == "trial-0001" else "dd") * 32}

    monkeypatch.setattr("cosmos.search.controller.read_evaluated_data", evaluated_data)
    lead = controller(sweep_of(tmp_path), tmp_path, PausingBench(), parallel=1)
    message = (
        r"evaluation/mine: trial-0001 was measured on other data \(sha256 ffffffff, and dddddddd of trial"
    )
    with pytest.raises(InputError, match=message):
        list(lead.search(3))
    assert states(lead.folder) == ["paused", "running"]


def test_a_larger_share_or_other_rungs_take_waiting_trials_further(tmp_path: Path) -> None:
    bench = PausingBench()
    first = controller(sweep_of(tmp_path), tmp_path, bench)
    list(first.search(NUM_TRIALS))
    few = epochs_trained(first.folder)
    more = controller(
        sweep_of(tmp_path, pruner={"name": "promote", "rungs": [1, 2, 4], "keep": 0.7}), tmp_path, bench
    )
    list(more.search(NUM_TRIALS))
    assert sum(epochs_trained(more.folder)) > sum(few)
    last = controller(sweep_of(tmp_path, pruner={"name": "none"}), tmp_path, bench)
    list(last.search(NUM_TRIALS))
    assert epochs_trained(last.folder) == [EPOCHS] * NUM_TRIALS
    assert bench.epochs == Counter(
        {record.name: EPOCHS for record in last.folder.trials}
    )  # each computed once


def test_as_many_finish_as_are_to_be_repeated(tmp_path: Path) -> None:
    lead = controller(sweep_of(tmp_path, repeats={"best": 3, "seeds": 1}), tmp_path, PausingBench())
    list(lead.search(NUM_TRIALS))
    assert Counter(states(lead.folder)) == {"finished": 3, "paused": NUM_TRIALS - 3}
    assert {(record.seed, record.until) for record in lead.repeat()} == {(1, 0)}


def test_a_search_that_was_left_goes_on_with_what_waits_and_what_runs(tmp_path: Path) -> None:
    sweep, whole, bench = sweep_of(tmp_path, sampler={"name": "random"}), PausingBench(), PausingBench()
    (tmp_path / "whole").mkdir()
    complete = controller(sweep, tmp_path / "whole", whole, parallel=1)
    list(complete.search(NUM_TRIALS))
    for count in itertools.count(1):
        lead = controller(sweep, tmp_path, bench, parallel=1)
        if len(list(itertools.islice(lead.search(NUM_TRIALS), count))) < count:
            break
    assert bench.epochs == whole.epochs
    assert [record.rungs for record in lead.folder.trials] == [
        record.rungs for record in complete.folder.trials
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_without_its_journal_a_sweep_goes_on_with_what_waits(tmp_path: Path, number: int) -> None:
    sweep, bench = sweep_of(tmp_path), PausingBench()
    lead = controller(sweep, tmp_path, bench, parallel=1)
    list(itertools.islice(lead.search(NUM_TRIALS), 8 + number))
    lead.folder.journal.unlink()
    again = controller(sweep, tmp_path, bench, parallel=1)
    list(again.search(NUM_TRIALS))
    assert Counter(states(again.folder)) == {"finished": 1, "paused": NUM_TRIALS - 1}
    assert bench.epochs == Counter(
        dict(zip([r.name for r in again.folder.trials], epochs_trained(again.folder), strict=True))
    )
    assert (
        contradiction(open_study(sweep, again.folder, Machine()), study_of_records(sweep, again.folder)) == ""
    )


def test_of_two_controllers_the_later_one_promotes(tmp_path: Path) -> None:
    sweep, bench = sweep_of(tmp_path), PausingBench()
    earlier = controller(sweep, tmp_path, bench, parallel=1).search(NUM_TRIALS)
    list(itertools.islice(earlier, 6))
    later = controller(sweep, tmp_path, bench, parallel=1)
    with pytest.raises(SupersededError, match="took over this run"):
        list(earlier)
    list(later.search(NUM_TRIALS))
    assert Counter(states(later.folder)) == {"finished": 1, "paused": NUM_TRIALS - 1}


def paused_sweep(folder: Path) -> tuple[Sweep, RunDir]:
    """A sweep of which two trials wait, and the first of them, which goes on once there are three."""
    sweep = sweep_of(folder)
    search = controller(sweep, folder, PausingBench(equal), parallel=1).search(NUM_TRIALS)
    assert [record.state for record in itertools.islice(search, 4)] == ["running", "paused"] * 2
    return sweep, RunDir(folder / sweep.id / "trial-0000")


def test_a_trial_whose_checkpoint_is_gone_trains_again_from_its_first_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep, run = paused_sweep(tmp_path)
    shutil.rmtree(run.checkpoints)
    bench = PausingBench(equal)
    lead = controller(sweep, tmp_path, bench, parallel=1)
    list(lead.search(NUM_TRIALS))
    assert "trial-0000: its checkpoint is gone; it trains from the first step again" in caplog.text
    assert bench.epochs["trial-0000"] == EPOCHS
    assert Counter(states(lead.folder)) == {"finished": 1, "paused": NUM_TRIALS - 1}


def test_a_trial_whose_checkpoint_is_damaged_fails_and_another_takes_its_place(tmp_path: Path) -> None:
    class Damaged(PausingBench):
        def state(self, run: RunDir) -> TrialJobState:
            if run.path.name == "trial-0000":
                return TrialJobState("dead", "1", 2, "damaged, and no other is there", DamagedDataError)
            return super().state(run)

    sweep, _ = paused_sweep(tmp_path)
    lead = controller(sweep, tmp_path, Damaged(equal), parallel=1)
    list(lead.search(NUM_TRIALS))
    assert Counter(states(lead.folder)) == {"failed": 1, "finished": 1, "paused": NUM_TRIALS - 1}
    assert lead.folder.trials[0].problem == "damaged, and no other is there"


@pytest.mark.parametrize("damage", ["folder", "record", "content", "rungs"])
def test_a_paused_trial_that_is_deleted_or_damaged_stops_nothing(tmp_path: Path, damage: str) -> None:
    sweep, run = paused_sweep(tmp_path)
    content = json.loads(run.trial.read_text())
    if damage == "folder":
        shutil.rmtree(run.path)
    elif damage == "record":
        run.trial.unlink()
    else:
        rungs = [{"epochs": -1}] if damage == "content" else []
        run.trial.write_text(json.dumps({**content, "rungs": rungs}))
    lead = controller(sweep, tmp_path, PausingBench(equal), parallel=1)
    list(lead.search(NUM_TRIALS))
    assert epochs_trained(lead.folder) == [8, 2, 2, *[1] * 6]
    assert not lead.folder.read_trials().problems


def test_values_that_are_not_finite_fall_behind_and_a_sweep_of_such_ends(tmp_path: Path) -> None:
    def broken(params: Params) -> list[float]:
        return [math.nan] * EPOCHS

    losses = sweep_of(tmp_path, objectives=[{"figure": "loss"}])
    lead = controller(losses, tmp_path, PausingBench(broken))
    list(lead.search(4))
    assert states(lead.folder) == ["paused"] * 4
    assert [record.values for record in lead.folder.trials] == [{}] * 4
    assert not lead.has_trials_left(4)


def test_equal_trials_go_on_in_order(tmp_path: Path) -> None:
    lead = controller(sweep_of(tmp_path), tmp_path, PausingBench(equal), parallel=1)
    list(lead.search(NUM_TRIALS))
    assert epochs_trained(lead.folder) == [8, 2, 2, *[1] * 6]


def test_no_trial_goes_on_as_the_best_while_another_waits_for_the_next_start(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    bench = PausingBench(equal, dies={"trial-0000": 1}, error=NotPermittedError)
    lead = controller(sweep, tmp_path, bench, parallel=1)
    with pytest.raises(TransientError, match="trials that wait until this is mended: trial-0000;"):
        list(lead.search(NUM_TRIALS))
    assert Counter(states(lead.folder)) == {"running": 1, "paused": NUM_TRIALS - 1}
    again = controller(sweep, tmp_path, PausingBench(equal), parallel=1)
    list(again.search(NUM_TRIALS))
    assert Counter(states(again.folder)) == {"finished": 1, "paused": NUM_TRIALS - 1}


def test_jobs_that_pause_count_as_no_attempts_and_those_that_die_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_retries, "RETRY_SECONDS", (0.0,) * 5)

    @dataclass
    class Dying(PausingBench):
        error: type[CosmosError] = CosmosError
        deaths: Counter[str] = field(default_factory=Counter)

        def state(self, run: RunDir) -> TrialJobState:
            """Dies twice after two epochs: once less than `attempts`."""
            if self.deaths[run.path.name] < 2 and self.shown.get(run.path.name, 0) == 2:
                self.deaths[run.path.name] += 1
                return TrialJobState(
                    "dead", "1", self.started.count(run.path.name), "its node failed", self.error
                )
            return super().state(run)

    for error in (CosmosError, TransientError):
        place = tmp_path / error.__name__
        place.mkdir()
        lead = controller(sweep_of(place, attempts=3), place, Dying(error=error), parallel=1)
        list(lead.search(NUM_TRIALS))
        assert Counter(states(lead.folder)) == {"finished": 1, "paused": NUM_TRIALS - 1}


def test_trials_with_other_budgets_pause_at_the_rungs_below_theirs(tmp_path: Path) -> None:
    space = {"pretrain.epochs": {"distribution": "categorical", "choices": [2, 8]}}
    lead = controller(
        sweep_of(tmp_path, space=space, epochs=0, sampler={"name": "random"}), tmp_path, PausingBench()
    )
    list(lead.search(NUM_TRIALS))
    for record in lead.folder.trials:
        assert all(
            result.epochs < result.total_epochs == record.asked["pretrain.epochs"] for result in record.rungs
        )
