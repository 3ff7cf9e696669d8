"""`cosmos cancel SWEEP` with jobs that are processes of this machine."""

import errno
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.errors import DamagedDataError, TransientError
from cosmos.launch.once import submit_once
from cosmos.launch.submission import JobSpec, Submission
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.search.cancellation import cancel_sweep
from tests.launch.conftest import ROOT
from tests.launch.examples import Wait, wait_for
from tests.search.examples import small_sweep


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepDir:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # jobs import the call
    sweep = small_sweep(tmp_path)
    place = SweepDir(tmp_path / sweep.id)
    place.write_definition(sweep)
    return place


def begin(place: SweepDir, count: int) -> tuple[list[TrialRecord], list[Submission]]:
    """Begin jobs of the first trials of a sweep."""
    records = [TrialRecord(place.path.name, number, 0, {}) for number in range(count)]
    submissions = []
    for record in records:
        run = place.run(record)
        record.write(run)
        spec = JobSpec([Wait(run.path / "never")], JobRequest(cpus_per_task=1), "local", run.job, "test")
        submissions.append(submit_once(spec)[0])
    for record in records:
        wait_for(place.run(record).path / "begun")  # since a job reads its record when it begins
    return records, submissions


def wait_for_end(submission: Submission) -> None:
    deadline = time.monotonic() + 30
    while submission.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_damaged_files_of_some_trials_keep_no_job_of_another_from_its_end(
    place: SweepDir, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, second, _), (early, lost, late) = begin(place, 3)
    place.run(first).trial.write_text('{"sweep": 3}')
    record = place.run(second).job
    content = record.read_bytes()
    record.write_text("[]")
    place.definition.write_text("{")
    with pytest.raises(DamagedDataError, match=r"trial-0001/job\.json: not a"):
        cancel_sweep(place, quiet=False)
    wait_for_end(early)
    wait_for_end(late)
    assert lost.is_alive()
    assert f"jobs cancelled: {early.job_id}, {late.job_id}; the same" in capsys.readouterr().out
    assert "trial-0000/trial.json: not a record of a trial" in caplog.text

    record.write_bytes(content)
    replace(second, state="pruned").write(place.run(second))  # by a controller that was then killed
    cancelled = cancel_sweep(place, quiet=True)
    assert (cancelled["trials"], cancelled["jobs"]) == (["trial-0001"], [lost.job_id])


def test_a_full_disk_keeps_no_job_from_its_end(place: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (submission,) = begin(place, 1)

    def fill_up(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cosmos.run.files.os.fsync", fill_up)
    with pytest.raises(TransientError, match=r"writer\.json: No space left on device"):
        cancel_sweep(place, quiet=True)
    monkeypatch.undo()
    wait_for_end(submission)
