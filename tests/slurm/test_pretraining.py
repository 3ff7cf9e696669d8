"""Pretraining on a real Slurm: over nodes, through requeues, warnings, lost steps, nodes and time limits."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from cosmos.launch.submission import Submission, read_submission
from cosmos.model import checkpoints
from cosmos.run.metrics import read_metrics
from tests.disks import SEEN_BY_NODES, small_disk
from tests.stages.examples import ROOT, TINY, command, cosmos, environment

pytestmark = pytest.mark.slurm

CLUSTER = ROOT / "tests" / "slurm" / "cluster.sh"
RANKS_STEP = 1
"""Number of the ranks' step in a job of several nodes; the one before looks at the folder on each."""
COSMOS = [sys.executable, "-m", "cosmos"]
STEPS = {"short": 15, "long": 240}
"""Steps of each experiment; the long one has enough to be disturbed again and again."""


def experiment(steps: int) -> str:
    return TINY.replace("epochs: 3", f"epochs: {steps // 5}").replace("every_epochs: 3", "every_epochs: 0")


ON_SLURM = {
    "CLUSTER": "slurm",
    "SLURM__NODES": "2",
    "SLURM__CPUS_PER_TASK": "1",
    "SLURM__MINUTES": "20",
    "WORKERS": "0",
    "CHECKPOINT_EVERY_STEPS": "50",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared dataset, and a folder for each experiment."""
    folder = tmp_path_factory.mktemp("slurm")
    for name, steps in STEPS.items():
        (folder / name).mkdir()
        (folder / name / "tiny.yaml").write_text(experiment(steps))
    prepared = cosmos(folder / "short", "prepare", **roots(folder))
    assert prepared.returncode == 0, prepared.stderr
    return folder


def roots(place: Path) -> dict[str, str]:
    """The settings that name the folders of all experiments of a place."""
    return {"DATA_ROOT": str(place / "data"), "RUNS_ROOT": str(place / "runs")}


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> list[float]:
    """The losses of the long experiment's run of two processes that nothing disturbs."""
    _, *module = command(place / "long", "pretrain", "--run", "undisturbed")
    torchrun = [str(ROOT / ".venv" / "bin" / "torchrun"), "--nproc-per-node", "2", "--master-port", "29544"]
    subprocess.run(
        [*torchrun, module[0], "--", *module[1:]],
        cwd=ROOT,
        env=environment(place, WORKERS="0"),
        check=True,
        capture_output=True,
    )
    return losses(place, "undisturbed")


def losses(folder: Path, run: str) -> list[float]:
    """The loss of every step; each must be there once."""
    lines = [line for line in read_metrics(folder / "runs" / run / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


class OnSlurm:
    """`cosmos pretrain` of one run on Slurm, in the background."""

    def __init__(self, place: Path, run: str, experiment: str = "long", **machine: str) -> None:
        self.place, self.run, self.experiment = place, run, experiment
        self.settings = {**roots(place), **ON_SLURM, **machine}
        self.path = Path(self.settings["RUNS_ROOT"]) / run
        self.output = place / f"{run}.txt"
        self.process = self.start()

    def start(self) -> "subprocess.Popen[str]":
        with self.output.open("a") as output:
            return subprocess.Popen(
                command(self.place / self.experiment, "pretrain", "--run", self.run),
                cwd=ROOT,
                env=environment(self.place, **self.settings),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def submission(self) -> Submission:
        record = read_submission(self.path / "job.json")
        assert record is not None
        return record

    def wait_for(self, condition: Callable[[], bool], seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {self.said}"
            assert self.process.poll() is None, self.said
            time.sleep(0.2)

    def wait_for_steps(self, steps: int) -> None:
        """Wait until its newest session has trained so many steps."""
        self.wait_for(lambda: bool(self.sessions))
        first = self.sessions[-1]["step"]
        self.wait_for(lambda: len(read_metrics(self.path / "metrics.jsonl")) >= first + steps)

    @contextmanager
    def started_again(self) -> Iterator[str]:
        """Yield the id of its job in the midst of training; what is done to that starts the job again."""
        self.wait_for_steps(10)
        requeues = self.requeues
        yield self.submission.job_id
        self.wait_for(lambda: len(self.sessions) > len(requeues))
        assert self.requeues[-1] > requeues[-1]

    def finish(self, seconds: float = 400) -> str:
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            pytest.fail(f"still there after {seconds:.0f} s: {self.said}")
        return self.said

    def restart(self) -> None:
        """Kill the command, and start it again."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = self.start()

    def close(self) -> None:
        """Cancel what a test that failed has left, so that the next one has the cluster to itself."""
        if self.process.poll() is None:
            slurm("scancel", self.submission.job_id)
            self.finish()

    @property
    def sessions(self) -> list[dict[str, Any]]:
        record = self.path / "provenance.json"
        return json.loads(record.read_text())["sessions"] if record.exists() else []

    @property
    def requeues(self) -> list[int]:
        return [session["job"]["requeues"] for session in self.sessions]


def slurm(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def weights(folder: Path, run: str, step: int) -> dict[str, torch.Tensor]:
    saved = checkpoints.read_checkpoint(folder / "runs" / run / "checkpoints" / f"step-{step:08}.pt")
    return {**saved.student, **{f"teacher.{n}": v for n, v in saved.teacher.items()}}


def test_two_nodes_with_four_ranks_end_in_the_weights_of_one_process(place: Path) -> None:
    # keys' biases have no gradient but rounding errors, which a smaller epsilon makes into full steps
    rough = ["--pretrain.epsilon", "1.0e-4"]
    alone = cosmos(place / "short", "pretrain", "--run", "alone", *rough, **roots(place), WORKERS="0")
    assert alone.returncode == 0, alone.stderr
    four = command(place / "short", "pretrain", "--run", "four", *rough)
    settings = environment(place, **ON_SLURM, SLURM__TASKS_PER_NODE="2", SLURM__GPUS_PER_NODE="2")
    too_many = {**settings, "COSMOS_SLURM__NODES": "4", "COSMOS_SLURM__PARTITION": "urgent"}
    refused = subprocess.run(four, cwd=ROOT, env=too_many, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "slurm.nodes: 4 nodes are more than the 2 of partition urgent that have as much" in refused.stderr
    assert not (place / "runs" / "four" / "params.yaml").exists()
    done = subprocess.run(four, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    expected, trained = (
        weights(place, "alone", STEPS["short"]),
        weights(place, "four", STEPS["short"]),
    )
    for name in expected:
        torch.testing.assert_close(trained[name], expected[name], rtol=1e-3, atol=1e-5)
    job = json.loads((place / "runs" / "four" / "provenance.json").read_text())["sessions"][0]["job"]
    assert (job["cluster"], job["nodes"]) == ("slurm", ["node0", "node1"])


@pytest.fixture(scope="module")
def attached(place: Path) -> Iterator[OnSlurm]:
    """A run with a short time limit, whose command was killed and run again."""
    run = OnSlurm(place, "attached", SLURM__MINUTES="2", SLURM__WARNING_SECONDS="60")
    run.wait_for(lambda: (run.path / "job.json").exists())
    run.restart()
    yield run
    run.close()


def test_a_command_killed_and_run_again_attaches_to_its_one_job_which_is_listed(attached: OnSlurm) -> None:
    attached.wait_for_steps(5)
    assert "attached" in attached.said
    name = attached.submission.name
    assert len(slurm("sacct", "-X", "-n", f"--name={name}", "-S", "now-1hour", "-o", "JobID").split()) == 1
    env = environment(attached.place, **attached.settings)
    listed = subprocess.run([*COSMOS, "jobs", "--json"], cwd=ROOT, env=env, capture_output=True)
    row = next(row for row in json.loads(listed.stdout) if row["run"] == "attached")
    assert row["state"].startswith("running on node")
    assert row["total_steps"] == STEPS["long"]
    assert row["step"] >= 5


def test_into_its_time_limit(attached: OnSlurm, request: pytest.FixtureRequest) -> None:
    with attached.started_again() as job:
        # rather than train until the warning, which wakes it, or has come by now
        subprocess.run(["scancel", "--signal=STOP", f"{job}.{RANKS_STEP}"])
        undisturbed = request.getfixturevalue("undisturbed")  # meanwhile
    said = attached.finish()
    assert attached.process.returncode == 0, said
    assert losses(attached.place, "attached") == pytest.approx(undisturbed, rel=1e-4)
    assert attached.requeues == sorted(set(attached.requeues))


@pytest.fixture(scope="module")
def disturbed(place: Path) -> Iterator[OnSlurm]:
    """A run of the long experiment that each of the next tests disturbs, until the last one sees its end."""
    run = OnSlurm(place, "disturbed")
    yield run
    run.close()


def test_requeued_by_an_administrator(disturbed: OnSlurm) -> None:
    with disturbed.started_again() as job:
        slurm("scontrol", "requeue", job)
    requeued = f"requeued {disturbed.requeues[-1]} of at most 20 times"
    disturbed.wait_for(lambda: requeued in disturbed.said)


def test_warned(disturbed: OnSlurm) -> None:
    with disturbed.started_again() as job:
        slurm("scancel", "--signal=USR2", job)


def test_preempted_by_a_job_of_another_partition(disturbed: OnSlurm) -> None:
    with disturbed.started_again():
        slurm("srun", "-p", "urgent", "-N", "2", "--exclusive", "true")


def test_with_a_node_lost(disturbed: OnSlurm) -> None:
    with disturbed.started_again() as job:
        slurm(
            "scancel", "--signal=STOP", f"{job}.{RANKS_STEP}"
        )  # a lost node's ranks stand still, and others wait
        try:
            slurm("bash", str(CLUSTER), "kill-node", "node1")
            disturbed.wait_for(lambda: "node1" in slurm("sinfo", "-h", "-t", "down", "-o", "%N"))
        finally:
            slurm("bash", str(CLUSTER), "start-node", "node1")


def test_with_its_step_cancelled(disturbed: OnSlurm) -> None:
    disturbed.wait_for_steps(10)
    before, job = disturbed.requeues, disturbed.submission.job_id
    slurm("scancel", f"{job}.{RANKS_STEP}")
    said = disturbed.finish()
    assert re.search(rf"\*\*\* STEP {job}\.{RANKS_STEP} ON node[01] CANCELLED AT ", said), said
    if disturbed.process.returncode == 0:  # nodes too busy to answer in time: the script takes one for lost
        assert ": requeued\n" in said, said
        assert disturbed.requeues == [*before, before[-1] + 1]
    else:
        assert disturbed.process.returncode == 1, said
        assert f"job {job}: had its step cancelled; the same command goes on" in said, said
        disturbed.process = disturbed.start()
        disturbed.wait_for(lambda: len(disturbed.sessions) > len(before))
        assert disturbed.requeues == [*before, 0]


def test_after_all_that_the_losses_are_those_of_an_undisturbed_run(
    disturbed: OnSlurm, undisturbed: list[float]
) -> None:
    said = disturbed.finish()
    assert disturbed.process.returncode == 0, said
    assert losses(disturbed.place, "disturbed") == pytest.approx(undisturbed, rel=1e-4)


@contextmanager
def hidden(folder: Path, node: str) -> Iterator[None]:
    """An empty disk in the place of a folder, on one node."""
    slurm("bash", str(CLUSTER), "hide", str(folder), node)
    try:
        yield
    finally:
        slurm("bash", str(CLUSTER), "show", str(folder), node)


def test_disks_that_a_node_does_not_see_or_that_are_full_are_named_and_nothing_is_lost(
    place: Path, undisturbed: list[float]
) -> None:
    if subprocess.run(["mountpoint", "--quiet", str(SEEN_BY_NODES)]).returncode:
        pytest.skip("this machine lets nobody mount disks")
    runs, manifest = SEEN_BY_NODES / "runs", place / "data" / "demo" / "train" / "manifest.json"
    with small_disk(runs, "size=1g"), closing(OnSlurm(place, "crowded", RUNS_ROOT=str(runs))) as run:
        saved = run.path / "checkpoints" / "step-00000050.pt"
        run.wait_for(saved.exists)
        used = shutil.disk_usage(runs).used
        slurm("mount", "-o", f"remount,size={used + 65536}", str(runs))
        run.wait_for(lambda: "No space left on device" in run.said)
        assert f"{run.path}/" in run.said
        assert saved.exists()
        slurm("mount", "-o", "remount,size=1g", str(runs))
        with hidden(runs, "node1"):
            run.restart()
            run.wait_for(lambda: "cannot write its folder on node1" in run.said)
        with hidden(place / "data", "node1"):
            run.restart()
            run.wait_for(lambda: f"rank 1 on {socket.gethostname()} alone: {manifest}: no such" in run.said)
        run.restart()
        said = run.finish()
        assert run.process.returncode == 0, said
        assert losses(SEEN_BY_NODES, "crowded") == pytest.approx(undisturbed, rel=1e-4)
