"""Arrays, and a Slurm without accounting."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cosmos.launch import slurm, watch
from cosmos.launch.once import attachable_submission
from cosmos.launch.submission import submit_job, write_submission
from tests.launch import examples
from tests.launch.conftest import ROOT
from tests.launch.examples import SMALL, Launcher

pytestmark = pytest.mark.slurm


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launcher:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(watch, "GRACE", 1.0)
    return Launcher("slurm", tmp_path)


@pytest.fixture
def no_accounting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All programs of this machine but sacct."""
    (tmp_path / "bin").mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            link = tmp_path / "bin" / program.name
            if program.name != "sacct" and not link.is_symlink():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_twenty_four_jobs_are_one_array_of_which_eight_run_at_a_time(
    launcher: Launcher, tmp_path: Path
) -> None:
    request = SMALL.model_copy(update={"array_parallelism": 8, "memory_gb": 1.0})
    calls = [partial(examples.mark_and_wait, tmp_path, index, 0.5) for index in range(24)]
    outcomes = launcher(*calls, request=request)
    assert [outcome.failure for outcome in outcomes] == [None] * 24
    assert max(outcome.value for outcome in outcomes) <= 8
    assert len(list(tmp_path.glob("jobs/*/*_submission.sh"))) == 1
    assert any("running" in said and "pending" in said for said in launcher.said)


def test_without_accounting_values_and_failures_are_told_too(launcher: Launcher, no_accounting: None) -> None:
    assert slurm._ask("sacct").returncode == 127
    assert launcher(partial(examples.add, 2, 3))[0].value == 5
    launcher.record.unlink()
    failure = launcher(examples.exit_without_a_word)[0].failure
    assert failure is not None
    assert (failure.cause, failure.exit_status) == ("failed", "3")


def test_a_job_that_is_preempted_for_good_is_submitted_again_once_whoever_waits_for_it(
    launcher: Launcher, tmp_path: Path
) -> None:
    request = SMALL.model_copy(update={"partition": "scavenge", "max_requeues": 1})
    call = partial(examples.wait_for, tmp_path / "signal")
    with ThreadPoolExecutor(2) as commands:
        waiting = [commands.submit(launcher, call, request=request) for _ in range(2)]
        while not list(tmp_path.glob("jobs/*/attempts-0.jsonl")):
            time.sleep(0.1)
        subprocess.run(["srun", "--partition=urgent", "--nodes=2", "--exclusive", "true"], check=True)
        (tmp_path / "signal").write_text("go")
        assert [command.result()[0].value for command in waiting] == ["go", "go"]
    assert len(list(tmp_path.glob("jobs/*/*_submission.sh"))) == 2
    assert sum("was preempted for good" in said and "submitted again" in said for said in launcher.said) == 2


def test_an_element_that_is_warned_starts_again(launcher: Launcher, tmp_path: Path) -> None:
    calls = [partial(examples.count_starts, tmp_path / f"starts-{index}", index) for index in range(2)]
    assert [outcome.value for outcome in launcher(*calls)] == [1, 2]


def test_jobs_of_several_ranks_on_one_node_do_not_meet_each_other(launcher: Launcher) -> None:
    request = SMALL.model_copy(update={"tasks_per_node": 2, "sbatch": ("--nodelist=node0",)})
    outcomes = launcher(examples.describe_ranks, examples.describe_ranks, request=request)
    assert [outcome.value["ranks"] for outcome in outcomes] == ["0,1", "0,1"]
    assert len({outcome.value["port"] for outcome in outcomes}) == 2


def test_a_job_that_takes_more_memory_than_it_asked_for_is_told_so(launcher: Launcher) -> None:
    request = SMALL.model_copy(update={"memory_gb": 0.5})
    failure = launcher(partial(examples.hoard, 1500), request=request)[0].failure
    assert failure is not None
    assert failure.cause.startswith("ran out of memory")


def test_a_command_killed_between_sbatch_and_its_record_finds_the_job_by_its_name(
    launcher: Launcher, tmp_path: Path
) -> None:
    call = partial(examples.wait_for, tmp_path / "signal")
    sent = submit_job(launcher.spec(call))
    write_submission(launcher.record, replace(sent, job_id=""))
    (sent.folder / f"{sent.job_id}_submitted.pkl").rename(sent.folder / f"{'0' * 32}.pkl")
    assert attachable_submission(launcher.record) == sent
    (tmp_path / "signal").write_text("go")
    assert launcher(call)[0].value == "go"
