"""List of jobs: progress from the records of runs, which the index of runs has."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.machine import Machine
from cosmos.launch.slurm import JobState
from cosmos.registry import index as run_index
from cosmos.registry import job_table, jobs
from cosmos.registry.job_table import list_jobs
from cosmos.registry.jobs import JobQuery
from cosmos.run.directory import RunDir
from cosmos.run.metrics import MetricsWriter
from tests.other_users import BOB, acting_as, only_root_is_others, shared_folder
from tests.registry.run_files import fail_job, make_run, record_evaluation, settle, submit, take_part
from tests.registry.test_run_forecast import forecast
from tests.registry.test_run_forecast import make_run as make_curve


def test_progress_comes_from_the_index_and_a_run_that_has_not_changed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "states_of_jobs", lambda asked: {"7": [JobState("RUNNING", "", "node1")]})
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
    [job] = list_jobs(JobQuery(), 0, Machine(runs_root=tmp_path), quiet=True)
    assert (job.run, job.job_id, job.step, job.total_steps) == ("sweep/mine", "7", 11, 15)
    assert (job.samples_per_second, job.seconds_left, job.missing_data) == (4.0, 4 * 8 / 4, "8 of 9")
    assert (job.state, job.problem) == ("running on node1", "")
    monkeypatch.setattr(run_index, "read_run_record", None)
    again = list_jobs(JobQuery(), 0, Machine(runs_root=tmp_path), quiet=False)
    assert [(other.run, other.step, other.total_steps) for other in again] == [("sweep/mine", 11, 15)]
    assert "11/15" in capsys.readouterr().out


def test_a_run_that_this_user_may_not_enter_hides_no_other_job(
    many: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, expected = make_run(many.runs_root / "private").path, listed(many)

    def refusing(call: Callable[..., Any], entry: str = "") -> Callable[..., Any]:
        def refuse(path: Any, **options: Any) -> Any:
            if private in Path(path, entry).parents:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return call(path, **options)

        return refuse

    monkeypatch.setattr(os, "stat", refusing(os.stat))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir, "any"))
    assert listed(many) == expected


@only_root_is_others
@pytest.mark.parametrize(
    ("state", "epochs", "shown", "problem"),
    [
        ("RUNNING", 3.0, ["running", "running"], ""),
        ("COMPLETED", 3.0, ["finished", "ended"], ""),
        ("FAILED", 1.0, ["stopped", "ended"], "job 7 is one of root and closed to others"),
    ],
)
def test_a_colleagues_job_is_told_by_slurm_and_the_run_though_its_folder_is_closed(
    state: str, epochs: float, shown: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "states_of_jobs", lambda asked: {job: [JobState(state)] for job in asked})
    with shared_folder() as shared:
        run = make_run(shared / "theirs", epochs=epochs)
        submit(run, "7").folder.chmod(0o700)
        record_evaluation(run.evaluation_job, "8", "step 5")
        (run.evaluation_job.parent / "1a2b3c4d").mkdir(mode=0o700)
        with acting_as(BOB):
            told = list_jobs(JobQuery(), 0, Machine(runs_root=shared), quiet=True)
    told.sort(key=lambda job: job.job_id)
    assert [job.status for job in told] == shown
    assert [job.problem.partition(": ")[2] for job in told] == [problem, ""]


def test_a_job_is_listed_also_without_the_parameters_of_its_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "mine", batch_size=8)
    submit(run, "")
    run.params.unlink()
    run.provenance.unlink()
    [job] = list_jobs(JobQuery(), 0, Machine(runs_root=tmp_path), quiet=False)
    assert (job.run, job.step) == ("mine", 15)
    assert job.problem == f"{run.params}: missing; put it back"


NAME = "a-run-whose-name-has-more-letters-than-a-terminal-of-eighty-columns-has-room-for-in-a-line"


DIGEST = "0a1b2c3d4e5f6a7b"


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A run that runs, a trial that waits and one that failed, and evaluations, one by suites at an array."""
    states = {
        "1": [JobState("RUNNING", "", "node1", "10:00")],
        "2": [JobState("PENDING", "Resources")],
        "3": [JobState("FAILED")],
        "4": [JobState("RUNNING", "", "node2")],
        "5": [JobState("COMPLETED"), JobState("PENDING"), JobState("RUNNING", "", "node3")],
        "6": [JobState("TIMEOUT")],
    }
    monkeypatch.setattr(jobs, "states_of_jobs", lambda asked: {job: states[job] for job in asked})
    monkeypatch.delenv("COLUMNS", raising=False)
    run = make_run(tmp_path / NAME, epochs=1.0)
    submit(run, "1")
    for number in (2, 3):
        trial = make_run(tmp_path / "sweep" / f"trial-000{number}", epochs=1.0)
        submit(trial, str(number))
        take_part(trial, "running")
    record_evaluation(run.evaluation_job, "4", "step 5")
    record_evaluation(tmp_path / "evaluations" / f"{DIGEST}.json", "5", "retrieval of a, b, c", num_calls=3)
    record_evaluation(RunDir(tmp_path / "published").jobs / "evaluate-1f.json", "6", "retrieval")
    return Machine(runs_root=tmp_path)


def listed(machine: Machine, *names: str, **conditions: tuple[str, ...]) -> list[str]:
    """The ids of the jobs that are selected."""
    query = JobQuery(names, **conditions)
    return [job.job_id for job in list_jobs(query, 0, machine, quiet=True)]


def test_jobs_that_evaluate_are_listed_with_what_they_measure(
    many: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {job.job_id: job for job in list_jobs(JobQuery(), 0, many, quiet=False)}
    shown = capsys.readouterr().out
    assert [(found[job].run, found[job].kind, found[job].status, found[job].subject) for job in "456"] == [
        (NAME, "evaluate", "running", "step 5"),
        (f"evaluations/{DIGEST}", "evaluate", "running", "retrieval of a, b, c"),
        ("published", "evaluate", "timeout", "retrieval"),
    ]
    assert "retrieval of a, b, c; 1 completed, 1 pending, 1 running" in shown
    assert [found[job].kind for job in "123"] == ["pretrain", "trial", "trial"]


def test_jobs_are_selected_by_name_state_and_kind_and_those_that_run_come_first(many: Machine) -> None:
    assert set(listed(many)[:4]) == {"1", "2", "4", "5"}
    assert listed(many, statuses=("Pending",)) == ["2"]
    assert sorted(listed(many, kinds=("trial",))) == ["2", "3"]
    assert sorted(listed(many, "sweep")) == ["2", "3"]
    assert sorted(listed(many, "*trial-0003", "published/")) == ["3", "6"]
    assert listed(many, NAME, kinds=("evaluate",)) == ["4"]
    assert listed(many, statuses=("running",), kinds=("trial",)) == []


def test_a_job_that_nobody_knows_any_more_has_the_outcome_that_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "states_of_jobs", lambda asked: {job: [JobState("GONE")] for job in asked})
    call = submit(make_run(tmp_path / "mine", epochs=1.0), "7")
    assert listed(Machine(runs_root=tmp_path), statuses=("gone",)) == ["7"]
    fail_job(call)
    assert listed(Machine(runs_root=tmp_path), statuses=("failed",)) == ["7"]


def test_where_no_job_is_selected_near_names_or_the_states_are_told(
    many: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    for query, told in (
        (JobQuery(["sweep/trial-0009"]), "near it: sweep/trial-000"),
        (JobQuery(statuses=["runing"]), "states of jobs: failed, pending, running, timeout"),
    ):
        assert list_jobs(query, 0, many, quiet=False) == []
        assert f"none of 6 jobs matches; {told}" in capsys.readouterr().out


def test_in_a_pipe_nothing_is_cut_and_in_a_terminal_whole_columns_go(
    many: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    list_jobs(JobQuery(), 0, many, quiet=False)
    piped = capsys.readouterr().out
    assert all(cell in piped for cell in (NAME, "on node1", "(Resources)", "10:00", "last line"))
    for columns in (60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        list_jobs(JobQuery(["sweep"]), 0, many, quiet=False)
        narrow = capsys.readouterr().out
        assert max(map(len, narrow.splitlines())) <= columns
        assert ("no room for" in narrow) == (columns < 80)
        list_jobs(JobQuery(), 0, many, quiet=False)
        assert f"\n{NAME}  pretrain  running" in capsys.readouterr().out


def test_a_terminal_shows_a_number_of_jobs_and_counts_the_others(
    many: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job_table, "MAX_TERMINAL_JOBS", 2)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    list_jobs(JobQuery(), 0, many, quiet=False)
    assert capsys.readouterr().out.endswith("... and 4 more; `--limit 6` shows all\n")
    assert len(list_jobs(JobQuery(), 6, many, quiet=False)) == 6


def test_a_record_of_an_evaluation_that_cannot_be_read_is_a_problem(
    many: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    record = many.runs_root / "evaluations" / f"{DIGEST}.json"
    record.write_text("{")
    (job,) = list_jobs(JobQuery(["evaluations"]), 0, many, quiet=False)
    assert (job.status, f"{DIGEST}.json: not a record of a job" in job.problem) == ("unknown", True)
    assert job.problem in capsys.readouterr().out


def test_a_run_that_is_called_as_the_folder_of_evaluations_is_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "evaluations", epochs=1.0)
    (run.path / "wandb.json").write_text("{}")
    assert listed(Machine(runs_root=tmp_path)) == []


def test_a_run_that_trains_is_listed_with_the_forecast_of_its_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = {"7": [JobState("RUNNING")], "8": [JobState("PENDING")], "9": [JobState("RUNNING")]}
    monkeypatch.setattr(jobs, "states_of_jobs", lambda asked: states)
    for job_id, until in {"7": 200, "8": 200, "9": 20}.items():
        submit(make_curve(tmp_path, f"run-{job_id}", until), job_id)
    found = {job.job_id: job for job in list_jobs(JobQuery(), 0, Machine(runs_root=tmp_path), quiet=False)}
    loss = forecast(RunDir(tmp_path / "run-7")).loss
    assert loss
    assert found["7"].loss == loss.describe()
    assert (found["8"].loss, found["9"].loss) == ("", "")
    assert loss.describe() in capsys.readouterr().out
