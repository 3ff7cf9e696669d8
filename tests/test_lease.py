import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos.lease import Lease, Superseded
from cosmos.rundir import RunDir

TAKE = (
    "import sys; from pathlib import Path; from cosmos.lease import Lease; from cosmos.rundir import RunDir; "
)
TAKE += "Lease.take(RunDir(Path(sys.argv[1])))"


def taken_elsewhere(run: RunDir, job: str = "") -> int:
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE, str(run.path)], env={**os.environ, "COSMOS_JOB": job}
    )
    assert process.wait() == 0
    return process.pid


def test_whoever_took_it_last_may_write(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    taken_elsewhere(run)
    Lease.take(run).check()


def test_the_one_before_is_told_who_took_over(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    lease = Lease.take(run)
    pid = taken_elsewhere(run, '{"cluster": "slurm", "id": "12", "requeues": 1, "nodes": ["node7"]}')
    with pytest.raises(Superseded) as stop:
        lease.check()
    who = f"process {pid} on {socket.gethostname()} (job 12, requeues: 1) took over this run at 20"
    assert who in str(stop.value)
    assert str(run.lease) in str(stop.value)
    assert "this process stops" in str(stop.value)


def test_two_leases_of_one_process_are_two(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    first, second = Lease.take(run), Lease.take(run)
    second.check()
    with pytest.raises(Superseded, match=f"process {os.getpid()} on [^(]* took over"):
        first.check()


def test_a_run_that_was_deleted_is_not_written_into(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    lease = Lease.take(run)
    run.lease.unlink()
    with pytest.raises(Superseded, match="was deleted or moved"):
        lease.check()


def test_a_broken_job_leaves_the_lease_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path)
    lease = Lease.take(run)
    monkeypatch.setenv("COSMOS_JOB", "12")
    with pytest.raises(ValueError, match="COSMOS_JOB"):
        Lease.take(run)
    lease.check()
    assert json.loads(run.lease.read_text())["job"] == {}
