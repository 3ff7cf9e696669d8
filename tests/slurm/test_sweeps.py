"""A sweep on a real Slurm, with its controller and its jobs killed on the way."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cosmos.search.sweep_dir import SweepDir, find_sweep
from cosmos.tracking.metrics import read_metrics
from tests.search.examples import SMALL
from tests.search.test_sweep import command
from tests.stages.examples import ROOT, TINY

pytestmark = pytest.mark.slurm

NUM_TRIALS, PARALLEL = 12, 3
ON_SLURM = {"COSMOS_CLUSTER": "slurm", "COSMOS_SLURM__MINUTES": "10"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "experiments" / "sweeps").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    pruned = {"name": "median", "startup_trials": 3}
    sweep = {**SMALL, "experiment": "tiny", "epochs": 8, "trials": NUM_TRIALS, "pruner": pruned}
    (tmp_path / "experiments" / "sweeps" / "small.yaml").write_text(
        yaml.safe_dump({**sweep, "repeats": {"best": 0}})
    )
    assert command(tmp_path, "prepare", "--experiment", "tiny").wait() == 0
    return tmp_path


def begin(project: Path) -> "subprocess.Popen[str]":
    return command(project, "sweep", "small", "--parallel", str(PARALLEL), "--json", **ON_SLURM)


def states(project: Path) -> list[str]:
    if not any(project.glob("runs/small-*/trial-*")):
        return []
    return [trial.state for trial in find_sweep("small", project / "runs").trials]


def over(project: Path) -> int:
    return sum(state in ("finished", "pruned") for state in states(project))


def queue(state: str) -> list[str]:
    asked = ["squeue", "--noheader", f"--states={state}", "--format=%A %j"]
    lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in lines if "cosmos-small-" in line]


def running(process: "subprocess.Popen[str]", project: Path) -> Iterator[None]:
    """Looks twice a second for as long as the controller runs."""
    while process.poll() is None:
        assert states(project).count("running") <= PARALLEL
        yield
        time.sleep(0.5)


def until(process: "subprocess.Popen[str]", project: Path, count: int) -> None:
    for _ in running(process, project):
        if over(project) >= count:
            return
    raise AssertionError(process.communicate())


def test_twelve_trials_end_once_each_though_controller_and_jobs_are_killed(project: Path) -> None:
    for count in (2, 5):  # trials that are over when the controller is killed
        controller = begin(project)
        until(controller, project, count)
        controller.kill()
        controller.communicate()
    controller, killed = begin(project), set[str]()
    for _ in running(controller, project):
        fresh = [job for job in queue("running") if job not in killed]
        if len(killed) < 2 and fresh and over(project) >= 6 + len(killed):
            subprocess.run(["scancel", "--signal=KILL", "--full", fresh[0]], check=True)
            killed.add(fresh[0])
    _, said = controller.communicate()
    assert controller.returncode == 0, said
    assert len(killed) == 2
    assert over(project) == NUM_TRIALS
    for _ in range(60):  # the last jobs have left their values, and end
        if not queue("running,pending,completing"):
            break
        time.sleep(0.5)
    assert queue("running,pending,completing") == []
    check_trials(find_sweep("small", project / "runs"))


def check_trials(folder: SweepDir) -> None:
    assert [trial.state for trial in folder.trials].count("failed") == 0
    for trial in folder.trials:
        run = folder.run(trial)
        lines = [line for line in read_metrics(run.metrics) if "loss" in line]
        assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
        values = list(run.jobs.glob("*/value-0.pkl"))
        assert len(values) == (1 if trial.state == "finished" else 0), trial
        if trial.state == "pruned":
            (limit, evaluated) = (8, sum("evaluation" in line for line in read_metrics(run.metrics)))
            assert evaluated < limit
