"""`cosmos sweep` with its trials as processes of this machine, and the files that it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import torch
import yaml
from optuna.trial import TrialState

from cosmos.__main__ import main
from cosmos.config.experiment import load_params
from cosmos.config.identity import flatten_sections, params_fingerprint
from cosmos.config.machine import Machine
from cosmos.model.checkpoints import read_checkpoint
from cosmos.run.directory import load_saved_params
from cosmos.run.metrics import last_line_with
from cosmos.run.results import Results
from cosmos.run.sweep_directory import SweepDir, TrialRecord, find_sweep_dir
from cosmos.search.study_storage import load_study
from tests.forks import run_forked
from tests.search.examples import RECALL, SMALL, TIME
from tests.stages.examples import ROOT, TINY
from tests.tracking.offline import read_offline

SETTINGS = {
    "COSMOS_CLUSTER": "local",
    "COSMOS_DEVICE": "cpu",
    "COSMOS_WORKERS": "0",
    "COSMOS_SLURM__CPUS_PER_TASK": "1",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with parameters, an experiment, sweeps and data of its own."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "experiments" / "sweeps").mkdir(parents=True)
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (folder / "experiments" / "tiny.yaml").write_text(TINY)
    for name, changes in {
        "small": {"trials": 5, "pruner": {"name": "median", "startup_trials": 2}},
        "long": {"trials": 2, "epochs": 400, "repeats": {"best": 0}},
        "rungs": {
            "trials": 2,
            "epochs": 2,
            "pruner": {"name": "promote", "rungs": [1], "keep": 0.5},
            "repeats": {"best": 0},
        },
        "wide": {"trials": 1, "repeats": {"best": 0}, "objectives": [{"figure": RECALL}, {"figure": TIME}]},
    }.items():
        sweep = {**SMALL, "experiment": "tiny", **changes}
        (folder / "experiments" / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(sweep))
    assert finished(folder, "prepare", "--experiment", "tiny").returncode == 0
    return folder


def command(project: Path, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cosmos", *arguments],
        cwd=project,
        env={**os.environ, **SETTINGS, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(project: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command that runs to its end in a process that need not import anything."""
    return run_forked(main, arguments, project, {**os.environ, **SETTINGS, **settings})


def study_of(folder: SweepDir, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    monkeypatch.chdir(folder.path.parent.parent)
    return load_study(folder, Machine())


@pytest.mark.slow
def test_study_run_directories_wandb_and_table_agree(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = command(project, "sweep", "small", "--json", COSMOS_WANDB__MODE="offline")
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    conclusion, folder = json.loads(printed), find_sweep_dir("small", project / "runs")
    study = study_of(folder, monkeypatch)

    assert len(study.trials) == sum(conclusion["states"].values()) == 5
    firsts = [trial for trial in folder.trials if not trial.seed]
    for trial, record in zip(study.trials, firsts, strict=True):
        assert (trial.state.name, record.state) in (("COMPLETE", "finished"), ("PRUNED", "pruned"))
        assert {"1 - pretrain.momentum", "loss.distill_weight"} == set(trial.params)
        assert record.asked["loss.distill_weight"] == trial.params["loss.distill_weight"]
        check_run(folder, record)
        if trial.state == TrialState.COMPLETE:
            assert record.values == {RECALL: trial.values[0]}
            check_wandb(folder, record)

    repeated = [trial for trial in folder.trials if trial.seed]
    assert len(repeated) == 2
    best = conclusion["candidates"][0]
    assert best["num_seeds"] == 2
    assert best["is_best"] == (" wins" in conclusion["verdict"])
    of_best = [trial.values[RECALL] for trial in folder.trials if trial.number == best["number"]]
    assert best["figures"][RECALL]["mean"] == pytest.approx(sum(of_best) / 2)
    assert json.loads(folder.best.read_text()) == conclusion
    if conclusion["overlay"]:  # trials of a few steps may be equal
        assert load_params("small-best").pretrain.momentum == best["asked"]["pretrain.momentum"]
    mirrored = read_offline(folder.path)
    assert (mirrored.job_type, mirrored.group, len(mirrored.history)) == (
        "search",
        folder.path.name,
        len(folder.trials),
    )


def check_run(folder: SweepDir, record: TrialRecord) -> None:
    run, sweep = folder.run(record), folder.sweep()
    assert params_fingerprint(load_saved_params(run)) == params_fingerprint(
        sweep.params(record.asked, record.seed)
    )
    if record.state == "finished":
        entry = Results(run.result_file("retrieval"), "retrieval").entries()["heldout"]
        assert record.values[RECALL] == entry["models"]["student"]["text_to_image_R@1"]


def check_wandb(folder: SweepDir, record: TrialRecord) -> None:
    shown, params = read_offline(folder.run(record).path), load_saved_params(folder.run(record))
    assert (shown.group, shown.job_type) == (folder.path.name, "pretrain")
    assert {"small", "trial"} <= set(shown.tags)
    config = flatten_sections(params.model_dump(mode="json"))
    config_shown = {key: value for key, value in flatten_sections(shown.config).items() if key in config}
    assert config_shown == config
    assert shown.summary[RECALL] == record.values[RECALL]


@pytest.mark.slow
def test_a_trial_that_paused_goes_on_bit_for_bit_though_its_controller_was_killed(project: Path) -> None:
    killed = command(project, "sweep", "rungs", "--parallel", "1")
    while '"paused"' not in "".join(path.read_text() for path in project.glob("runs/rungs-*/*/trial.json")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.2)
    killed.kill()
    killed.communicate()
    printed, errors = command(project, "sweep", "rungs", "--parallel", "1", "--json").communicate()
    assert json.loads(printed)["states"] == {"finished": 1, "paused": 1}, errors
    folder = find_sweep_dir("rungs", project / "runs")
    for record in folder.trials:
        check_run(folder, record)
        values = list(folder.run(record).jobs.glob("*/value-0.json"))
        assert len(values) == len(record.rungs) + (record.state == "finished")
        check_weights(project, folder, record)
    jobs, _ = command(project, "jobs", "--json").communicate()
    said = {Path(job["run"]).name: job["state"] for job in json.loads(jobs) if "rungs-" in job["run"]}
    assert sorted(said.values()) == ["finished", "paused at epoch 1 of 2"]


def check_weights(project: Path, folder: SweepDir, record: TrialRecord) -> None:
    """The newest checkpoint of a trial has the weights of a run that trains as far at a stretch."""
    params, name = folder.sweep().params(record.asked, record.seed), f"whole-{record.name}"
    overrides = {
        "pretrain.epochs": params.pretrain.epochs,
        "pretrain.evaluate_every_epochs": params.pretrain.evaluate_every_epochs,
        **record.asked,
    }
    options = [word for path, value in overrides.items() for word in (f"--{path}", str(value))]
    settings = {"CLUSTER": "debug", "CHECKPOINT_EVERY_STEPS": "1", "KEEP_CHECKPOINTS": "999"}
    ours = {f"COSMOS_{key}": value for key, value in settings.items()}
    whole = finished(project, "pretrain", "--experiment", "tiny", "--run", name, *options, **ours)
    assert whole.returncode == 0, whole.stderr
    newest = folder.run(record).saved_checkpoints[0]
    expected = read_checkpoint(project / "runs" / name / "checkpoints" / newest.name)
    trained = read_checkpoint(newest)
    for weights, others in ((expected.student, trained.student), (expected.teacher, trained.teacher)):
        assert all(torch.equal(weights[key], others[key]) for key in weights), record.name
    assert torch.equal(expected.extra["rng"]["cpu"], trained.extra["rng"]["cpu"])


@pytest.mark.slow
def test_the_ranks_of_a_trial_meet_to_pretrain_and_again_to_evaluate(project: Path) -> None:
    process = command(project, "sweep", "wide", "--json", COSMOS_SLURM__TASKS_PER_NODE="2")
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert json.loads(printed)["verdict"] == "no winner: trial 0 alone finished"
    folder = find_sweep_dir("wide", project / "runs")
    (trial,) = folder.trials
    assert (trial.state, trial.attempts) == ("finished", 1)
    check_run(folder, trial)
    assert len(list(folder.run(trial).jobs.glob("*/*_log.out"))) == 2
    assert trial.values[TIME] == 2 * last_line_with("loss", folder.run(trial).metrics)["seconds"]


@pytest.mark.slow
def test_trials_outlive_their_controller_and_are_taken_on_and_cancelled(project: Path) -> None:
    killed = command(project, "sweep", "long", "--parallel", "1")
    while not any(project.glob("runs/long-*/trial-0000/metrics.jsonl")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.2)
    killed.kill()
    killed.communicate()
    folder = find_sweep_dir("long", project / "runs")
    (trial,) = folder.trials

    again = command(project, "sweep", "long", "--parallel", "1", "--json")
    while trial.name not in (line := again.stderr.readline()):  # type: ignore[union-attr]
        assert again.poll() is None, line
    assert f"begun (job {trial.job})" in line
    assert len([path for path in folder.run(trial).jobs.iterdir() if path.is_dir()]) == 1

    again.send_signal(signal.SIGINT)
    _, errors = again.communicate()
    assert f"`cosmos cancel {folder.path.name}` ends them" in errors
    cancelled, _ = command(project, "cancel", folder.path.name, "--json").communicate()
    assert json.loads(cancelled) == {"sweep": folder.path.name, "trials": [trial.name], "jobs": [trial.job]}
