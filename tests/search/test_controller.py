"""Controller of a sweep, with a study on disk and trials that take no time."""

import itertools
import json
import shutil
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    DivergedError,
    InputError,
    NotPermittedError,
    OutOfMemoryError,
    PreemptedError,
    SupersededError,
    TransientError,
)
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.run.sweep_directory import TrialRecord
from cosmos.search import trial_retries
from cosmos.search.study import trial_values
from cosmos.search.study_storage import open_study
from tests.search.examples import DATA, RECALL, TIME, Bench, controller, rising, small_sweep


def test_study_run_directories_and_metrics_agree(tmp_path: Path) -> None:
    sweep, bench = small_sweep(tmp_path), Bench()
    lead = controller(sweep, tmp_path, bench)
    records = list(lead.search(6))
    assert [record.state for record in records].count("running") == 6
    trials = lead.study.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    for trial, record in zip(trials, lead.folder.trials, strict=True):
        params = sweep.params(record.asked, 0)
        assert record == TrialRecord(
            sweep.id,
            trial.number,
            0,
            trial_values(trial),
            "finished",
            1,
            {RECALL: rising(params)[-1]},
            "",
            "1",
            data={"retrieval/heldout": DATA},
        )
        assert trial.values == [record.values[RECALL]]
        assert trial.intermediate_values == dict(enumerate(rising(params), 1))
        assert bench.params[record.name] == params
        assert json.loads(lead.folder.run(record).labels.read_text())["group"] == sweep.id
    lines = [json.loads(line) for line in lead.folder.own.metrics.read_text().splitlines()]
    assert sorted(line["trial"] for line in lines) == list(range(6))
    assert {line["trial"]: line[RECALL] for line in lines} == {t.number: t.value for t in trials}


def test_as_many_run_at_a_time_as_may(tmp_path: Path) -> None:
    lead = controller(small_sweep(tmp_path), tmp_path, Bench(slow=True), parallel=3)
    running = [len(lead.running) for _ in lead.search(7)]
    assert max(running) == 3


def test_a_search_goes_on_where_it_was_left_and_takes_on_what_runs(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    left = controller(sweep, tmp_path, Bench(slow=True))
    begun = list(itertools.islice(left.search(6), 2))
    assert [record.state for record in begun] == ["running", "running"]

    bench = Bench()
    records = list(controller(sweep, tmp_path, bench).search(6))
    assert bench.started[:2] == [record.name for record in begun]
    assert sorted(bench.started) == [f"trial-{number:04d}" for number in range(6)]
    assert [record.number for record in records if record.state == "finished"][:2] == [0, 1]
    assert list(controller(sweep, tmp_path, Bench()).search(6)) == []
    assert [record.number for record in controller(sweep, tmp_path, Bench()).search(7)] == [6, 6]


def test_a_trial_that_was_asked_for_and_never_begun_is_not_counted(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    killed = controller(sweep, tmp_path, Bench())
    killed.study.ask()  # killed before the trial had its values
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(3))
    assert [trial.state.name for trial in lead.study.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


def test_a_trial_that_was_begun_before_its_job_was_submitted_is_started(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    record, _ = controller(sweep, tmp_path, Bench()).ask()
    bench = Bench()
    list(controller(sweep, tmp_path, bench).search(1))
    assert bench.params == {record.name: sweep.params(record.asked, 0)}


def falling_behind(params: Params) -> list[float]:
    """Every trial after the first is worse from the first epoch on."""
    return [0.5, 0.6, 0.7] if params.pretrain.momentum == FIRST["pretrain.momentum"] else [0.1, 0.1, 0.1]


FIRST = {"pretrain.momentum": 0.95, "loss.distill_weight": 1.0}


def pruning(tmp_path: Path, bench: Bench) -> Any:
    sweep = small_sweep(tmp_path, pruner={"name": "median", "startup_trials": 1})
    lead = controller(sweep, tmp_path, bench, parallel=1)
    lead.study.enqueue_trial({"1 - pretrain.momentum": 0.05, "loss.distill_weight": 1.0})
    return lead


def test_a_trial_that_falls_behind_is_stopped_at_the_first_look(tmp_path: Path) -> None:
    bench = Bench(falling_behind, slow=True)
    lead = pruning(tmp_path, bench)
    list(lead.search(3))
    assert [trial.state.name for trial in lead.study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert bench.stopped == ["trial-0001", "trial-0002"]
    for trial, record in zip(lead.study.trials[1:], lead.folder.trials[1:], strict=True):
        assert list(trial.intermediate_values) == [1, 2]  # measured as it began, and until the look
        assert (record.state, record.values) == ("pruned", {RECALL: 0.1})


def test_a_trial_that_ended_unseen_has_finished_however_far_it_fell_behind(tmp_path: Path) -> None:
    lead = pruning(tmp_path, Bench(falling_behind))
    list(lead.search(3))
    assert {trial.state.name for trial in lead.study.trials} == {"COMPLETE"}
    assert [list(trial.intermediate_values) for trial in lead.study.trials] == [[1, 2, 3]] * 3


def test_a_trial_with_nothing_left_to_train_is_not_stopped(tmp_path: Path) -> None:
    def late(params: Params) -> list[float]:
        return [0.5, 0.6, 0.7 if params.pretrain.momentum == FIRST["pretrain.momentum"] else 0.1]

    bench = Bench(late, slow=True)
    lead = pruning(tmp_path, bench)
    list(lead.search(2))
    assert [trial.state.name for trial in lead.study.trials] == ["COMPLETE", "COMPLETE"]
    assert bench.stopped == []


def test_the_job_of_a_pruned_trial_ends_also_where_the_controller_was_killed_before(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    class Killed(Bench):
        def stop(self, run: RunDir) -> bool:
            raise KilledError

    lead = pruning(tmp_path, Killed(falling_behind, slow=True))
    with pytest.raises(KilledError):
        list(lead.search(2))
    bench = Bench(falling_behind)
    assert list(controller(lead.sweep, tmp_path, bench).search(2)) == []
    assert (bench.stopped, bench.started) == (["trial-0001"], [])
    assert [record.state for record in lead.folder.trials] == ["finished", "pruned"]


def test_a_trial_whose_job_died_is_submitted_again_and_too_often_is_a_failure(tmp_path: Path) -> None:
    bench = Bench(dies={"trial-0001": 2, "trial-0002": 3})
    lead = controller(small_sweep(tmp_path), tmp_path, bench)
    list(lead.search(4))
    assert [bench.started.count(f"trial-000{number}") for number in range(5)] == [1, 3, 3, 1, 1]
    assert [record.state for record in lead.folder.trials] == ["finished"] * 2 + ["failed"] + ["finished"] * 2
    assert lead.folder.trials[2].problem == "its node failed"
    assert lead.study.trials[2].state == TrialState.FAIL


def test_a_trial_that_would_fail_again_is_not_submitted_again(tmp_path: Path) -> None:
    bench = Bench(dies={"trial-0000": 1}, error=DivergedError)
    lead = controller(small_sweep(tmp_path), tmp_path, bench)
    list(lead.search(1))
    assert bench.started == ["trial-0000", "trial-0001"]


def test_a_trial_that_a_disk_ended_goes_on_beyond_its_attempts_and_never_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_retries, "RETRY_SECONDS", (0.0,) * 5)
    bench = Bench(dies={"trial-0000": 5}, error=TransientError)
    lead = controller(small_sweep(tmp_path, attempts=1), tmp_path, bench)
    list(lead.search(2))
    assert bench.started.count("trial-0000") == 6
    first, second = lead.folder.trials
    assert (first.state, first.attempts, first.interruptions) == ("finished", 6, 5)
    assert (second.state, second.interruptions) == ("finished", 0)


def test_a_trial_that_a_disk_ends_again_and_again_waits_for_the_next_start_while_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_retries, "RETRY_SECONDS", (0.0, 0.0))
    sweep = small_sweep(tmp_path, attempts=1)
    lead = controller(sweep, tmp_path, Bench(dies={"trial-0000": 9}, error=TransientError), parallel=1)
    assert lead.has_trials_left(2)
    with pytest.raises(
        TransientError,
        match="trial-0000: its node failed\ntrials that wait until this is mended: trial-0000;",
    ):
        list(lead.search(2))
    assert [(trial.state, trial.interruptions) for trial in lead.folder.trials] == [
        ("running", 3),
        ("finished", 0),
    ]
    assert lead.has_trials_left(1)
    again = controller(sweep, tmp_path, Bench(dies={"trial-0000": 1}, error=TransientError), parallel=1)
    list(again.search(2))
    assert [(trial.state, trial.interruptions) for trial in again.folder.trials] == [
        ("finished", 4),
        ("finished", 0),
    ]


def test_a_trial_whose_disk_may_only_be_read_waits_at_once_and_goes_on_with_the_next_start(
    tmp_path: Path,
) -> None:
    sweep = small_sweep(tmp_path, attempts=1)
    bench = Bench(dies={"trial-0000": 1}, error=NotPermittedError)
    with pytest.raises(TransientError, match="trials that wait until this is mended: trial-0000;"):
        list(controller(sweep, tmp_path, bench, parallel=1).search(2))
    assert bench.started == ["trial-0000", "trial-0001"]
    again = controller(sweep, tmp_path, Bench(), parallel=1)
    list(again.search(2))
    assert [trial.state for trial in again.folder.trials] == ["finished"] * 2


def test_a_disk_that_ends_three_trials_in_a_row_for_long_stops_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_retries, "RETRY_SECONDS", (0.0,))
    dies = {f"trial-{number:04d}": 9 for number in range(1, 9)}
    lead = controller(small_sweep(tmp_path), tmp_path, Bench(dies=dies, error=TransientError), parallel=1)
    with pytest.raises(TransientError, match="trial-0001, trial-0002, trial-0003;"):
        list(lead.search(8))
    assert [trial.state for trial in lead.folder.trials] == ["finished"] + ["running"] * 3


def test_a_trial_that_is_preempted_for_good_goes_on_at_once_as_often_as_it_may_be_requeued(
    tmp_path: Path,
) -> None:
    bench = Bench(dies={"trial-0000": 3, "trial-0001": 9}, error=PreemptedError, max_requeues=3)
    lead = controller(small_sweep(tmp_path, attempts=1), tmp_path, bench)
    with pytest.raises(TransientError, match="trial-0001: its node failed"):
        list(lead.search(2))
    assert [(trial.state, trial.attempts) for trial in lead.folder.trials] == [
        ("finished", 4),
        ("running", 4),
    ]


def test_a_retry_waits_for_its_time_while_other_trials_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(dies={"trial-0000": 1}, error=TransientError)
    clock = SimpleNamespace(monotonic=lambda: len(bench.started))  # a second passes with each trial
    monkeypatch.setattr(trial_retries, "time", clock)
    monkeypatch.setattr(trial_retries, "RETRY_SECONDS", (2.0,))
    lead = controller(small_sweep(tmp_path), tmp_path, bench)
    ended = [record.name for record in lead.search(4) if record.state == "finished"]
    assert ended == ["trial-0001", "trial-0002", "trial-0003", "trial-0000"]


@pytest.mark.parametrize("error", [InputError, DamagedDataError])
def test_what_fails_each_trial_stops_the_sweep_however_many_finished_before(
    tmp_path: Path, error: type[CosmosError]
) -> None:
    dies = {f"trial-{number:04d}": 9 for number in range(8, 99)}
    lead = controller(small_sweep(tmp_path), tmp_path, Bench(dies=dies, error=error), parallel=1)
    with pytest.raises(InputError, match="the last 3 trials failed, the last one so: its node failed"):
        list(lead.search(40))
    assert [trial.state for trial in lead.folder.trials] == ["finished"] * 8 + ["failed"] * 3


def test_trials_that_diverge_or_lack_memory_now_and_then_do_not_stop_the_sweep(tmp_path: Path) -> None:
    for error in (DivergedError, OutOfMemoryError):
        place = tmp_path / error.__name__
        place.mkdir()
        dies = {f"trial-{number:04d}": 9 for number in (4, 5, 6)}
        lead = controller(small_sweep(place), place, Bench(dies=dies, error=error), parallel=1)
        list(lead.search(8))
        assert [trial.state for trial in lead.folder.trials].count("finished") == 8


def test_a_sweep_in_which_most_trials_fail_stops_and_goes_on_once_that_is_mended(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    always = {f"trial-{number:04d}": 9 for number in range(99)}
    with pytest.raises(CosmosError, match="3 of 3 trials failed, the last one so: its node failed"):
        list(controller(sweep, tmp_path, Bench(dies=always), parallel=1).search(6))
    lead = controller(sweep, tmp_path, Bench())
    list(lead.search(6))
    assert sum(record.state == "finished" for record in lead.folder.trials) == 6


def test_an_objective_that_trials_lack_is_named_with_those_that_they_have(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, objectives=[{"figure": "classification/demo/student/top1"}])
    with pytest.raises(ValueError, match=r"top1: a trial has no such figure; it has(.|\n)*device_seconds"):
        list(controller(sweep, tmp_path, Bench()).search(1))


def test_a_trial_that_was_measured_on_other_data_stops_the_sweep_until_its_data_is_back(
    tmp_path: Path,
) -> None:
    sweep = small_sweep(tmp_path)
    lead = controller(sweep, tmp_path, Bench(data={"trial-0001": "ff" * 32}), parallel=1)
    message = (
        r"retrieval/heldout: trial-0001 was measured on other data \(sha256 ffffffff, and dadadada of trial"
    )
    with pytest.raises(InputError, match=message):
        list(lead.search(3))
    first, second = lead.folder.trials
    assert (first.data, second.state) == ({"retrieval/heldout": DATA}, "running")
    shutil.rmtree(lead.folder.run(second).path)
    again = controller(sweep, tmp_path, Bench(), parallel=1)
    list(again.search(3))
    assert [trial.state for trial in again.folder.trials] == ["finished"] * 3


def test_a_loss_that_is_not_finite_fails_its_trial(tmp_path: Path) -> None:
    def broken(params: Params) -> list[float]:
        return [float("nan")]

    sweep = small_sweep(tmp_path, objectives=[{"figure": "loss", "goal": "minimize"}])
    lead = controller(sweep, tmp_path, Bench(broken), parallel=1)
    with pytest.raises(CosmosError, match="an objective or constraint is not finite"):
        list(lead.search(1))


def test_of_two_controllers_the_later_one_leads(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    earlier = controller(sweep, tmp_path, Bench(slow=True), parallel=1)
    search = earlier.search(4)
    next(search)
    later = controller(sweep, tmp_path, Bench(), parallel=1)
    with pytest.raises(SupersededError, match="took over this run"):
        list(search)
    list(later.search(4))
    assert [trial.state for trial in later.study.trials] == [TrialState.COMPLETE] * 4


def test_the_best_are_trained_again_with_further_seeds(tmp_path: Path) -> None:
    bench = Bench()
    sweep = small_sweep(tmp_path, repeats={"best": 2, "seeds": 2})
    lead = controller(sweep, tmp_path, bench)
    list(lead.search(5))
    best = [trial.number for trial in sorted(lead.study.trials, key=lambda t: -(t.value or 0))[:2]]
    again = list(lead.repeat())
    assert {(record.number, record.seed) for record in again} == {
        (number, seed) for number in best for seed in (1, 2)
    }
    assert len(lead.study.trials) == 5
    for record in again:
        assert bench.params[record.name] == sweep.params(
            lead.folder.trials[0].asked | record.asked, record.seed
        )
    ended = controller(sweep, tmp_path, Bench())
    assert list(ended.repeat()) == []
    assert (ended.has_trials_left(5), ended.has_trials_left(6)) == (False, True)


def test_several_objectives_are_told_together_and_their_front_is_repeated(tmp_path: Path) -> None:
    objectives = [{"figure": RECALL}, {"figure": TIME, "goal": "minimize"}]
    lead = controller(small_sweep(tmp_path, objectives=objectives), tmp_path, Bench())
    list(lead.search(4))
    assert [trial.values[1] for trial in lead.study.trials] == [
        5.0 * 3 * 2
    ] * 4  # seconds of three epochs, two ranks
    assert {record.number for record in lead.repeat()} <= {trial.number for trial in lead.study.best_trials}


def test_a_study_that_is_opened_again_draws_what_one_at_a_stretch_does(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    sweep = small_sweep(tmp_path, sampler={"name": "random"})
    other = controller(sweep, tmp_path / "other", Bench())
    drawn = []
    for _ in range(3):
        lead = controller(sweep, tmp_path, Bench())
        drawn += [lead.ask()[0].asked["pretrain.momentum"] for _ in range(2)]
    assert drawn == [other.ask()[0].asked["pretrain.momentum"] for _ in range(6)]
    assert len(set(drawn)) == 6


def test_a_database_keeps_studies_where_the_machine_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMOS_STUDY_STORAGE", f"sqlite:///{tmp_path}/studies.db")
    lead = controller(small_sweep(tmp_path), tmp_path, Bench())
    list(lead.search(2))
    assert not lead.folder.journal.exists()
    assert len(open_study(lead.sweep, lead.folder, Machine()).trials) == 2


def test_a_storage_that_does_not_answer_is_named_by_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSMOS_STUDY_STORAGE", "sqlite:////no/such/folder/studies.db")
    with pytest.raises(TransientError, match=r"^[^\n]+; see COSMOS_STUDY_STORAGE$"):
        controller(small_sweep(tmp_path), tmp_path, Bench())


def test_nobody_takes_over_between_the_check_of_the_lease_and_the_record_of_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    lead = controller(small_sweep(tmp_path), tmp_path, bench)
    taker, write, start = Thread(target=Lease.take, args=(lead.folder.own,)), TrialRecord.write, bench.start
    had_to_wait = list[bool]()

    def write_while_another_takes_over(record: TrialRecord, run: RunDir) -> None:
        taker.start()
        taker.join(0.1)
        had_to_wait.append(taker.is_alive())
        write(record, run)

    def start_once_it_did(*arguments: Any) -> Any:
        taker.join()
        return start(*arguments)

    monkeypatch.setattr(TrialRecord, "write", write_while_another_takes_over)
    monkeypatch.setattr(bench, "start", start_once_it_did)
    with pytest.raises(SupersededError, match="took over this run"):
        list(lead.search(1))
    assert had_to_wait == [True]


def test_nobody_takes_over_or_cancels_while_the_job_of_a_trial_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    lead = controller(small_sweep(tmp_path), tmp_path, bench)
    taker, start = Thread(target=Lease.take, args=(lead.folder.own,)), bench.start
    had_to_wait = list[bool]()

    def start_while_another_takes_over(*arguments: Any) -> Any:
        taker.start()
        taker.join(0.1)
        had_to_wait.append(taker.is_alive())
        return start(*arguments)

    monkeypatch.setattr(bench, "start", start_while_another_takes_over)
    with suppress(SupersededError):  # of the one that took over afterwards
        list(lead.search(1))
    assert had_to_wait == [True]
