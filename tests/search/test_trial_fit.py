"""Trials that do not fit on the GPU, and forecasts of what trials take, before any is submitted."""

from dataclasses import replace
from pathlib import Path

import pytest

from cosmos.config.gpus import Gpu
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, DemoParams
from cosmos.config.sweep import Sweep
from cosmos.data.preparation import prepare_dataset
from cosmos.errors import InputError, OutOfMemoryError
from cosmos.plan.memory import step_memory
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.run.sweep_directory import SweepDir
from cosmos.search.controller import Controller
from cosmos.search.study_storage import open_study
from cosmos.search.terminal_tables import describe_trial, print_search_space
from cosmos.search.trial_fit import trial_workload
from cosmos.search.trial_forecast import describe_forecast
from cosmos.search.trial_jobs import TrialJobs
from cosmos.stages.run_opening import read_dataset_version
from tests.search.examples import small_sweep

SMALL_BATCH, LARGE_BATCH = 4, 256
REQUEST = JobRequest(gpus_per_node=1, gpu_kind="mine")
FIGURES = {"float32": 0.001, "half": 0.002, "watts": 10.0}


DEMO = DemoParams(num_train=300, num_heldout=4, image_size=32)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sweep's data, which no test changes."""
    folder = tmp_path_factory.mktemp("data")
    prepare_dataset(DataParams(demo=DEMO), Machine(data_root=folder), processes=1)
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """A sweep of batches, of which the large one does not fit on the GPU of `machine`."""
    batches = {"distribution": "categorical", "choices": [SMALL_BATCH, LARGE_BATCH]}
    data = {"demo": DEMO.model_dump()}
    return small_sweep(
        tmp_path,
        space={"pretrain.batch_size": batches},
        fixed={"data": data, "pretrain": {"evaluate_every_epochs": 1}},
        sampler={"name": "random"},
    )


@pytest.fixture
def machine(tmp_path: Path, data_root: Path, sweep: Sweep) -> Machine:
    """Settings with a GPU of one's own on which the small batch fits, and the large one does not."""
    machine = Machine(data_root=data_root, slurm=REQUEST, gpus={"mine": Gpu(memory_gb=1, **FIGURES)})
    needed = [
        step_memory(
            trial_workload(
                sweep.params({"pretrain.batch_size": size}, 0), machine, REQUEST, machine.gpus["mine"]
            )
        ).needed
        for size in (SMALL_BATCH, LARGE_BATCH)
    ]
    gpu = Gpu(memory_gb=sum(needed) / 2e9, **FIGURES)
    return Machine(data_root=data_root, runs_root=tmp_path / "runs", slurm=REQUEST, gpus={"mine": gpu})


def jobs_of(machine: Machine, sweep: Sweep) -> TrialJobs:
    dataset = read_dataset_version(sweep.base, machine)
    return TrialJobs(machine, "debug", REQUEST, (), dataset, gpu=machine.gpus["mine"])


def test_a_trial_that_does_not_fit_is_dead_before_it_is_submitted(
    tmp_path: Path, machine: Machine, sweep: Sweep
) -> None:
    jobs, run = jobs_of(machine, sweep), RunDir(tmp_path / "trial")
    state = jobs.start(run, sweep.params({"pretrain.batch_size": LARGE_BATCH}, 0), 0)
    assert (state.state, state.error, state.attempts) == ("dead", OutOfMemoryError, 0)
    assert state.is_hopeless
    assert "not submitted: a step needs" in state.reason
    assert "mine has" in state.reason
    assert jobs.state(run) == state
    assert not run.job.exists()


def test_a_sweep_records_it_as_failed_and_goes_on_with_others(
    tmp_path: Path, machine: Machine, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, begun = SweepDir(tmp_path / "sweep"), list[RunDir]()
    folder.write_definition(sweep)

    def submit(*arguments: object) -> None:
        begun.append(RunDir(tmp_path))
        raise InputError("enough")

    monkeypatch.setattr("cosmos.search.trial_jobs.submit_trial", submit)
    lease = Lease.take(folder.own)
    study = open_study(sweep, folder, machine)
    control = Controller(sweep, folder, study, jobs_of(machine, sweep), 1, lease)
    with pytest.raises(InputError, match="enough"):
        list(control.search(6))
    failed = [trial for trial in folder.trials if trial.state == "failed"]
    assert failed
    assert all(trial.asked == {"pretrain.batch_size": LARGE_BATCH} for trial in failed)
    assert "failed: not submitted: a step needs" in describe_trial(failed[0])
    assert begun


def test_the_preview_says_what_trials_take_and_how_many_do_not_fit(
    machine: Machine, sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    line = describe_forecast(sweep, machine, 6)
    assert line.startswith("a trial takes ")
    assert "; 6 trials " in line
    assert "hours of mine; " in line
    assert "of 16 that were drawn need more memory than mine has" in line
    print_search_space(sweep, machine, 6)
    assert line in capsys.readouterr().out


def test_there_is_no_forecast_without_a_kind_of_gpu_or_the_size_of_the_data(
    machine: Machine, sweep: Sweep
) -> None:
    assert describe_forecast(sweep, machine.model_copy(update={"slurm": JobRequest()}), 6) == ""
    folder = sweep.base.model_copy(
        update={
            "data": sweep.base.data.model_copy(update={"source": "folder", "images": "x", "name": "mine"})
        }
    )
    unprepared = replace(sweep, base=folder)
    line = describe_forecast(unprepared, machine, 6)
    assert line.startswith("time of a trial: not known (")
    assert describe_forecast(replace(unprepared, samples=5000), machine, 6).startswith("a trial takes ")
