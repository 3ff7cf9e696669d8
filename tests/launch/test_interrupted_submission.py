"""Submissions that are killed at any moment, and two at once: there is one job."""

import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from cosmos.launch import submission
from cosmos.launch.local import CONTROLLER
from cosmos.launch.once import submit_once
from cosmos.run import provenance
from tests.crash_points import killed_at_each_operation
from tests.launch import examples
from tests.launch.examples import Launcher


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launcher:
    """A launcher that copies no code, and whose jobs are in the list of processes at once, or never."""
    monkeypatch.setattr(provenance, "freeze_code", lambda folder: folder.mkdir())
    monkeypatch.setattr(submission, "IN_FLIGHT", {})
    return Launcher("local", tmp_path / "run")


def controllers(folder: Path) -> list[int]:
    """The processes that control jobs whose files are below a folder."""
    commands = {int(process.name): words_of(process) for process in Path("/proc").glob("[0-9]*")}
    return [
        process
        for process, words in commands.items()
        if CONTROLLER.encode() in words and any(word.startswith(os.fsencode(folder)) for word in words)
    ]


def words_of(process: Path) -> list[bytes]:
    """The command of a process, by its folder of /proc; none of one that has ended or is the kernel's."""
    deadline = time.monotonic() + 1
    with suppress(OSError):
        while not (words := (process / "cmdline").read_bytes()) and time.monotonic() < deadline:
            (process / "exe").readlink()  # one that has just begun has a program, but not its words
            time.sleep(0.001)
        return words.split(b"\0")
    return []


def end(folder: Path) -> None:
    for process in controllers(folder):
        os.killpg(process, signal.SIGKILL)
    shutil.rmtree(folder)


def test_the_same_command_after_a_kill_at_any_moment_has_one_job(launcher: Launcher, tmp_path: Path) -> None:
    spec = launcher.spec(partial(examples.wait_for, tmp_path / "never"))
    attached = 0
    for number in killed_at_each_operation(lambda: submit_once(spec), launcher.folder):
        begun = controllers(launcher.folder)
        job, is_new = submit_once(spec)
        assert controllers(launcher.folder) == [int(job.job_id)], number
        assert is_new != bool(begun), number
        assert (job.folder / f"{job.job_id}_submitted.pkl").exists(), number
        assert submit_once(spec) == (job, False)
        attached += not is_new
        end(launcher.folder)
    assert attached >= 3  # killed before the call had its name, and before the record had the job's
    end(launcher.folder)


def test_two_commands_at_once_have_one_job(launcher: Launcher, tmp_path: Path) -> None:
    spec = launcher.spec(partial(examples.wait_for, tmp_path / "never"))
    with ThreadPoolExecutor(4) as commands:
        jobs = [job for job, _ in commands.map(submit_once, [spec] * 4)]
    assert controllers(launcher.folder) == [int(jobs[0].job_id)]
    assert set(jobs) == {jobs[0]}
    end(launcher.folder)
