"""Submissions that are killed at any moment, and two at once: there is one job."""

import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
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
    time.sleep(0.01)  # a process that has just begun is in the list without its words
    commands = {
        int(path.parent.name): path.read_bytes().split(b"\0") for path in Path("/proc").glob("[0-9]*/cmdline")
    }
    return [
        process
        for process, words in commands.items()
        if CONTROLLER.encode() in words and any(word.startswith(os.fsencode(folder)) for word in words)
    ]


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
