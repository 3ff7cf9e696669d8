"""Jobs as processes of this machine: which processes are whose."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.errors import CosmosError, HangError, InputError, StoppedError
from cosmos.launch.local import CONTROLLER, LocalCluster, visible_gpus
from cosmos.launch.once import submit_once
from cosmos.launch.watch import wait_for_outcomes
from tests.launch import examples
from tests.launch.conftest import ROOT
from tests.launch.examples import Launcher


@pytest.fixture
def controllers(tmp_path: Path) -> list[subprocess.Popen[bytes]]:
    """An array's own process and one of its jobs', as `ps` shows them; both bear the submission's token."""
    wait = [sys.executable, "-c", "input()", CONTROLLER, str(tmp_path / "c0ffee00")]
    return [subprocess.Popen(wait, stdin=subprocess.PIPE) for _ in range(2)]


def test_a_job_leads_a_session_of_its_own_and_writes_nothing_into_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    launcher = Launcher("local", tmp_path)
    popen = subprocess.Popen
    (outcome,) = launcher(examples.session_of_controller)
    controller, session = outcome.value
    assert controller == session
    assert session != os.getsid(0)
    assert subprocess.Popen is popen
    assert capfd.readouterr() == ("", "")
    assert next(tmp_path.glob("jobs/*/controller.txt")).is_file()


def test_an_array_may_have_a_limit_of_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    request = JobRequest(cpus_per_task=1, minutes=1)
    calls = [partial(examples.add, 1, 2), partial(examples.add, 3, 4)]
    assert [outcome.value for outcome in Launcher("local", tmp_path)(*calls, request=request)] == [3, 7]


@pytest.mark.slow
def test_a_rank_that_is_killed_or_stopped_is_named_and_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    request = JobRequest(cpus_per_task=1, tasks_per_node=2, minutes=5)
    launchers = [Launcher("local", tmp_path / name) for name in ("killed", "stopped")]
    calls = [partial(examples.end_on, 0, number) for number in (signal.SIGKILL, signal.SIGSTOP)]
    jobs = [
        submit_once(launcher.spec(call, request=request))[0]
        for launcher, call in zip(launchers, calls, strict=True)
    ]
    killed, stopped = (wait_for_outcomes(job, print, from_start=True)[0].failure for job in jobs)
    assert killed and stopped and killed.rank and stopped.rank  # noqa: PT018
    assert (killed.rank.rank, killed.error) == (1, CosmosError)
    assert re.match(r"rank 0 \(\S+, pid \d+\) ended while others waited in ", killed.summary)
    assert (stopped.rank.rank, stopped.error) == (1, HangError)
    assert "missing: rank 0 " in stopped.summary
    assert not any(job.is_alive() for job in jobs)


def test_several_gpus_are_those_that_this_process_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (visible_gpus(0), visible_gpus(2)) == ([], ["0", "1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    assert visible_gpus(2) == ["4", "6"]
    with pytest.raises(InputError, match=r"slurm\.gpus_per_node: 4 GPUs"):
        visible_gpus(4)


def test_each_process_of_a_submission_is_its_own_whatever_its_number(
    controllers: list[subprocess.Popen[bytes]],
) -> None:
    # A job of an array may get a lower number than the array: numbers begin anew after the highest.
    cluster, name = LocalCluster(), "run-c0ffee00"
    array, job = (str(process.pid) for process in controllers)
    try:
        assert cluster.find(name) == array
        for number in (array, job):
            assert [state.state for state in cluster.states(number, name, 1)] == ["RUNNING"]
        assert [state.state for state in cluster.states("1", name, 1)] == ["GONE"]
        cluster.cancel(job, name)
        assert controllers[1].wait(10) < 0
        assert [state.state for state in cluster.states(job, name, 2)] == ["GONE", "GONE"]
        assert cluster.find(name) == array
    finally:
        for process in controllers:
            process.kill()
            process.wait()


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3])
def test_a_job_that_is_cancelled_as_it_starts_was_asked_to_stop(tmp_path: Path, seconds: float) -> None:
    launcher = Launcher("local", tmp_path)
    job, _ = submit_once(launcher.spec(partial(examples.wait_for, tmp_path / "never")))
    time.sleep(seconds)
    job.cancel()
    (outcome,) = wait_for_outcomes(job, launcher.said.append, from_start=True)
    assert outcome.failure
    assert outcome.failure.error is StoppedError
    assert "stopped by SIGTERM; the same command continues" in outcome.failure.summary


@pytest.mark.parametrize("has_begun", [False, True])
def test_an_array_that_is_cancelled_waits_for_its_jobs_to_stop_and_begins_no_other(
    tmp_path: Path, has_begun: bool
) -> None:
    launcher, files = Launcher("local", tmp_path), [tmp_path / "first", tmp_path / "second"]
    request = examples.SMALL.model_copy(update={"array_parallelism": 1})
    calls = [partial(examples.stop_slowly, file) for file in files]
    array, _ = submit_once(launcher.spec(*calls, request=request))
    while has_begun and not files[0].exists():
        time.sleep(0.1)
    array.cancel()
    until = time.monotonic() + 60
    while array.is_alive():
        assert time.monotonic() < until
        array.cancel()  # once more, which changes nothing
        time.sleep(0.1)
    assert [file.read_text() for file in files if file.exists()] == ["saved"] * has_begun
    outcomes = wait_for_outcomes(array, launcher.said.append, from_start=True)
    failures = [outcome.failure for outcome in outcomes]
    assert [failure and failure.error for failure in failures] == [StoppedError] * 2
    assert failures[1]
    assert "stopped by SIGTERM before it began; the same command continues" in failures[1].summary
    assert not launcher(partial(examples.add, 2, 3))[0].failure


def test_a_job_of_another_user_is_not_ones_own_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("cosmos.launch.local._controllers", lambda name: ["812"])
    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(InputError, match="job 812 is a process of another user"):
        LocalCluster().cancel("812", "cosmos-mine-5e0c11aa")


DISTURBED = """
import os, signal, threading
from cosmos.launch.local import LocalCluster

signal.signal(signal.SIGTERM, lambda number, frame: None)
over = threading.Event()


def disturb():
    while not over.wait(0.002):
        os.killpg(0, signal.SIGTERM)


threading.Thread(target=disturb).start()
try:
    print([LocalCluster().find("cosmos-none-0a") for _ in range(3)])
finally:
    over.set()
"""
"""A process whose group gets SIGTERM all the time, which it survives, while it looks for a job."""


def test_a_signal_to_the_process_group_is_no_answer_about_a_job() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISTURBED], cwd=ROOT, capture_output=True, text=True, start_new_session=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['', '', '']\n", "")
