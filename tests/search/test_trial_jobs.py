"""Trials as jobs, as far as it can be tested without a job."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    DivergedError,
    InputError,
    NotPermittedError,
    OutOfMemoryError,
    TransientError,
)
from cosmos.launch import slurm
from cosmos.launch.slurm import SlurmSilentError
from cosmos.launch.submission import JobSpec
from cosmos.registry.job_table import list_jobs
from cosmos.registry.jobs import JobQuery
from cosmos.run.directory import RunDir, open_run
from cosmos.run.sweep_directory import RungResult, TrialRecord
from cosmos.search import trial_jobs
from cosmos.search.trial_jobs import (
    TrialJobState,
    count_submissions,
    raise_unmeasured,
    submit_trial,
    wait_for_slurm,
)
from cosmos.stages.evaluation_result import EvaluationResult


@pytest.mark.parametrize(
    ("error", "hopeless", "transient"),
    [
        (InputError, True, False),
        (DamagedDataError, True, False),
        (DivergedError, True, False),
        (OutOfMemoryError, True, False),
        (TransientError, False, True),
        (SlurmSilentError, False, True),
        (CosmosError, False, False),
    ],
)
def test_the_class_of_an_error_alone_decides_what_follows(
    error: type[CosmosError], hopeless: bool, transient: bool
) -> None:
    state = TrialJobState("dead", error=error)
    assert (state.is_hopeless, state.is_transient) == (hopeless, transient)


def test_each_submission_counts_as_an_attempt(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert count_submissions(run) == 0
    for token in ("1a2b3c4d", "5e6f7a8b"):
        (run.jobs / token).mkdir(parents=True)
    (run.jobs / "1a2b3c4d.lock").touch()
    assert count_submissions(run) == 2


def test_a_slurm_that_is_silent_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trial_jobs, "SLURM_POLL_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "is_configured", lambda: True)
    answers = [False, False, True]
    monkeypatch.setattr(slurm, "answers", lambda: answers.pop(0))
    wait_for_slurm()
    assert answers == []
    assert "Slurm does not answer" in caplog.text


def test_a_slurm_that_there_is_not_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "is_configured", lambda: False)
    monkeypatch.setattr(slurm, "answers", lambda: False)
    wait_for_slurm()


@pytest.mark.parametrize(
    ("is_transient", "is_forbidden", "kind"),
    [
        (False, False, InputError),
        (True, False, TransientError),
        (False, True, NotPermittedError),
        (True, True, TransientError),
    ],
)
def test_what_cannot_be_measured_is_tried_again_only_where_that_may_help(
    is_transient: bool, is_forbidden: bool, kind: type[CosmosError]
) -> None:
    problems = ["coco: no such folder"]
    with pytest.raises(CosmosError, match="not everything was measured:\n  coco: no such folder") as raised:
        raise_unmeasured(EvaluationResult({}, problems, True, is_transient, is_forbidden))
    assert type(raised.value) is kind
    raise_unmeasured(EvaluationResult({}, [], True))


@dataclass(frozen=True)
class Pause:
    """A job that has trained up to a rung; 0: to the end."""

    until: int

    def __call__(self) -> dict[str, int]:
        return {"steps": 10, "until": self.until}


def test_a_job_is_submitted_for_each_rung_once_and_one_that_trained_further_is_kept(tmp_path: Path) -> None:
    run = RunDir(tmp_path)

    def submit(until: int) -> str:
        spec = JobSpec([Pause(until)], JobRequest(cpus_per_task=1), "debug", run.job, "trial")
        return submit_trial(spec, until).token

    first = submit(1)
    assert submit(1) == first
    second = submit(4)
    assert second != first
    assert [submit(2), submit(4)] == [second, second]
    last = submit(0)
    assert last != second
    assert [submit(until) for until in (0, 4, 9)] == [last] * 3
    assert count_submissions(run) == 3


def test_the_list_of_jobs_says_where_a_trial_is_paused(tmp_path: Path) -> None:
    run = open_run(tmp_path / "small-1a2b3c4d" / "trial-0000", Params())
    submit_trial(JobSpec([Pause(2)], JobRequest(cpus_per_task=1), "debug", run.job, "trial"), 2)
    record = TrialRecord("small-1a2b3c4d", 0, 0, {}, "paused", rungs=(RungResult(2, 8, {}),))
    record.write(run)
    (job,) = list_jobs(JobQuery(), 0, Machine(runs_root=tmp_path), quiet=True)
    assert (job.state, job.problem) == ("paused at epoch 2 of 8", "")


def test_a_job_of_an_earlier_version_has_trained_to_the_end(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    spec = JobSpec([partial(dict, steps=10)], JobRequest(cpus_per_task=1), "debug", run.job, "trial")
    submission = submit_trial(spec, 0)
    assert submit_trial(spec, 0) == submission
