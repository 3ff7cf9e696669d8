"""Evaluations on a real Slurm: one as a job, and checkpoints by suites as an array."""

import json
import time
from pathlib import Path

import pytest

from cosmos.launch import slurm
from cosmos.stages.evaluate_job import launch_evaluation
from tests.launch.examples import SMALL
from tests.stages.colours import experiment, here, make_place
from tests.stages.sweeps import job_ids, sweep

pytestmark = pytest.mark.slurm

ON_SLURM = {"CLUSTER": "slurm", "SLURM__CPUS_PER_TASK": "1", "SLURM__ARRAY_PARALLELISM": "2"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_place(tmp_path)
    return tmp_path


def test_an_evaluation_as_a_job_of_two_ranks_ends_as_one_in_this_process(place: Path) -> None:
    request = SMALL.model_copy(update={"nodes": 2, "tasks_per_node": 2})
    there = here(place).model_copy(update={"cluster": "slurm", "slurm": request})
    run = place / "runs" / "tiny"
    evaluated = launch_evaluation(["classification"], experiment(), there, run, "", quiet=False)
    (script,) = run.glob("jobs/*/*_submission.sh")
    assert "#SBATCH --nodes=1\n" in script.read_text()
    (run / "results" / "classification.json").unlink()
    alone = launch_evaluation(["classification"], experiment(), here(place), run, "", quiet=True)
    models = evaluated.results["classification"]["colours"]["models"]
    for which, figures in alone.results["classification"]["colours"]["models"].items():
        assert models[which] == pytest.approx(figures)


def test_an_array_outlives_its_command_and_a_bad_checkpoint_spoils_its_own_rows_alone(place: Path) -> None:
    damaged = place / "damaged.pt"
    damaged.write_bytes(b"not a checkpoint")
    killed = sweep(place, "tiny", str(damaged), **ON_SLURM)
    folder = place / "runs" / "evaluations"
    while killed.poll() is None and not any(job_ids(folder)):
        time.sleep(0.1)
    killed.kill()
    killed.communicate()
    (job,) = job_ids(folder)

    again = sweep(place, "tiny", str(damaged), **ON_SLURM)
    said, told = again.communicate(timeout=120)
    assert again.returncode == 0, told
    assert f"job {job}, submitted" in told
    rows = json.loads(said)
    measured = [(row["checkpoint"], row["suite"], row["model"]) for row in rows if not row["problem"]]
    suites, models = ("retrieval", "classification"), ("student", "teacher")
    assert measured == [("tiny", suite, model) for suite in suites for model in models]
    bad = [row for row in rows if row["problem"]]
    assert [(row["checkpoint"], row["suite"]) for row in bad] == [(str(damaged), suite) for suite in suites]
    assert all(f"(job {job}_{index}; log: " in row["problem"] for index, row in enumerate(bad, 2))
    assert not list(folder.glob("*.json"))

    (script,) = folder.glob("*/*_submission.sh")
    assert "#SBATCH --array=0-3%2\n" in script.read_text()
    states = [state.state for state in slurm.job_states(job, 4)]
    assert states == ["COMPLETED", "COMPLETED", "FAILED", "FAILED"]
