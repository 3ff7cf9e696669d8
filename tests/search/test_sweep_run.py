"""Cluster, cores and settings of the trials of a sweep."""

import os
from pathlib import Path

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.distributed import cores
from cosmos.errors import InputError
from cosmos.launch import slurm
from cosmos.run.sweep_directory import SweepDir
from cosmos.search.sweep_run import (
    num_parallel_trials,
    prepare_sweep_run,
    share_cores,
    sweep_cluster,
    trial_machine,
)
from tests.search.examples import small_sweep


def test_trials_on_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "OWN_CGROUP", Path("/no/such/file"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert num_parallel_trials(4) == 2
    assert num_parallel_trials(16) == 1
    asked = JobRequest(cpus_per_task=4)
    assert [share_cores(asked, parallel).cpus_per_task for parallel in (1, 2, 4, 9)] == [4, 4, 2, 1]
    assert share_cores(JobRequest(cpus_per_task=4, tasks_per_node=2), 2).cpus_per_task == 2


def test_trials_leave_the_leading_process_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "is_configured", lambda: False)
    assert sweep_cluster(Machine(cluster="auto")) == "local"
    assert sweep_cluster(Machine(cluster="debug")) == "debug"


def test_jobs_are_not_told_where_the_study_is_kept() -> None:
    machine = Machine.model_validate({"study_storage": "postgresql://optuna:secret@host/optuna"})
    there = trial_machine(machine, JobRequest(cpus_per_task=2))
    assert "secret" not in there.model_dump_json()
    assert (there.study_storage.get_secret_value(), there.slurm.cpus_per_task) == ("", 2)


def test_where_the_data_is_gone_the_results_of_the_sweep_are_named(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    machine = Machine(runs_root=tmp_path / "runs", data_root=tmp_path / "data", cluster="local")
    with pytest.raises(InputError, match=r"manifest\.json: no such file") as first:
        prepare_sweep_run(sweep, machine, 0, 0)
    assert "results" not in str(first.value)
    SweepDir(machine.runs_root / sweep.id).write_definition(sweep)
    with pytest.raises(InputError, match=f"no such file.*; the results of .*`cosmos compare {sweep.id}`"):
        prepare_sweep_run(sweep, machine, 0, 0)
