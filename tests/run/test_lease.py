import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError, SupersededError
from cosmos.run import lease as leases
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from tests.crash_points import killed_at_each_operation

TAKE = "import sys; from pathlib import Path; from cosmos.run.directory import RunDir; "
TAKE += "from cosmos.run.lease import Lease; "
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
    with pytest.raises(SupersededError) as stop:
        lease.check()
    who = f"process {pid} on {socket.gethostname()} (job 12, requeues: 1) took over this run at 20"
    assert who in str(stop.value)
    assert str(run.lease) in str(stop.value)
    assert "this process stops" in str(stop.value)


def test_two_leases_of_one_process_are_two(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    first, second = Lease.take(run), Lease.take(run)
    second.check()
    with pytest.raises(SupersededError, match=f"process {os.getpid()} on [^(]* took over"):
        first.check()


def test_a_run_that_was_deleted_is_not_written_into(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    lease = Lease.take(run)
    run.lease.unlink()
    with pytest.raises(SupersededError, match="was deleted or moved"):
        lease.check()


def test_a_broken_job_leaves_the_lease_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path)
    lease = Lease.take(run)
    monkeypatch.setenv("COSMOS_JOB", "12")
    with pytest.raises(ValueError, match="COSMOS_JOB"):
        Lease.take(run)
    lease.check()
    assert json.loads(run.lease.read_text())["job"] == {}


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_damaged_lease_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    run = RunDir(tmp_path)
    lease = Lease.take(run)
    run.lease.write_text(content)
    with pytest.raises(DamagedDataError, match=r"writer\.json: not a lease .*; delete it"):
        lease.check()


def test_nobody_takes_a_run_between_a_check_and_what_is_written_by_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    lease = Lease.take(run)
    with lease.writing():
        taker = threading.Thread(target=Lease.take, args=(run,))
        taker.start()
        time.sleep(0.1)
        assert taker.is_alive()
        lease.check()
    taker.join()
    with pytest.raises(SupersededError), lease.writing():
        raise AssertionError("went on")


def test_a_process_that_hangs_as_it_writes_loses_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOCK_SECONDS", 0.1)
    run = RunDir(tmp_path)

    def hang(lease: Lease) -> None:
        with lease.writing():
            Lease.take(run)
            raise OSError(5, "Input/output error")

    with pytest.raises(SupersededError, match="took over"):
        hang(Lease.take(run))


def test_a_lease_that_is_taken_by_a_process_that_is_killed_is_the_old_one_or_a_whole_new_one(
    tmp_path: Path,
) -> None:
    run = RunDir(tmp_path)
    first = Lease.take(run)
    for _ in killed_at_each_operation(lambda: Lease.take(run), tmp_path):
        leases.read_holder(run.lease)
        with suppress(SupersededError):
            first.check()
        first = Lease.take(run)
        first.check()


def test_a_lease_of_an_older_version_without_a_job_is_read(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    lease = Lease.take(run)
    old = json.loads(run.lease.read_text())
    del old["job"]
    run.lease.write_text(json.dumps(old))
    lease.check()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.01)


def still(run: RunDir) -> None:
    """As if the heart had not beaten for long."""
    os.utime(run.lease, (1000, 1000))


def beats(run: RunDir) -> bool:
    """Return whether the heart beats within some time."""
    return soon(lambda: run.lease.stat().st_mtime > 1000)


def soon(holds: Callable[[], bool]) -> bool:
    waited_until = time.monotonic() + 5
    while not holds() and time.monotonic() < waited_until:
        time.sleep(0.01)
    return holds()


def hearts() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_six_beats_fit_into_the_time_that_a_process_is_taken_to_live() -> None:
    assert leases.ALIVE_SECONDS == 6 * leases.BEAT_SECONDS == 60


@pytest.mark.usefixtures("fast")
def test_inside_the_lease_has_a_heartbeat_and_afterwards_none(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    lease = Lease.take(run)
    with lease.beating():
        for _ in range(3):
            still(run)
            assert beats(run)
        lease.check()
    assert not hearts()
    assert time.time() - run.lease.stat().st_mtime > leases.ALIVE_SECONDS
    lease.check()


def test_the_end_does_not_wait_for_the_next_beat(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(KeyError), Lease.take(RunDir(tmp_path)).beating():
        raise KeyError
    assert time.monotonic() - began < leases.BEAT_SECONDS / 2
    assert not hearts()


@pytest.mark.usefixtures("fast")
def test_the_lease_of_another_is_left_alone(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with Lease.take(run).beating():
        Lease.take(run)
        still(run)
        assert soon(lambda: not hearts())
    assert run.lease.stat().st_mtime == 1000


@pytest.mark.usefixtures("fast")
def test_of_a_run_that_was_deleted_nothing_comes_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with Lease.take(run).beating():
        run.lease.unlink()
        assert soon(lambda: not hearts())
    assert not run.lease.exists()


@pytest.mark.usefixtures("fast")
def test_a_file_system_that_fails_costs_beats_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, failures = RunDir(tmp_path), list[Path]()

    def failing(path: Path, times: tuple[float, float] | None) -> None:
        failures.append(path)
        raise OSError(5, "Input/output error")

    with Lease.take(run).beating():
        with monkeypatch.context() as patch:
            patch.setattr(os, "utime", failing)
            assert soon(lambda: len(failures) > 3)
        still(run)
        assert beats(run)
        run.lease.write_text("{")
        time.sleep(0.05)
    assert not hearts()
