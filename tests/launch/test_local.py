"""Jobs as processes of this machine: which processes are whose."""

import subprocess
import sys
from pathlib import Path

import pytest

from cosmos.launch.local import CONTROLLER, LocalCluster


@pytest.fixture
def controllers(tmp_path: Path) -> list[subprocess.Popen[bytes]]:
    """An array's own process and one of its jobs', as `ps` shows them; both bear the submission's token."""
    wait = [sys.executable, "-c", "input()", CONTROLLER, str(tmp_path / "c0ffee00")]
    return [subprocess.Popen(wait, stdin=subprocess.PIPE) for _ in range(2)]


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
