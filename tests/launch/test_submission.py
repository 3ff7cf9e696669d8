"""Records of submissions, without a cluster."""

import json
from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError
from cosmos.launch.submission import read_submission

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
    assert (submission.job_id, submission.folder) == ("812", Path("/runs/vitb16/jobs/5e0c11aa"))
    assert [call.index for call in submission.calls] == [0]
    assert not submission.is_finished()


def test_without_a_record_there_is_no_submission(tmp_path: Path) -> None:
    assert read_submission(tmp_path / "job.json") is None


@pytest.mark.parametrize(
    "content", [b"", b'{"cluster": "slu', b"\xff\xfe\x00", b"[]", b"{}", json.dumps({"folder": "x"}).encode()]
)
def test_a_damaged_record_is_named_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    record = tmp_path / "job.json"
    record.write_bytes(content)
    with pytest.raises(DamagedDataError, match=r"job\.json: not a record of a job .*delete the file"):
        read_submission(record)
