import errno
from datetime import timedelta
from pathlib import Path

import pytest

from cosmos.distributed.exchange import on_every_rank, on_first_rank, on_ranks_alike
from cosmos.distributed.group import process_group, rank
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    DivergedError,
    InputError,
    Interrupted,
    OutOfMemoryError,
    SupersededError,
    TransientError,
)
from tests.forks import run_ranks


class StageError(TransientError):
    """Error that pickles, and cannot be unpickled."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")


ERRORS = [
    *(kind("broken") for kind in (InputError, DamagedDataError, TransientError, DivergedError)),
    SupersededError("broken"),
    CosmosError("broken"),
    FileNotFoundError(errno.ENOENT, "broken"),
    OSError(errno.ENOSPC, "broken"),
    StageError("prepare", "broken"),
]
"""Errors that the second rank meets."""

RAISED = [type(error) for error in ERRORS[:6]] + [InputError, TransientError, TransientError]
"""Classes of the errors that both ranks then raise."""


def meet_errors(process: int, folder: str) -> None:
    with process_group("cpu", timedelta(minutes=5)):
        assert on_every_rank(rank) == [0, 1]
        assert on_first_rank(lambda: f"from {rank()}") == "from 0"
        for error, kind in zip(ERRORS, RAISED, strict=True):
            with pytest.raises(kind, match="broken") as raised:
                on_every_rank(lambda error=error: raise_on_second(error))  # type: ignore[misc]
            assert type(raised.value) is kind
    (Path(folder) / f"{process}.txt").touch()


def raise_on_second(error: Exception) -> None:
    if rank() == 1:
        raise error


def read_files(process: int, folder: str) -> None:
    with process_group("cpu", timedelta(minutes=5)):
        read = Path(folder).read_text  # a folder, which no rank can read
        with pytest.raises(InputError, match=Path(folder).name):
            on_ranks_alike(read)
        assert on_ranks_alike(rank) == process
        for error in (
            InputError("no such file"),
            DamagedDataError("cut"),
            FileNotFoundError(2, "no such file"),
        ):
            with pytest.raises(TransientError, match=r"^rank 1 on \S+ alone: (no such file|cut)"):
                on_ranks_alike(lambda error=error: raise_on_second(error))  # type: ignore[misc]
        with pytest.raises(OutOfMemoryError, match="broken"):
            on_ranks_alike(lambda: raise_on_second(OutOfMemoryError("broken")))
    (Path(folder) / f"{process}.txt").touch()


@pytest.mark.slow
def test_what_another_rank_alone_cannot_read_is_a_failure_of_its_disk(tmp_path: Path) -> None:
    run_ranks(read_files, str(tmp_path))
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["0.txt", "1.txt"]


@pytest.mark.slow
def test_an_error_of_one_rank_is_raised_on_all_with_its_class_and_message(tmp_path: Path) -> None:
    run_ranks(meet_errors, str(tmp_path))
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["0.txt", "1.txt"]


def test_a_process_that_is_alone_computes_for_itself() -> None:
    assert on_every_rank(lambda: 3) == [3]
    with pytest.raises(Interrupted):
        on_first_rank(interrupt)


@pytest.mark.parametrize(("error", "kind"), [*zip(ERRORS, RAISED, strict=True)])
def test_a_process_that_is_alone_meets_errors_of_the_same_classes(
    error: Exception, kind: type[Exception]
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(kind, match="broken"):
        on_first_rank(fail)


def interrupt() -> None:
    raise Interrupted("stopped")


def test_an_error_of_the_operating_system_names_file_and_remedy_and_no_number() -> None:
    def write() -> None:
        raise OSError(errno.EROFS, "Read-only file system", "runs/a/log.txt")

    with pytest.raises(InputError, match=r"^runs/a/log\.txt: Read-only file system; name another place$"):
        on_first_rank(write)
