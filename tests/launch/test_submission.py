"""Records of submissions, without a cluster."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission

from cosmos.config.job_request import JobRequest
from cosmos.errors import DamagedDataError, InputError, NotPermittedError, TransientError
from cosmos.launch import slurm
from cosmos.launch.local import LocalCluster
from cosmos.launch.outcome import Attempt, CallFiles
from cosmos.launch.sbatch import SlurmCluster
from cosmos.launch.submission import read_submission, submit_job
from cosmos.launch.task import Task
from tests.launch.examples import Launcher
from tests.other_users import ALICE, BOB, GROUP, acting_as, only_root_is_others, shared_folder

WRITTEN: dict[str, str | int] = {
    "cluster": "slurm",
    "token": "5e0c11aa",
    "name": "cosmos-vitb16-5e0c11aa",
    "folder": "/runs/vitb16/jobs/5e0c11aa",
    "num_calls": 1,
    "max_requeues": 20,
    "submitted": "2026-11-20T08:00:00+00:00",
    "host": "login1",
    "job_id": "812",
}
"""Record of a job, as the version before this layout wrote it."""


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    record = tmp_path / "job.json"
    record.write_text(json.dumps(WRITTEN))
    submission = read_submission(record)
    assert submission is not None
    assert (submission.job_id, submission.folder) == ("812", tmp_path / "jobs" / "5e0c11aa")
    assert [call.index for call in submission.calls] == [0]
    assert not submission.is_finished()


def test_a_folder_follows_from_the_place_of_the_record_whatever_that_says(tmp_path: Path) -> None:
    record = tmp_path / "evaluations" / "c0ffee.json"
    record.parent.mkdir()
    record.write_text(json.dumps({**WRITTEN, "folder": "/tmp/of-somebody-else/5e0c11aa"}))
    submission = read_submission(record)
    assert submission is not None
    assert submission.folder == tmp_path / "evaluations" / "5e0c11aa"


def test_a_copied_run_has_no_job_of_its_own_and_a_moved_one_keeps_its_own(tmp_path: Path) -> None:
    original, copy, moved = (tmp_path / name for name in ("original", "copy", "moved"))
    submission = submit_job(Launcher("debug", original).spec(int))
    shutil.copytree(original, copy)
    assert read_submission(copy / "job.json") is None
    assert read_submission(original / "job.json") == submission
    original.rename(moved)
    of_moved = read_submission(moved / "job.json")
    assert of_moved == replace(submission, folder=moved / "jobs" / submission.token)
    shutil.copytree(copy, original)  # another run begins under the name
    assert read_submission(moved / "job.json") is None


def test_a_folder_that_others_can_write_gets_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "chmod", lambda path, mode: os.chmod(path, 0o777))  # noqa: PTH101 (no modes there)
    with pytest.raises(InputError, match=r"others can write there.*COSMOS_RUNS_ROOT"):
        submit_job(Launcher("debug", tmp_path).spec(int))
    assert not (tmp_path / "job.json").exists()


@only_root_is_others
def test_a_job_of_another_user_is_told_from_one_that_has_ended() -> None:
    with shared_folder() as shared:
        submitted = submit_job(Launcher("debug", shared / "run").spec(int))
        assert (submitted.closed, submitted.is_finished()) == ("", True)
        with acting_as(BOB):
            seen = read_submission(shared / "run" / "job.json")
            assert seen
            with pytest.raises(NotPermittedError, match=rf"{seen.folder}: job .* is one of root and closed"):
                seen.refuse_closed()
            assert not seen.is_finished()
        os.chown(submitted.folder, ALICE, GROUP)
        with acting_as(BOB):
            assert f"is one of user {ALICE} and closed to others" in seen.closed


@pytest.mark.parametrize(("name", "signs"), [("50%", "%"), ("a:b\\c", r"\\ and :")])
def test_a_folder_that_a_job_would_take_for_another_is_refused(tmp_path: Path, name: str, signs: str) -> None:
    with pytest.raises(InputError, match=rf"a job takes {signs} in paths otherwise; name a folder without"):
        submit_job(Launcher("debug", tmp_path / name).spec(int))


def test_without_a_record_there_is_no_submission(tmp_path: Path) -> None:
    assert read_submission(tmp_path / "job.json") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"cluster": "slu',
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b"9" * 6_000,
        *(
            json.dumps({**WRITTEN, **wrong}).encode()
            for wrong in (
                {"num_calls": 0},
                {"num_calls": 10**9},
                {"num_calls": "1"},
                {"token": "../../../tmp/evil"},
                {"token": 5},
                {"job_id": "--user=root"},
                {"job_id": None},
                {"cluster": "auto"},
                {"submitted": "yesterday"},
                {"submitted": "2026-11-20T08:00:00"},
                {"host": ["login1"]},
            )
        ),
    ],
)
def test_a_damaged_record_is_named_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    record = tmp_path / "job.json"
    record.write_bytes(content)
    with pytest.raises(DamagedDataError, match=r"job\.json: not a record of a job .*delete the file"):
        read_submission(record)


def test_a_process_of_another_machine_is_not_asked_for_and_a_copied_run_has_a_way_on(tmp_path: Path) -> None:
    record = tmp_path / "job.json"
    record.write_text(json.dumps({**WRITTEN, "cluster": "local", "host": "elsewhere"}))
    submission = read_submission(record)
    assert submission is not None
    with pytest.raises(InputError, match=f"process of elsewhere; .* delete the job's record in {tmp_path}$"):
        submission.is_alive()


@pytest.mark.parametrize("cluster", [LocalCluster(), SlurmCluster()])
def test_a_full_disk_at_a_submission_is_named(
    cluster: LocalCluster | SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(submission: DelayedSubmission, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(DelayedSubmission, "dump", fill)
    for question in ("is_installed", "answers"):
        monkeypatch.setattr(slurm, question, lambda: True)
    task = Task(b"", CallFiles(tmp_path, 0), tmp_path / "job.json", "5e0c11aa", 0)
    with pytest.raises(TransientError, match=rf"{tmp_path}/jobs: No space left on device; free space there"):
        cluster.submit([task], JobRequest(), "a", tmp_path / "jobs", {})


def test_a_full_disk_at_the_start_of_a_job_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = CallFiles(tmp_path, 0)
    full = Path("/dev/full")
    monkeypatch.setattr(CallFiles, "_attempts", full)
    monkeypatch.setattr(CallFiles, "failure_room", lambda call, rank, requeues: full)
    with pytest.raises(TransientError, match=r"/dev/full: No space left on device; free space there"):
        call.begin(Attempt("1", 0, "a", tmp_path, 0.0, 0))
    with pytest.raises(TransientError, match=r"/dev/full: No space left on device; free space there"):
        call.reserve_room(0, 0)
