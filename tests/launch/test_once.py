"""Launching, on every cluster that is here."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    DivergedError,
    InputError,
    NotPermittedError,
    PreemptedError,
    RequeueLimitError,
    StoppedError,
    SupersededError,
    TransientError,
)
from cosmos.launch import once, watch
from cosmos.launch.once import (
    attachable_submission,
    launch,
    outcome_with_resubmissions,
    outcomes_through_preemption,
)
from cosmos.launch.outcome import CallFailure, CallOutcome
from cosmos.launch.submission import Call, Submission, read_submission, submit_job
from cosmos.launch.watch import wait_for_outcomes
from tests.disks import SEEN_BY_NODES, small_disk
from tests.faults.kinds.watchers import PreemptingCluster
from tests.launch import examples
from tests.launch.conftest import ROOT
from tests.launch.examples import SMALL, Launcher
from tests.other_users import BOB, acting_as, only_root_is_others, shared_folder


def test_a_call_delivers_its_value(launcher: Launcher) -> None:
    (outcome,) = launcher(partial(examples.add, 2, 3))
    assert (outcome.value, outcome.failure) == (5, None)


def test_the_same_launch_again_runs_nothing_and_delivers_the_same(launcher: Launcher, tmp_path: Path) -> None:
    call = partial(examples.count_starts, tmp_path / "starts", 0)
    assert [launcher(call)[0].value, launcher(call)[0].value] == [1, 1]
    assert any("attached" in said for said in launcher.said)


def test_a_failure_comes_with_traceback_and_log_and_a_new_launch_tries_again(
    launcher: Launcher, tmp_path: Path
) -> None:
    failure = launcher(partial(examples.fail_on, 0))[0].failure
    assert failure is not None
    assert failure.rank is not None
    assert failure.rank.rank == 0
    assert "KeyError: 'sample 7 has no caption'" in str(failure)
    assert f"log: {launcher.folder / 'jobs'}" in str(failure)
    assert launcher(partial(examples.add, 2, 3))[0].value == 5


def test_a_failure_has_the_class_of_the_error_in_the_job(launcher: Launcher) -> None:
    classes: dict[Exception, type[CosmosError]] = {
        InputError("no such key"): InputError,
        OSError(errno.ENOSPC, "no space left on device"): TransientError,
        SupersededError("another process writes"): SupersededError,
        KeyError("caption"): CosmosError,
    }
    outcomes = launcher(*(partial(examples.fail_with, error) for error in classes))
    failures = [outcome.failure for outcome in outcomes]
    assert [failure and type(failure.exception()) for failure in failures] == [*classes.values()]
    logs = [failure.log for failure in failures if failure and failure.log.exists()]
    assert ["Traceback" in log.read_text() for log in logs] in ([], [False, False, False, True])


def test_several_calls_are_one_array_and_each_has_its_outcome(launcher: Launcher) -> None:
    calls: list[Call] = [
        partial(examples.add, 1, 1),
        partial(examples.fail_on, 0),
        partial(examples.add, 2, 2),
    ]
    first, second, third = launcher(*calls)
    assert (first.value, third.value) == (2, 4)
    assert second.failure is not None
    record = read_submission(launcher.record)
    assert record is not None
    assert record.num_calls == 3


def test_ranks_of_a_node_meet_where_no_other_machine_can_reach_them(job_launcher: Launcher) -> None:
    request = SMALL.model_copy(update={"tasks_per_node": 2})
    (outcome,) = job_launcher(examples.describe_ranks, request=request)
    assert outcome.failure is None, str(outcome.failure)
    assert outcome.value["ranks"] == "0,1"
    assert outcome.value["addresses"] == ["0100007F"]


def test_a_rank_that_fails_is_named_and_the_others_are_ended(job_launcher: Launcher) -> None:
    request = SMALL.model_copy(update={"tasks_per_node": 2})
    failure = job_launcher(partial(examples.fail_on, 1), request=request)[0].failure
    assert failure is not None
    assert failure.rank is not None
    assert failure.rank.rank == 1


def test_a_warning_starts_the_job_again_where_it_was(job_launcher: Launcher, tmp_path: Path) -> None:
    (outcome,) = job_launcher(partial(examples.count_starts, tmp_path / "starts", 2))
    assert outcome.value == 3
    record = read_submission(job_launcher.record)
    assert record is not None
    assert [attempt.requeues for attempt in record.calls[0].attempts()] == [0, 1, 2]


def test_a_job_is_requeued_so_many_times_and_no_more(job_launcher: Launcher, tmp_path: Path) -> None:
    request = SMALL.model_copy(update={"max_requeues": 1})
    call = partial(examples.count_starts, tmp_path / "starts", 9)
    failure = job_launcher(call, request=request)[0].failure
    assert failure is not None
    assert "requeued 1 times, as often as slurm.max_requeues" in str(failure)
    assert failure.error is RequeueLimitError
    assert (tmp_path / "starts").read_text() == "xx"


def test_a_job_that_dies_without_a_word_is_noticed(job_launcher: Launcher) -> None:
    failure = job_launcher(examples.exit_without_a_word)[0].failure
    assert failure is not None
    assert failure.rank is None
    assert "log: " in str(failure)


def test_a_job_runs_the_code_of_its_submission(job_launcher: Launcher) -> None:
    (outcome,) = job_launcher(examples.code_that_runs)
    assert Path(outcome.value).is_relative_to(job_launcher.folder / "jobs")


def test_an_array_runs_a_few_at_a_time(job_launcher: Launcher, tmp_path: Path) -> None:
    request = SMALL.model_copy(update={"array_parallelism": 2})
    calls = [partial(examples.mark_and_wait, tmp_path, index, 1.0) for index in range(3)]
    outcomes = job_launcher(*calls, request=request)
    assert max(outcome.value for outcome in outcomes) <= 2


def test_a_command_killed_while_its_job_runs_finds_it_again(job_launcher: Launcher, tmp_path: Path) -> None:
    call = partial(examples.wait_for, tmp_path / "signal")
    code = (
        "import pickle, sys; from pathlib import Path; from tests.launch.examples import Launcher;"
        "Launcher(sys.argv[1], Path(sys.argv[2]))(pickle.loads(bytes.fromhex(sys.argv[3])))"
    )
    command = [sys.executable, "-c", code, job_launcher.cluster, str(tmp_path), pickle.dumps(call).hex()]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    while not (
        job_launcher.record.exists()
        and (submission := read_submission(job_launcher.record))
        and submission.job_id
    ):
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert attachable_submission(job_launcher.record) == submission
    (tmp_path / "signal").write_text("go")
    assert job_launcher(call)[0].value == "go"


def test_a_cancelled_job_ends(job_launcher: Launcher, tmp_path: Path) -> None:
    call = partial(examples.wait_for, tmp_path / "never")
    submission = submit_job(job_launcher.spec(call))
    while not submission.calls[0].attempts():
        time.sleep(0.1)
    submission.cancel()
    began = time.monotonic()
    while submission.is_alive():
        assert time.monotonic() - began < 60
        time.sleep(0.2)
    assert not submission.is_finished()
    (outcome,) = wait_for_outcomes(submission, lambda _: None, from_start=False)
    assert outcome.failure
    is_local = submission.cluster == "local"
    assert outcome.failure.error is (StoppedError if is_local else CosmosError)
    assert ("was asked to stop; all is saved" if is_local else "was cancelled") in str(outcome.failure)


def test_a_job_that_the_network_ended_is_submitted_again(
    job_launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "RESUBMISSION_SECONDS", (0.0,))
    call, said = partial(examples.fail_at_first, tmp_path / "tried"), job_launcher.said
    outcome = outcome_with_resubmissions(lambda _: list(job_launcher(call)), 0, said.append)
    assert outcome.value == "done"
    assert len([path for path in (tmp_path / "jobs").iterdir() if path.is_dir()]) == 2
    assert any("the network is away" in text and "submitted again in 0 s" in text for text in said)


def test_a_job_that_fills_the_disk_says_so_by_its_class(job_launcher: Launcher, tmp_path: Path) -> None:
    disk = (SEEN_BY_NODES if job_launcher.cluster == "slurm" else tmp_path) / "filled"
    with small_disk(disk, "size=8m"):
        (outcome,) = Launcher(job_launcher.cluster, disk)(partial(examples.fill_disk, disk))
        assert outcome.failure
        assert outcome.failure.error is TransientError
        assert "No space left on device" in outcome.failure.summary


def test_a_job_that_is_preempted_for_good_is_submitted_again_as_often_as_it_may_be_requeued() -> None:
    said, seen = list[str](), list[int | None]()
    ends = iter([failing(PreemptedError, left=4), CallOutcome.of(3), failing(InputError)])

    def attempt(ended: CallFailure | None) -> list[CallOutcome]:
        seen.append(ended.requeues_left if ended else None)
        return [next(ends), CallOutcome.of(1)]

    assert [outcome.value for outcome in outcomes_through_preemption(attempt, 5, said.append)] == [3, 1]
    assert seen == [None, 4]
    assert said == ["job 12: failed; log: log.txt; submitted again\n"]
    (failed, _) = outcomes_through_preemption(attempt, 5, said.append)
    assert failed.failure
    assert failed.failure.error is InputError


def test_a_job_that_is_preempted_too_often_is_one_that_was_requeued_too_often() -> None:
    preempted = failing(PreemptedError)
    first, second = outcomes_through_preemption(lambda _: [preempted, CallOutcome.of(1)], 5, lambda _: None)
    assert second.value == 1
    with pytest.raises(RequeueLimitError, match=r"requeued 5 times, as often as slurm\.max_requeues"):
        first.result()


def test_of_several_that_watch_a_job_one_submits_it_again_within_the_same_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, launcher = PreemptingCluster(tmp_path, preemptions=9), Launcher("local", tmp_path)
    monkeypatch.setattr("cosmos.launch.submission.open_cluster", lambda name: cluster)
    monkeypatch.setattr(watch, "GRACE", 0.0)
    request = SMALL.model_copy(update={"max_requeues": 2})
    spec = launcher.spec(partial(examples.add, 2, 3), request=request)

    def follow(seconds: float) -> CallOutcome:
        def show(text: str) -> None:
            launcher.said.append(text)
            if sum("attached" in line for line in launcher.said) == 2:
                (tmp_path / "go").touch()
            time.sleep(seconds)  # a slow one misses jobs that come and go meanwhile

        return launch(spec, show)[0]

    with ThreadPoolExecutor(3) as watchers:
        outcomes = list(watchers.map(follow, [0.0, 0.1, 0.5]))
    assert [outcome.failure and outcome.failure.error for outcome in outcomes] == [RequeueLimitError] * 3
    assert [job["limit"] for job in cluster.jobs()] == [2, 1, 0]


def test_several_nodes_need_slurm(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"slurm\.nodes: 2 nodes need Slurm"):
        Launcher("local", tmp_path)(partial(examples.add, 1, 1), request=JobRequest(nodes=2))
    assert not (tmp_path / "job.json").exists()


def failing(error: type[CosmosError], left: int = 0) -> CallOutcome:
    failure = CallFailure("12", "failed", "", None, Path("log.txt"), error, requeues_left=left)
    return CallOutcome.failed(failure)


def test_a_job_that_a_disk_ended_is_submitted_again_a_bounded_number_of_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(once, "RESUBMISSION_SECONDS", (0.0, 0.0))
    said: list[str] = []
    transient, done = failing(TransientError), CallOutcome.of(3)
    outcomes = iter([transient, transient, done])
    assert outcome_with_resubmissions(lambda _: [next(outcomes)], 0, said.append) is done
    assert said == ["job 12: failed; log: log.txt; submitted again in 0 s\n"] * 2
    outcomes = iter([transient] * 3)
    with pytest.raises(TransientError):
        outcome_with_resubmissions(lambda _: [next(outcomes)], 0, said.append).result()
    assert next(outcomes, None) is None
    for error in (InputError, DamagedDataError, DivergedError, RequeueLimitError, CosmosError):
        outcomes = iter([failing(error), done])
        with pytest.raises(error):
            outcome_with_resubmissions(lambda _: [next(outcomes)], 0, said.append).result()  # noqa: B023


@only_root_is_others
def test_a_colleagues_job_is_submitted_again_once_it_has_ended_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with shared_folder() as shared:
        submitted = submit_job(Launcher("debug", shared / "run").spec(int))
        record = shared / "run" / "job.json"
        assert attachable_submission(record) == submitted
        with acting_as(BOB):
            assert attachable_submission(record) is None
            monkeypatch.setattr(Submission, "is_alive", lambda self: True)
            with pytest.raises(NotPermittedError, match="one of root and closed to others; ask for it to be"):
                attachable_submission(record)
