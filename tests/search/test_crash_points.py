"""Crash points of a sweep: its controller is killed before each of its file operations, and started again."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from optuna.trial import TrialState

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.sweep import Sweep
from cosmos.run.directory import RunDir, open_run
from cosmos.run.lease import Lease
from cosmos.run.metrics import read_metrics
from cosmos.run.sweep_directory import SweepDir
from cosmos.search.controller import Controller
from cosmos.search.study import trial_values
from cosmos.search.study_of_records import contradiction, study_of_records
from cosmos.search.study_storage import open_study
from cosmos.search.trial_jobs import TrialJobState
from tests.crash_points import killed_at_each_operation
from tests.search.examples import Bench, small_sweep


@dataclass
class Jobs(Bench):
    """Runner whose jobs outlive the controller: they are files in a folder of their own."""

    folder: Path = field(default_factory=Path)

    def start(self, run: RunDir, params: Params, until: int) -> TrialJobState:
        open_run(run.path, params)  # refuses other parameters in the same directory
        job = self.folder / run.path.name
        values = json.dumps(params.model_dump(mode="json"))
        if not job.exists():
            job.write_text(values)
        assert job.read_text() == values, "a trial was submitted with other values"
        self.params[run.path.name], self.until[run.path.name] = params, until
        return self.state(run)

    def state(self, run: RunDir) -> TrialJobState:
        if (self.folder / f"{run.path.name}.ended").exists():
            return TrialJobState("dead", "1", 1, "its job was ended")
        jobs = sorted(job.name for job in self.folder.iterdir() if job.suffix == "")
        recall = 0.1 if jobs.index(run.path.name) == 1 and "seed" not in run.path.name else 0.5
        self.curve = lambda params: [recall, recall, recall]
        self.started.append(run.path.name)
        return super().state(run)

    def stop(self, run: RunDir) -> bool:
        (self.folder / f"{run.path.name}.ended").touch()
        return True


def lead(sweep: Sweep, folder: Path) -> None:
    """Lead a sweep of two trials, the second of which falls behind, and repeat the best."""
    place = SweepDir(folder / "runs" / sweep.id)
    place.write_definition(sweep)
    lease = Lease.take(place.own)
    study = open_study(sweep, place, Machine())
    controller = Controller(sweep, place, study, Jobs(slow=True, folder=folder / "jobs"), 1, lease)
    for _ in controller.search(2):
        pass
    for _ in controller.repeat():
        pass


def ends(place: SweepDir) -> dict[str, bytes]:
    """Return the records of trials that have ended, by name."""
    runs = (place.run(record) for record in place.trials if record.has_ended)
    return {run.path.name: run.trial.read_bytes() for run in runs}


@pytest.mark.slow
def test_a_controller_that_is_killed_anywhere_loses_and_repeats_nothing(tmp_path: Path) -> None:
    sweep = small_sweep(
        tmp_path,
        sampler={"name": "random"},
        pruner={"name": "median", "startup_trials": 1},
        repeats={"best": 1, "seeds": 1},
        epochs=3,
    )
    place, runs, jobs = SweepDir(tmp_path / "runs" / sweep.id), tmp_path / "runs", tmp_path / "jobs"
    jobs.mkdir()
    for number in killed_at_each_operation(lambda: lead(sweep, tmp_path), runs):
        before = ends(place)
        lead(sweep, tmp_path)
        check_sweep(sweep, place, before, f"killed before operation {number}")
        shutil.rmtree(runs)
        for job in jobs.iterdir():
            job.unlink()


def check_sweep(sweep: Sweep, place: SweepDir, before: dict[str, bytes], point: str) -> None:
    after, trials = ends(place), place.read_trials()
    assert before.items() <= after.items(), f"{point}: a record that had ended was written again"
    assert not trials.problems
    firsts = [record for record in trials.records if not record.seed]
    assert sorted(record.state for record in firsts) == ["finished", "pruned"], point
    assert [record.state for record in trials.records if record.seed] == ["finished"], point
    study = open_study(sweep, place, Machine())
    assert study.study_name == sweep.id
    assert contradiction(study, study_of_records(sweep, place)) == "", point
    numbers = [trial.number for trial in study.trials if trial.state != TrialState.FAIL]
    assert numbers == [record.number for record in firsts] == [0, 1], f"{point}: values were left out"
    assert TrialState.RUNNING not in {trial.state for trial in study.trials}, point
    lines = [(line["trial"], line["seed"]) for line in read_metrics(place.own.metrics)]
    assert sorted(lines) == [(record.number, record.seed) for record in trials.records], point


@dataclass
class PausingJobs(Bench):
    """Runner whose jobs outlive the controller: a file for each epoch that a trial trained."""

    folder: Path = field(default_factory=Path)

    def start(self, run: RunDir, params: Params, until: int) -> TrialJobState:
        open_run(run.path, params)
        epochs = len(list(self.folder.glob(f"{run.path.name}@*")))
        for epoch in range(epochs + 1, (until or params.pretrain.epochs) + 1):
            (self.folder / f"{run.path.name}@{epoch}").touch(exist_ok=False)  # trained once
        number = int(run.path.name.split("-")[1])
        self.curve = lambda params: [0.1 * (3 - number)] * params.pretrain.epochs
        self.started.append(run.path.name)
        self.params[run.path.name], self.until[run.path.name] = params, until
        return self.state(run)


@pytest.mark.slow
def test_a_controller_of_rungs_that_is_killed_anywhere_loses_and_repeats_nothing(tmp_path: Path) -> None:
    promote = {"name": "promote", "rungs": [1], "keep": 0.5}
    sweep = small_sweep(tmp_path, sampler={"name": "random"}, pruner=promote, repeats={"best": 0}, epochs=2)
    place, runs, jobs = SweepDir(tmp_path / "runs" / sweep.id), tmp_path / "runs", tmp_path / "jobs"
    jobs.mkdir()

    def lead_rungs() -> None:
        place.write_definition(sweep)
        lease = Lease.take(place.own)
        study = open_study(sweep, place, Machine())
        controller = Controller(sweep, place, study, PausingJobs(folder=jobs), 1, lease)
        for _ in controller.search(2):
            pass

    for number in killed_at_each_operation(lead_rungs, runs):
        before = ends(place)
        lead_rungs()
        check_paused_sweep(sweep, place, before, f"killed before operation {number}")
        trained = sorted(job.name for job in jobs.iterdir())
        assert trained == ["trial-0000@1", "trial-0000@2", "trial-0001@1"]
        shutil.rmtree(runs)
        for job in jobs.iterdir():
            job.unlink()


def check_paused_sweep(sweep: Sweep, place: SweepDir, before: dict[str, bytes], point: str) -> None:
    after, trials = ends(place), place.read_trials()
    assert before.items() <= after.items(), f"{point}: a record that had ended was written again"
    stands = [(record.name, record.state, record.epochs_reached) for record in trials.records]
    assert stands == [
        ("trial-0000", "finished", 1),
        ("trial-0001", "paused", 1),
    ], point
    study = open_study(sweep, place, Machine())
    assert contradiction(study, study_of_records(sweep, place)) == "", point
    states = [trial.state for trial in study.trials if trial_values(trial)]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING], point
    lines = [(line["trial"], line["seed"]) for line in read_metrics(place.own.metrics)]
    assert lines == [(0, 0)], point
