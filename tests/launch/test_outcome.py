import json
import os
import pickle
import re
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cosmos.config.disk_reading import IrregularFileError
from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.launch.outcome import (
    RESERVED_BYTES,
    Attempt,
    CallFailure,
    CallFiles,
    CallOutcome,
    RankFailure,
    last_log_lines,
)
from cosmos.launch.task import RankPlace, rank_failure


def attempt(requeues: int) -> Attempt:
    return Attempt("12", requeues, "node0", Path("elsewhere/log"), 1.5)


def failed(rank: int, time: float, requeues: int = 0) -> RankFailure:
    return RankFailure(rank, requeues, f"node{rank}", "KeyError", f"Traceback of {rank}", time)


def test_the_rank_that_failed_first_is_the_cause(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 3)
    assert call.first_failure() is None
    for rank, time in [(0, 20.5), (1, 20.1), (2, 21.0)]:
        call.write_failure(failed(rank, time))
    assert call.first_failure() == failed(1, 20.1)
    assert CallFiles(tmp_path, 4).first_failure() is None


def test_on_a_full_disk_the_failure_goes_into_the_room_that_was_reserved_for_it(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 0)
    call.reserve_room(1, 0)
    full = replace(
        failed(1, 2.0), traceback="deep " * 9_000, kind="TransientError", summary="\N{SNOWMAN}" * 900
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (RESERVED_BYTES, hard)
    )  # a file that grows beyond is an OSError
    try:
        call.write_failure(full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    left = call.first_failure()
    assert left
    assert (left.rank, left.kind, left.traceback) == (1, "TransientError", "")
    assert full.summary.startswith(left.summary)
    assert [path.name for path in tmp_path.iterdir()] == ["failure-0-0-1.json"]


def test_the_room_is_given_back_where_it_is_not_needed(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 0)
    call.reserve_room(0, 0)
    call.write_failure(failed(0, 1.0))
    assert [path.name for path in tmp_path.iterdir()] == ["failure-0-0-0.json"]


def test_only_the_last_attempt_s_failures_count(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 0)
    call.begin(attempt(0))
    call.write_failure(failed(0, 1.0))
    assert call.first_failure() == failed(0, 1.0)
    call.begin(attempt(1))
    assert call.first_failure() is None
    call.write_failure(failed(1, 3.0, requeues=0))  # of a process that outlived its node
    assert call.first_failure() is None
    call.write_failure(failed(1, 2.0, requeues=1))
    assert call.first_failure() == failed(1, 2.0, requeues=1)
    assert [attempt.requeues for attempt in call.attempts()] == [0, 1]


def test_a_damaged_line_is_no_attempt_and_a_log_lies_wherever_its_folder_is(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 0)
    call.begin(attempt(0))
    with (tmp_path / "attempts-0.jsonl").open("a") as file:
        file.write('{"job_id": 7}\n[[1, 2], null]\n\x00\x00\n{"job_id": "1')
    call.begin(replace(attempt(1), log_start=10**30))  # no place in a file
    assert call.attempts() == [replace(attempt(0), log=tmp_path / "log")]


@pytest.mark.parametrize("name", ["attempts-0.jsonl", "value-0.pkl", "log"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    call = CallFiles(tmp_path, 0)
    os.mkfifo(tmp_path / name)
    readers: dict[str, Callable[[], object]] = {
        "attempts-0.jsonl": call.attempts,
        "value-0.pkl": call.value,
        "log": lambda: last_log_lines(tmp_path / "log", 2),
    }
    with pytest.raises((IrregularFileError, DamagedDataError), match=f"{name}: .*a pipe or a device"):
        readers[name]()


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 0)
    assert not call.has_value()
    call.write_value({"steps": 3})
    assert call.has_value()
    assert call.value() == {"steps": 3}
    assert CallOutcome.of(call.value()).failure is None


class Harmful:
    """What a stranger pickles: unpickled, it runs a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_values_that_an_earlier_version_pickled_are_read_and_nothing_in_them_is_executed(
    tmp_path: Path,
) -> None:
    call, value = CallFiles(tmp_path, 0), {"run": "runs/a", "steps": 15, "figures": [0.5, None, True]}
    (tmp_path / "value-0.pkl").write_bytes(pickle.dumps(value))
    assert call.has_value()
    assert call.value() == value
    for content in (pickle.dumps([Harmful(tmp_path / "ran")]), pickle.dumps(value)[:-4], b"", b"\xff" * 40):
        (tmp_path / "value-0.pkl").write_bytes(content)
        with pytest.raises(DamagedDataError, match=r"value-0\.pkl: not a value of a job .*delete the file"):
            call.value()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b'{"steps": ', b"\xff\xfe", b"[" * 100_000, b"9" * 6_000])
def test_a_damaged_value_names_its_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "value-0.json").write_bytes(content)
    with pytest.raises(DamagedDataError, match=r"value-0\.json: not a value of a job .*delete the file"):
        CallFiles(tmp_path, 0).value()


def test_a_value_of_another_shape_names_its_folder(tmp_path: Path) -> None:
    outcome = CallOutcome.of({"steps": "3"}, tmp_path)
    assert CallOutcome.of({"steps": 3}).result_as(dict[str, int]) == {"steps": 3}
    with pytest.raises(
        DamagedDataError, match=rf"{tmp_path}: the value .* damaged \(steps: .*delete the fol"
    ):
        outcome.result_as(dict[str, int])
    failed_job = CallOutcome.failed(CallFailure("1", "failed", "", None, Path("log"), TransientError))
    with pytest.raises(TransientError):
        failed_job.result_as(dict[str, int])


@pytest.mark.parametrize("content", [b"", b"null", b'{"rank": "1"}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_failure_is_a_failure_that_names_its_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "failure-0-0-1.json").write_bytes(content)
    failure = CallFiles(tmp_path, 0).first_failure()
    assert failure
    assert (failure.rank, failure.requeues, failure.kind) == (1, 0, "")
    assert re.match(r".*failure-0-0-1\.json: not a failure of a rank .*; the job's log", failure.summary)


def test_a_call_whose_folder_was_deleted_has_no_value(tmp_path: Path) -> None:
    call = CallFiles(tmp_path / "deleted", 0)
    assert not call.has_value()
    assert call.first_failure() is None


def test_a_failure_of_a_job_from_before_that_names_no_class_is_read(tmp_path: Path) -> None:
    call = CallFiles(tmp_path, 0)
    call.write_failure(failed(1, 20.1))
    (path,) = tmp_path.glob("failure-0-*.json")
    values = json.loads(path.read_text())
    del values["kind"], values["summary"]
    path.write_text(json.dumps(values))
    assert call.first_failure() == failed(1, 20.1)


def test_a_failure_is_raised_as_its_class() -> None:
    failure = CallFailure("12", "failed", "1", None, Path("log"), TransientError)
    assert isinstance(failure.exception(), TransientError)
    assert str(failure.exception()) == str(failure)
    assert failure.exception().exit_status == 74


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA: no\nmemory"), "torch.OutOfMemoryError: CUDA: no\nmemory"),
        (InputError("a.pt: no such file"), "a.pt: no such file"),
    ],
)
def test_a_job_without_a_value_is_told_in_a_line(error: Exception, words: str) -> None:
    rank = rank_failure(error, RankPlace("local", "12", 0, 1, 0, (), 0, Path("log.out")))
    failure = CallFailure("12_3", "failed", "1", rank, Path("log.out"))
    assert failure.summary == f"{words} (job 12_3; log: log.out)"


def test_a_job_whose_ranks_left_no_word_is_told_by_its_cause() -> None:
    cancelled = CallFailure("12_3", "was cancelled", "", None, Path("log.out"))
    assert cancelled.summary == "job 12_3: was cancelled; log: log.out"
    before = CallFailure("12", "failed", "1", failed(3, 1.0), Path("log.out"))  # of an earlier version
    assert before.summary == "job 12: failed; log: log.out"


def test_a_failure_tells_cause_traceback_status_and_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = str(CallFailure("12", "failed", "1", failed(3, 1.0), log)).splitlines()
    assert text == [
        "job 12: failed",
        "rank 3 on node3 failed first:",
        "Traceback of 3",
        f"exit status 1, log: {log}",
    ]


def test_an_error_of_a_class_that_says_it_all_is_told_without_its_traceback() -> None:
    rank = replace(failed(3, 1.0), kind="DamagedDataError", summary="shard-1.tar: no such file; put it back")
    assert str(CallFailure("12", "failed", "", rank, Path("log"), DamagedDataError)).splitlines() == [
        "job 12: failed",
        "rank 3 on node3 failed first:",
        "shard-1.tar: no such file; put it back",
        "log: log",
    ]


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {i}" for i in range(100)))
    assert last_log_lines(log, 2) == ["line 98", "line 99"]
    assert last_log_lines(tmp_path / "none", 5) == []
