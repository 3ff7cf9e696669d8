"""`cosmos cancel SWEEP` with jobs that are processes of this machine."""

import errno
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.errors import DamagedDataError, TransientError
from cosmos.launch.once import submit_once
from cosmos.launch.submission import JobSpec, Submission
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.search.cancellation import cancel_sweep
from tests.launch.examples import wait_for
from tests.search.examples import small_sweep
from tests.stages.examples import ROOT


@dataclass(frozen=True)
class Wait:
    """Call that waits for a file that never comes."""

    file: Path

    def __call__(self) -> Any:
        self.file.with_name("begun").touch()
        return wait_for(self.file)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepDir:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # jobs import this module
    sweep = small_sweep(tmp_path)
    place = SweepDir(tmp_path / sweep.id)
    place.write_definition(sweep)
    return place


def begin(place: SweepDir, number: int) -> tuple[TrialRecord, Submission]:
    record = TrialRecord(place.path.name, number, 0, {})
    run = place.run(record)
    record.write(run)
    spec = JobSpec([Wait(run.path / "never")], JobRequest(cpus_per_task=1), "local", run.job, "test")
    submission = submit_once(spec)[0]
    wait_for(run.path / "begun")  # since a job reads its record when it begins
    return record, submission


def wait_for_end(submission: Submission) -> None:
    deadline = time.monotonic() + 30
    while submission.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_damaged_files_of_some_trials_keep_no_job_of_another_from_its_end(
    place: SweepDir, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = [begin(place, number) for number in range(3)]
    (first, _), (second, lost), (_, last) = begun
    place.run(first).trial.write_text('{"sweep": 3}')
    record = place.run(second).job
    content = record.read_bytes()
    record.write_text("[]")
    place.definition.write_text("{")
    with pytest.raises(DamagedDataError, match=r"trial-0001/job\.json: not a"):
        cancel_sweep(place, quiet=False)
    wait_for_end(begun[0][1])
    wait_for_end(last)
    assert lost.is_alive()
    assert f"jobs cancelled: {begun[0][1].job_id}, {last.job_id}; the same" in capsys.readouterr().out
    assert "trial-0000/trial.json: not a record of a trial" in caplog.text

    record.write_bytes(content)
    replace(begun[1][0], state="pruned").write(place.run(second))  # by a controller that was then killed
    cancelled = cancel_sweep(place, quiet=True)
    assert (cancelled["trials"], cancelled["jobs"]) == (["trial-0001"], [lost.job_id])


def test_a_full_disk_keeps_no_job_from_its_end(place: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    _, submission = begin(place, 0)

    def fill_up(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cosmos.run.files.os.fsync", fill_up)
    with pytest.raises(TransientError, match=r"writer\.json: No space left on device"):
        cancel_sweep(place, quiet=True)
    monkeypatch.undo()
    wait_for_end(submission)
