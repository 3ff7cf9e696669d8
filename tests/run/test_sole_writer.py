import json
import logging
import multiprocessing
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cosmos.errors import TransientError
from cosmos.run import sole_writer as module
from cosmos.run.lease import ALIVE_SECONDS
from cosmos.run.sole_writer import Holder, sole_writer

PROCESSES = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "SETTLING_SECONDS", 0.05)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / ".preparing"


def without_locks(*_: object, **__: object) -> bool:
    raise OSError(38, "Function not implemented")


def write_alone(file: Path, log: Path) -> None:
    """Log when this process begins and ends to be the writer."""
    with sole_writer(file, "it is written"):
        for word in ("begins", "ends"):
            with log.open("a") as lines:
                lines.write(f"{word}\n")
            time.sleep(0.03)


@pytest.mark.parametrize("has_locks", [True, False])
def test_processes_write_one_after_another(
    has_locks: bool, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_locks:
        monkeypatch.setattr(module, "lock_descriptor", without_locks)
    processes = [PROCESSES.Process(target=write_alone, args=(file, tmp_path / "log")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "log").read_text().split() == ["begins", "ends"] * 4
    assert not file.parent.exists()


def test_a_process_that_waits_says_for_whom(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    def wait() -> None:
        with sole_writer(file, "data/things: is being prepared"):
            pass

    with ThreadPoolExecutor() as pool:
        with sole_writer(file, ""):
            waiting = pool.submit(wait)
            while not caplog.records:
                time.sleep(0.01)
            assert not waiting.done()
        waiting.result(timeout=60)
    assert caplog.messages == [f"data/things: is being prepared by {Holder.here()}; waiting for it"]
    assert caplog.records[0].levelno == logging.WARNING


def hold_until_killed(file: Path) -> None:
    with sole_writer(file, ""):
        (file.parent / "data").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_killed_holder_blocks_nobody(has_locks: bool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_locks:
        monkeypatch.setattr(module, "lock_descriptor", without_locks)
    process = PROCESSES.Process(target=hold_until_killed, args=(file,))
    process.start()
    process.join()
    assert file.exists()
    began = time.monotonic()
    with sole_writer(file, ""):
        assert file.exists()
    assert time.monotonic() - began < ALIVE_SECONDS / 2
    assert [path.name for path in file.parent.iterdir()] == ["data"]


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_a_holder_on_another_host_perhaps_of_this_name_is_waited_for_while_its_heart_beats(
    host: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"host": f"{host}+1a2b3c4d", "pid": 7}))

    def die() -> None:
        while not caplog.records:
            time.sleep(0.01)
        os.utime(file, (0, time.time() - ALIVE_SECONDS))

    with ThreadPoolExecutor() as pool:
        dying = pool.submit(die)
        with sole_writer(file, "it is prepared"):
            assert dying.done()
    assert caplog.messages == [f"it is prepared by process 7 on {host}; waiting for it"]


@pytest.mark.parametrize("content", ["", "{", "[7]", '{"host": 3, "pid": "x"}', "\0" * 30])
def test_a_file_that_nobody_signed_blocks_nobody(content: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with sole_writer(file, ""):
        pass


def test_a_group_that_shares_a_folder_may_take_the_place_of_a_killed_holder(file: Path) -> None:
    mask = os.umask(0o002)
    try:
        with sole_writer(file, "is being written"):
            assert file.stat().st_mode & 0o020
    finally:
        os.umask(mask)


def test_a_folder_that_is_removed_meanwhile_is_no_error(file: Path) -> None:
    with sole_writer(file, ""):
        file.unlink()
        file.parent.rmdir()
        with sole_writer(file, ""):
            assert file.exists()


def test_a_full_disk_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", write)
    with pytest.raises(TransientError, match=f"{file}: No space left"), sole_writer(file, ""):
        pass


def test_a_holder_whose_name_cannot_be_read_keeps_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.parent.mkdir()
    file.write_text(content := '{"host": "elsewhere", "pid": 7}')

    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(module, "open_regular", fail)
    with pytest.raises(TransientError, match=f"{file}: Input/output error"), sole_writer(file, ""):
        pass
    assert file.read_text() == content


def test_a_dead_holder_with_a_clock_ahead_is_not_waited_for_until_the_clocks_meet(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIVE_SECONDS", 0.2)
    file.parent.mkdir()
    file.write_text('{"host": "elsewhere", "pid": 7}')
    os.utime(file, (0, time.time() + 3600))
    began = time.monotonic()
    with sole_writer(file, ""):
        assert 0.2 <= time.monotonic() - began < 30
