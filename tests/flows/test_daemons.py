"""Processes that outlive the command which starts them."""

import errno
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import lock_descriptor

from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError
from flows.daemons import Daemon
from tests.disks import small_disk


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Daemon]:
    code = "print('begun', flush=True); import time; time.sleep(60)"
    daemon = Daemon("sleeper", (sys.executable, "-c", code), tmp_path / "home")
    yield daemon
    daemon.stop()


def test_it_runs_from_its_start_to_its_stop(sleeper: Daemon) -> None:
    assert sleeper.running() is None
    sleeper.start("at port 4200")
    running = sleeper.running()
    assert running is not None
    assert running.note == "at port 4200"
    os.kill(running.id, 0)
    with pytest.raises(CosmosError, match="the sleeper is being started by another command"):
        sleeper.start()
    assert sleeper.stop()
    assert sleeper.running() is None
    assert not sleeper.stop()


def test_one_that_was_killed_does_not_run_whatever_its_file_says(sleeper: Daemon) -> None:
    sleeper.start()
    running = sleeper.running()
    assert running is not None
    os.kill(running.id, signal.SIGKILL)
    os.waitpid(running.id, 0)
    assert sleeper.file.read_text().startswith(str(running.id))
    assert sleeper.running() is None


def test_one_of_another_machine_that_has_the_same_folder_is_left_alone(sleeper: Daemon) -> None:
    sleeper.start("at port 4200")
    right = sleeper.file.read_text()
    running = sleeper.running()
    assert running is not None
    sleeper.file.write_text(f"{running.id} at port 4200\nlogin2")
    for command in (sleeper.running, sleeper.stop):
        with pytest.raises(InputError, match=r"sleeper\.pid: the sleeper runs on login2; give the command"):
            command()
    os.kill(running.id, 0)
    sleeper.file.write_text(f"{running.id} at port 4200")
    assert sleeper.running() == running, "a file from before machines were noted"
    sleeper.file.write_text(right)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import json; json.loads('{')", "json.decoder.JSONDecodeError: Expecting property name"),
        ("import sys; sys.exit('no port')", "no port"),
        ("", "it said nothing"),
    ],
)
def test_one_that_ends_by_itself_is_explained_in_a_line(code: str, reason: str, tmp_path: Path) -> None:
    daemon = Daemon("sleeper", (sys.executable, "-c", code), tmp_path, "sleep more")
    daemon.start()
    while daemon.running():
        time.sleep(0.05)
    message = daemon.describe_end()
    assert message.startswith(f"the sleeper ended: {reason}")
    assert message.endswith(f"{daemon.log} has more; sleep more")
    assert "\n" not in message


def test_a_process_that_another_command_is_starting_has_no_id_yet(sleeper: Daemon) -> None:
    sleeper.start()
    text = sleeper.file.read_text()
    sleeper.file.write_text("")
    with pytest.raises(CosmosError, match="the sleeper is being started by another command"):
        sleeper.running()
    sleeper.file.write_text(text)


@pytest.mark.parametrize("text", ["no id", pytest.param("9" * 6000, id="a large one"), "-1 x"])
def test_a_file_that_holds_no_id_is_named(sleeper: Daemon, text: str) -> None:
    sleeper.start()
    right = sleeper.file.read_text()
    sleeper.file.write_text(text)
    with pytest.raises(DamagedDataError, match=r"sleeper\.pid: holds no id of a process"):
        sleeper.running()
    sleeper.file.write_text(right)


def test_one_whose_id_finds_no_room_on_the_disk_is_ended(tmp_path: Path) -> None:
    daemon = Daemon("sleeper", (sys.executable, "-c", "import time; time.sleep(60)"), tmp_path / "disk")
    with small_disk(daemon.folder, "size=16k"):
        daemon.file.touch()
        daemon.log.touch()
        with (daemon.folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        with pytest.raises(TransientError, match=r"sleeper\.pid: No space left on device; free space"):
            daemon.start()
        while daemon.file.exists() and not lock_is_free(daemon.file):
            time.sleep(0.05)
        assert daemon.running() is None


def lock_is_free(path: Path) -> bool:
    with path.open() as file:
        return lock_descriptor(file.fileno(), blocking=False)


def test_a_file_system_without_locks_is_named(sleeper: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with pytest.raises(
            InputError, match=r"sleeper.pid: cannot be locked \(Function not implemented\); work in"
        ):
            sleeper.start()
    assert sleeper.running() is None
