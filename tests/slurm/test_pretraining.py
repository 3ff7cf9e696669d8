"""Pretraining on a real Slurm: over nodes, through requeues, warnings, lost steps, nodes and time limits."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cosmos.launch.submission import Submission, read_submission
from cosmos.model import checkpoints
from cosmos.run.metrics import read_metrics
from tests.stages.examples import ROOT, TINY, command, environment

pytestmark = pytest.mark.slurm

CLUSTER = ROOT / "tests" / "slurm" / "cluster.sh"
STEPS = {"short": 15, "long": 240, "longer": 700}
"""Steps of each experiment: enough to be disturbed in their midst; enough for Slurm to notice a lost node."""


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
    prepare = command(folder / "short", "prepare")
    subprocess.run(prepare, cwd=ROOT, env=environment(folder), check=True)
    return folder


def without_slurm(place: Path, name: str) -> list[float]:
    """The losses of an experiment's run of two processes that nothing disturbs."""
    _, *module = command(place / name, "pretrain", "--run", f"undisturbed-{name}")
    torchrun = [str(ROOT / ".venv" / "bin" / "torchrun"), "--nproc-per-node", "2", "--master-port", "29544"]
    subprocess.run(
        [*torchrun, module[0], "--", *module[1:]],
        cwd=ROOT,
        env=environment(place, WORKERS="0"),
        check=True,
        capture_output=True,
    )
    return losses(place, f"undisturbed-{name}")


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> list[float]:
    return without_slurm(place, "long")


@pytest.fixture(scope="module")
def undisturbed_for_longer(place: Path) -> list[float]:
    return without_slurm(place, "longer")


def losses(folder: Path, run: str) -> list[float]:
    """The loss of every step; each must be there once."""
    lines = [line for line in read_metrics(folder / "runs" / run / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


class OnSlurm:
    """`cosmos pretrain` of one run on Slurm, in the background."""

    def __init__(self, place: Path, run: str, experiment: str = "long", **machine: str) -> None:
        self.place, self.run, self.experiment = place, run, experiment
        self.settings = {**ON_SLURM, **machine}
        self.path = place / "runs" / run
        self.process = self.start()

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command(self.place / self.experiment, "pretrain", "--run", self.run),
            cwd=ROOT,
            env=environment(self.place, **self.settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def submission(self) -> Submission:
        record = read_submission(self.path / "job.json")
        assert record is not None
        return record

    def wait_for(self, condition: Callable[[], bool], seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.2)

    def wait_for_step(self, step: int) -> None:
        self.wait_for(lambda: len(read_metrics(self.path / "metrics.jsonl")) >= step)

    def finish(self, seconds: float = 400) -> str:
        try:
            said, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            pytest.fail(f"still there after {seconds:.0f} s: {self.process.communicate()[0]}")
        return said

    @property
    def requeues(self) -> list[int]:
        sessions = json.loads((self.path / "provenance.json").read_text())["sessions"]
        return [session["job"]["requeues"] for session in sessions]


def slurm(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def weights(folder: Path, run: str, step: int) -> dict[str, torch.Tensor]:
    saved = checkpoints.read_checkpoint(folder / "runs" / run / "checkpoints" / f"step-{step:08}.pt")
    return {**saved.student, **{f"teacher.{n}": v for n, v in saved.teacher.items()}}


def test_two_nodes_with_four_ranks_end_in_the_weights_of_one_process(place: Path) -> None:
    # keys' biases have no gradient but rounding errors, which a smaller epsilon makes into full steps
    rough = ["--pretrain.epsilon", "1.0e-4"]
    alone = command(place / "short", "pretrain", "--run", "alone", *rough)
    subprocess.run(alone, cwd=ROOT, env=environment(place, WORKERS="0"), check=True, capture_output=True)
    four = command(place / "short", "pretrain", "--run", "four", *rough)
    settings = environment(place, **ON_SLURM, SLURM__TASKS_PER_NODE="2", SLURM__GPUS_PER_NODE="2")
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


def test_requeued_by_an_administrator(place: Path, undisturbed: list[float]) -> None:
    run = OnSlurm(place, "requeued")
    run.wait_for_step(STEPS["long"] // 4)
    slurm("scontrol", "requeue", run.submission.job_id)
    said = run.finish()
    assert run.process.returncode == 0, said
    assert "requeued 1 of at most 20 times" in said
    assert losses(place, "requeued") == pytest.approx(undisturbed, rel=1e-4)
    assert run.requeues == [0, 1]


def test_warned(place: Path, undisturbed: list[float]) -> None:
    run = OnSlurm(place, "warned")
    run.wait_for_step(STEPS["long"] // 4)
    slurm("scancel", "--signal=USR2", run.submission.job_id)
    said = run.finish()
    assert run.process.returncode == 0, said
    assert losses(place, "warned") == pytest.approx(undisturbed, rel=1e-4)
    assert run.requeues == [0, 1]


def test_with_its_step_cancelled(place: Path, undisturbed: list[float]) -> None:
    run = OnSlurm(place, "stepless")
    run.wait_for_step(STEPS["long"] // 4)
    job = run.submission.job_id
    slurm("scancel", f"{job}.0")
    said = run.finish()
    assert re.search(rf"\*\*\* STEP {job}\.0 ON node[01] CANCELLED AT ", said), said
    if run.process.returncode == 0:  # nodes too busy to answer the script in time: it takes one for lost
        assert ": requeued\n" in said, said
        assert run.requeues == [0, 1]
    else:
        assert run.process.returncode == 1, said
        assert f"job {job}: had its step cancelled; the same command goes on" in said, said
        run.process = run.start()
        said = run.finish()
        assert run.process.returncode == 0, said
        assert run.requeues == [0, 0]
    assert losses(place, "stepless") == pytest.approx(undisturbed, rel=1e-4)


def test_with_a_node_lost(place: Path, undisturbed_for_longer: list[float]) -> None:
    run = OnSlurm(place, "nodeless", "longer")
    run.wait_for_step(20)
    try:
        slurm("bash", str(CLUSTER), "kill-node", "node1")
        run.wait_for(lambda: "node1" in slurm("sinfo", "-h", "-t", "down", "-o", "%N"))
    finally:
        slurm("bash", str(CLUSTER), "start-node", "node1")
    said = run.finish()
    assert run.process.returncode == 0, said
    assert losses(place, "nodeless") == pytest.approx(undisturbed_for_longer, rel=1e-4)
    assert run.requeues == [0, 1]


def test_into_its_time_limit(place: Path, undisturbed_for_longer: list[float]) -> None:
    run = OnSlurm(place, "timed", "longer", SLURM__MINUTES="2", SLURM__WARNING_SECONDS="60")
    said = run.finish()
    assert run.process.returncode == 0, said
    assert losses(place, "timed") == pytest.approx(undisturbed_for_longer, rel=1e-4)
    assert run.requeues == [*range(len(run.requeues))]
    assert len(run.requeues) > 1


def test_a_command_killed_and_run_again_attaches_to_its_one_job(place: Path) -> None:
    run = OnSlurm(place, "attached", "short")
    run.wait_for(lambda: (run.path / "job.json").exists())
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    run.process = run.start()
    said = run.finish()
    assert run.process.returncode == 0, said
    assert "attached" in said
    name = run.submission.name
    assert len(slurm("sacct", "-X", "-n", f"--name={name}", "-S", "now-1hour", "-o", "JobID").split()) == 1


def test_cancelled_and_listed(place: Path) -> None:
    run = OnSlurm(place, "cancelled")
    run.wait_for_step(5)
    env = environment(place, **ON_SLURM)
    listed = subprocess.run(command(place, "jobs", "--json")[:-2], cwd=ROOT, env=env, capture_output=True)
    row = next(row for row in json.loads(listed.stdout) if row["run"] == "cancelled")
    assert row["state"].startswith("running on node")
    assert row["total_steps"] == STEPS["long"]
    assert row["step"] >= 5
    subprocess.run(command(place, "cancel", "cancelled")[:-2], cwd=ROOT, env=env, check=True)
    said = run.finish()
    assert run.process.returncode == 1
    assert f"job {run.submission.job_id}: was cancelled" in said


def test_preempted_by_a_job_of_another_partition(place: Path, undisturbed: list[float]) -> None:
    run = OnSlurm(place, "preempted")
    run.wait_for_step(STEPS["long"] // 4)
    slurm("srun", "-p", "urgent", "-N", "2", "--exclusive", "true")
    said = run.finish()
    assert run.process.returncode == 0, said
    assert losses(place, "preempted") == pytest.approx(undisturbed, rel=1e-4)
    assert run.requeues == [0, 1]
