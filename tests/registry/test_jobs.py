"""List of jobs: progress from the records of runs, which the index of runs has."""

from pathlib import Path

import pytest

from cosmos.config.machine import Machine
from cosmos.launch.slurm import JobState
from cosmos.registry import index as run_index
from cosmos.registry import jobs
from cosmos.registry.jobs import format_duration, list_jobs
from cosmos.run.metrics import MetricsWriter
from tests.registry.run_files import make_run, settle, submit


def test_progress_comes_from_the_index_and_a_run_that_has_not_changed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "states_of_jobs", lambda asked: {"7": [JobState("RUNNING", "", "node1")]})
    monkeypatch.setattr(jobs, "current_job_state", lambda submission: JobState("RUNNING"))
    run = make_run(tmp_path / "sweep" / "mine", epochs=2.0, batch_size=8)
    make_run(tmp_path / "without")
    submit(run, "7")
    MetricsWriter(run.metrics, 11).log(
        {
            "step": 11,
            "epoch": 2.2,
            "loss": 1.0,
            "samples_per_second": 4.0,
            "samples_listed": 9,
            "samples_used": 8,
        }
    )
    settle(tmp_path)
    [job] = list_jobs(Machine(runs_root=tmp_path), quiet=True)
    assert (job.run, job.job_id, job.step, job.total_steps) == ("sweep/mine", "7", 11, 15)
    assert (job.samples_per_second, job.seconds_left, job.missing_data) == (4.0, 4 * 8 / 4, "8 of 9")
    assert (job.state, job.problem) == ("running on node1", "")
    monkeypatch.setattr(run_index, "read_run_record", None)
    again = list_jobs(Machine(runs_root=tmp_path), quiet=False)
    assert [(other.run, other.step, other.total_steps) for other in again] == [("sweep/mine", 11, 15)]
    assert "11/15" in capsys.readouterr().out


def test_a_job_is_listed_also_without_the_parameters_of_its_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "mine", batch_size=8)
    submit(run, "")
    run.params.unlink()
    run.provenance.unlink()
    [job] = list_jobs(Machine(runs_root=tmp_path), quiet=False)
    assert (job.run, job.step) == ("mine", 15)
    assert job.problem == f"{run.params}: missing; put it back"


def test_durations_are_told_as_people_would() -> None:
    assert [format_duration(s) for s in (5, 130, 7200 + 300, 50 * 3600)] == [
        "5 s",
        "2 min",
        "2 h 05 min",
        "2 d 2 h",
    ]
