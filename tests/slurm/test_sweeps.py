"""A sweep on a real Slurm, with its controller and its jobs killed on the way."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cosmos.config.machine import Machine
from cosmos.config.search_space import SearchValue
from cosmos.config.sweep_loading import load_sweep
from cosmos.run.directory import open_run
from cosmos.run.metrics import read_metrics
from cosmos.run.sweep_directory import SweepDir, TrialRecord, find_sweep_dir
from cosmos.search.sweep_run import prepare_sweep_run
from tests.search.examples import RECALL, SMALL, write_metrics
from tests.search.test_sweep import check_weights, command, finished
from tests.stages.examples import ROOT, TINY

pytestmark = pytest.mark.slurm

CLUSTER = ROOT / "tests" / "slurm" / "cluster.sh"
NUM_TRIALS, PARALLEL = 7, 3
EPOCHS = 400
"""Of a trial that takes minutes, unless it is pruned."""
ON_SLURM = {"COSMOS_CLUSTER": "slurm", "COSMOS_SLURM__MINUTES": "10"}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "experiments" / "sweeps").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    promote = {"name": "promote", "rungs": [1, 2], "keep": 0.34}
    sweep = {**SMALL, "experiment": "tiny", "epochs": 4, "trials": NUM_TRIALS, "pruner": promote}
    (tmp_path / "experiments" / "sweeps" / "small.yaml").write_text(
        yaml.safe_dump({**sweep, "repeats": {"best": 0}})
    )
    assert finished(tmp_path, "prepare", "--experiment", "tiny").returncode == 0
    yield tmp_path
    for controller in controllers:  # of a test that failed, so that the next one has the cluster to itself
        controller.kill()
    controllers.clear()
    for job, _ in queue("running,pending"):
        subprocess.run(["scancel", job], check=True)


controllers: list["subprocess.Popen[str]"] = []
"""Controllers that the present test has begun."""


def begin(project: Path) -> "subprocess.Popen[str]":
    arguments = "sweep", "small", "--parallel", str(PARALLEL), "--json"
    controllers.append(command(project, *arguments, **ON_SLURM))
    return controllers[-1]


def states(project: Path) -> list[str]:
    if not any(project.glob("runs/small-*/trial-*")):
        return []
    return [trial.state for trial in find_sweep_dir("small", project / "runs").trials]


def queue(state: str) -> list[tuple[str, str]]:
    """The id of each job in the queue, and its name, which is the trial's."""
    asked = ["squeue", "--noheader", f"--states={state}", "--format=%A %j"]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    jobs = [line.split() for line in lines if "cosmos-small-" in line]
    return [(job, name.rpartition("-")[0]) for job, name in jobs]


def running(process: "subprocess.Popen[str]", project: Path) -> Iterator[None]:
    """Looks twice a second for as long as the controller runs."""
    while process.poll() is None:
        assert states(project).count("running") <= PARALLEL
        yield
        time.sleep(0.5)


def wait_for_an_empty_queue() -> None:
    """The last jobs have left their values, or were cancelled, and end."""
    for _ in range(60):
        if not queue("running,pending,completing"):
            return
        time.sleep(0.5)
    raise AssertionError(queue("running,pending,completing"))


def test_trials_pause_and_go_on_bit_for_bit_though_controllers_and_jobs_are_killed(project: Path) -> None:
    for count in (1, 3):  # trials that have paused when the controller is killed
        controller = begin(project)
        for _ in running(controller, project):
            if states(project).count("paused") >= count:
                break
        controller.kill()
        controller.communicate()
    time.sleep(6)  # for Slurm starts jobs again that it has not saved, which takes it five seconds
    subprocess.run(["bash", str(CLUSTER), "kill-controller"], check=True)
    controller, killed = begin(project), set[str]()
    time.sleep(3)
    subprocess.run(["bash", str(CLUSTER), "start-controller"], check=True)
    for _ in running(controller, project):
        for job, name in queue("running"):
            if len(killed) < 2 and name not in killed:
                subprocess.run(["scancel", "--signal=KILL", "--full", job], check=True)
                killed.add(name)
    _, said = controller.communicate()
    assert controller.returncode == 0, said
    assert len(killed) == 2
    wait_for_an_empty_queue()
    folder = find_sweep_dir("small", project / "runs")
    assert len(folder.trials) == NUM_TRIALS
    assert set(states(project)) == {"finished", "paused"}
    for trial in folder.trials:
        check_sessions(folder, trial)
    for trial in [trial for trial in folder.trials if len(trial.rungs) > 1]:
        check_weights(project, folder, trial)


def check_sessions(folder: SweepDir, trial: TrialRecord) -> None:
    """Each rung was reached by a job of its own, and each step is in the metrics once."""
    run, is_finished = folder.run(trial), trial.state == "finished"
    lines = [line for line in read_metrics(run.metrics) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["epoch"] == (4 if is_finished else trial.epochs_reached)
    values = [json.loads(path.read_text()) for path in run.jobs.glob("*/value-0.json")]
    reached = [result.epochs for result in trial.rungs]
    assert sorted(value["until"] for value in values) == sorted(reached + [0] * is_finished)


def test_a_trial_that_falls_behind_frees_its_node(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project / "experiments" / "sweeps" / "small.yaml"
    long = {"epochs": EPOCHS, "trials": 2, "pruner": {"name": "median", "startup_trials": 1}}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **long}))
    monkeypatch.chdir(project)
    folder = begun_with_a_perfect_trial()
    controller = begin(project)
    _, said = controller.communicate()
    assert controller.returncode == 0, said
    trial = folder.trials[1]
    assert [record.state for record in folder.trials] == ["finished", "pruned"], said
    wait_for_an_empty_queue()
    evaluated = sum("evaluation" in line for line in read_metrics(folder.run(trial).metrics))
    assert 0 < evaluated < EPOCHS / 10


def begun_with_a_perfect_trial() -> SweepDir:
    """The sweep, with the record of a trial that found everything from the first epoch on."""
    sweeping = prepare_sweep_run(load_sweep("small"), Machine(), 0, 0)
    sweep, folder = sweeping.sweep, sweeping.folder
    folder.write_definition(sweep)
    asked: dict[str, SearchValue] = {"pretrain.momentum": 0.98, "loss.distill_weight": 1.0}
    perfect = TrialRecord(sweep.id, 0, 0, asked, "finished", 1, {RECALL: 1.0})
    run = open_run(folder.run(perfect).path, sweep.params(asked, 0))
    perfect.write(run)
    write_metrics(run, [1.0] * EPOCHS)
    return folder
