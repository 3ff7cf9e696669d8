"""The flows on a real Slurm: a worker is killed, a rerun attaches, and cancelling ends the job."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from cosmos.launch.submission import read_submission
from tests.flows.served import DOWN, LASTING, UP, Served
from tests.workspaces import checkout

pytestmark = pytest.mark.slurm

REQUEST = {"cpus_per_task": 1, "minutes": 20}


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(checkout(tmp_path_factory.mktemp("flows") / "checkout", LASTING))
    up = served.run(*UP)
    assert up.returncode == 0, up.stdout + up.stderr
    yield served
    served.run(*DOWN)


def kill_all(served: Served, run: str) -> None:
    """The worker and the flow run's process, as a machine that goes down would."""
    worker = int((served.folder / ".prefect" / "worker.pid").read_text().split()[0])
    for process in (worker, int(served.flow_run(run)["infrastructure_pid"])):
        os.kill(process, signal.SIGKILL)


def jobs(name: str) -> list[str]:
    """The states of all jobs of this name, running or over."""
    command = ["sacct", "-X", "-n", "-P", f"--name={name}", "-S", "now-1hour", "-o", "State"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split()[0] for line in lines]


def shown(served: Served, run: str) -> dict[str, str]:
    """The artifacts of a flow run, of its last try, by key."""
    artifacts = sorted(served.of(run, "artifacts"), key=lambda artifact: str(artifact["created"]))
    return {artifact["key"]: artifact["data"] for artifact in artifacts}


def test_a_rerun_attaches_to_the_job_of_a_killed_worker_and_cancelling_ends_it(served: Served) -> None:
    run = served.begin("pipeline/slurm", slurm=REQUEST)
    served.wait_for(lambda: served.steps() > 10)
    record = read_submission(
        served.folder / (served.folder / "pipeline/model.run").read_text().strip() / "job.json"
    )
    assert record is not None
    kill_all(served, run)

    up = served.run(*UP)
    assert "the server runs already" in up.stdout, up.stdout + up.stderr
    assert served.state(run) == "Crashed"
    assert served.run("prefect", "flow-run", "retry", run).returncode == 0
    served.wait_for(lambda: f"job {record.job_id}: attached" in served.log(run))
    assert jobs(record.name) == ["RUNNING"]
    served.wait_for(lambda: f"| job | {record.job_id} |" in shown(served, run)["pretraining"], seconds=30)

    assert served.run("prefect", "flow-run", "cancel", run).returncode == 0
    served.wait_for(lambda: served.state(run) == "Cancelled")
    served.wait_for(lambda: jobs(record.name) == ["CANCELLED"])
    served.wait_for(lambda: "| state | running" not in shown(served, run)["pretraining"], seconds=30)
