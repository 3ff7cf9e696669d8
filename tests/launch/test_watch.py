from pathlib import Path

import pytest
import torch

from cosmos.errors import (
    CosmosError,
    DivergedError,
    HangError,
    InputError,
    OutOfMemoryError,
    PreemptedError,
    SupersededError,
    TransientError,
)
from cosmos.launch.outcome import Attempt, CallFiles, RankFailure
from cosmos.launch.sbatch import UNSEEN_FOLDER
from cosmos.launch.slurm import FINAL_STATES, JobState
from cosmos.launch.task import RankPlace, rank_failure
from cosmos.launch.watch import LogTail, describe_job_state, failure_cause, failure_class


def failed(kind: str) -> RankFailure:
    return RankFailure(0, 0, "node0", "KeyError", "Traceback", 1.0, kind)


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_every_final_state_has_words(state: str, tmp_path: Path) -> None:
    assert failure_cause(JobState(state), None, tmp_path / "log") == FINAL_STATES[state]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_a_rank_that_ran_out_of_memory_says_so(error: type[Exception], tmp_path: Path) -> None:
    rank = rank_failure(error(), RankPlace("local", "1", 0, 1, 0, (), 0, tmp_path / "log"))
    cause = failure_cause(JobState("FAILED"), rank, tmp_path / "log")
    assert "ran out of memory" in cause.words
    assert failure_class(rank, cause) is OutOfMemoryError
    assert failure_cause(JobState("FAILED"), failed(""), tmp_path / "log").words == "failed"


@pytest.mark.parametrize(
    ("kind", "state", "error"),
    [
        ("", "FAILED", CosmosError),
        ("", "GONE", CosmosError),
        ("", "NODE_FAIL", TransientError),  # a rank lost its peer, and Slurm says why
        ("", "PREEMPTED", PreemptedError),
        ("", "BOOT_FAIL", TransientError),
        ("", "OUT_OF_MEMORY", OutOfMemoryError),
        ("CosmosError", "NODE_FAIL", TransientError),  # it named the peer, and knows no more
        ("CosmosError", "FAILED", CosmosError),
        ("HangError", "FAILED", HangError),
        ("TransientError", "FAILED", TransientError),
        ("SupersededError", "FAILED", SupersededError),
        ("InputError", "NODE_FAIL", InputError),
        ("DivergedError", "GONE", DivergedError),
        ("NoSuchError", "FAILED", CosmosError),
    ],
)
def test_the_failing_rank_or_else_the_scheduler_says_what_follows(
    kind: str, state: str, error: type[CosmosError], tmp_path: Path
) -> None:
    for rank in (failed(kind), *([] if kind else [None])):
        cause = failure_cause(JobState(state), rank, tmp_path / "log")
        assert failure_class(rank, cause) is error


MEMORY = "slurmstepd-node0: error: StepId=48.0 exceeded memory limit (2172145664 > 2097152000), being killed"
KERNEL = "slurmstepd: error: Detected 1 oom_kill event in StepId=48.0. Some tasks have been OOM Killed."
CANCELLED = "slurmstepd-node0: error: *** STEP 48.0 ON node0 CANCELLED AT 2026-11-24T12:36:16 ***"
KILLED = "srun: error: node1: task 1: Killed"
EXITED = "srun: error: node1: task 1: Exited with exit code 1"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([MEMORY, CANCELLED, KILLED], "ran out of memory"),
        ([KERNEL, KILLED], "ran out of memory"),
        (["srun: error: node1: tasks 0-1: Out Of Memory"], "ran out of memory"),
        ([CANCELLED, KILLED, KILLED], "had its step cancelled"),
        ([KILLED, CANCELLED], "had a process killed"),
        ([EXITED, CANCELLED, KILLED], "failed"),
        ([CANCELLED.replace("16 ***", "16 DUE TO NODE FAILURE ***")], "failed"),
        ([], "failed"),
    ],
)
def test_the_first_that_slurm_says_in_the_log_is_the_cause(
    lines: list[str], words: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(["step 1", *lines, ""]))
    state = JobState("FAILED", exit_status="137 (signal 9)")
    assert failure_cause(state, None, log).words.startswith(words)
    assert failure_cause(state, failed(""), log).words == "failed"


def test_the_causes_of_earlier_starts_are_no_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"{KILLED}\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write(f"step 1\n{CANCELLED}\n{KILLED}\n")
    state = JobState("FAILED", exit_status="137 (signal 9)")
    assert failure_cause(state, None, log).words.startswith("had a process killed")
    assert failure_cause(state, None, log, start).words.startswith("had its step cancelled")


def test_a_node_that_does_not_see_the_folder_is_named_and_the_job_may_be_submitted_again(
    tmp_path: Path,
) -> None:
    log, state = tmp_path / "log", JobState("FAILED", exit_status="74")
    log.write_text(f"node7: /runs/a b: {UNSEEN_FOLDER}\n")
    cause = failure_cause(state, None, log)
    assert cause.words.startswith("cannot write its folder on node7, where")
    assert "--exclude=node7" in cause.words
    assert cause.error is TransientError


def test_a_log_that_slurm_cannot_open_is_the_cause_and_the_job_may_be_submitted_again(tmp_path: Path) -> None:
    state = JobState("FAILED", nodes="node[0-1]", exit_status="signal 53")
    cause = failure_cause(state, None, tmp_path / "log")
    assert cause.words.startswith("could not open its log on the first of its nodes")
    assert cause.error is TransientError


def test_states_in_words() -> None:
    assert describe_job_state(JobState("PENDING", "Resources"), 20) == "pending (Resources)"
    waiting = JobState("PENDING", "BeginTime", requeues=2)
    assert describe_job_state(waiting, 20) == "pending (BeginTime) - requeued 2 of at most 20 times"
    assert describe_job_state(JobState("RUNNING", nodes="node[0-1]"), 20) == "running on node[0-1]"


def test_a_log_is_followed_line_by_line_through_attempts(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 0)
    tail = LogTail(call, from_start=True)
    assert tail.news() == ""
    log = tmp_path / "log"
    call.begin(Attempt("1", 0, "node0", log, 1.0))
    log.write_text("one\ntwo")
    assert tail.news() == "one\n"
    log.write_text("one\ntwo\nthree\n")
    assert tail.news() == "two\nthree\n"
    other = tmp_path / "other"
    call.begin(Attempt("2", 1, "node0", other, 2.0))
    other.write_text("four\n")
    assert tail.news() == "four\n"


def test_who_attaches_sees_the_last_lines_and_then_all(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 0)
    log = tmp_path / "log"
    call.begin(Attempt("1", 0, "node0", log, 1.0))
    log.write_text("".join(f"{i}\n" for i in range(100)))
    tail = LogTail(call, from_start=False)
    assert tail.news().splitlines() == [str(i) for i in range(80, 100)]
    with log.open("a") as file:
        file.write("".join(f"{i}\n" for i in range(100, 150)))
    assert len(tail.news().splitlines()) == 50
