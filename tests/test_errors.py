"""Classes of errors, and the names under which jobs leave them."""

import errno
import pickle

import pytest

from cosmos.errors import (
    ERROR_KINDS,
    CosmosError,
    DamagedDataError,
    DivergedError,
    InputError,
    Interrupted,
    NotPermittedError,
    OutOfMemoryError,
    PreemptedError,
    RequeueLimitError,
    StoppedError,
    SupersededError,
    TransientError,
    class_of_kind,
    convert_os_error,
    error_class,
    error_kind,
    short_reason,
    summarize_error,
)
from cosmos.launch.slurm import SlurmSilentError

TORCH_REFUSAL = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
    " allocate 8192 bytes. Error code 12 (Cannot allocate memory)"
)
"""Message of torch's error of too little memory of the host."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DivergedError("loss is nan"), DivergedError),
        (SlurmSilentError("job 12"), TransientError),  # a subclass is known by the class of errors.py
        (FileNotFoundError(errno.ENOENT, "no such file"), InputError),
        (OSError(errno.ENOSPC, "no space left"), TransientError),
        (ConnectionResetError(), TransientError),
        (MemoryError(), OutOfMemoryError),
        (RuntimeError(TORCH_REFUSAL), OutOfMemoryError),
        (RuntimeError("can't start new thread"), TransientError),
    ],
)
def test_an_error_is_named_and_read_back_by_the_class_that_decides(
    error: Exception, kind: type[CosmosError]
) -> None:
    assert class_of_kind(error_kind(error)) is kind


@pytest.mark.parametrize("error", [KeyError("caption"), ValueError("library"), Interrupted("asked to stop")])
def test_an_error_of_no_class_has_no_name(error: BaseException) -> None:
    assert error_kind(error) == ""
    assert class_of_kind("") is CosmosError


def test_every_class_has_a_name_of_its_own() -> None:
    classes = {kind for kind in CosmosError.__subclasses__() if kind.__module__ == CosmosError.__module__}
    assert {CosmosError, *classes} <= set(ERROR_KINDS.values())


@pytest.mark.parametrize(
    "kind",
    [
        CosmosError,
        InputError,
        DamagedDataError,
        TransientError,
        PreemptedError,
        DivergedError,
        SupersededError,
        StoppedError,
        RequeueLimitError,
    ],
)
def test_errors_keep_class_and_message_on_their_way_between_processes(kind: type[CosmosError]) -> None:
    error = pickle.loads(pickle.dumps(kind("shard-0.tar: broken")))
    assert (type(error), str(error)) == (kind, "shard-0.tar: broken")


@pytest.mark.parametrize(
    ("number", "is_permanent"),
    [
        (errno.ENOENT, True),
        (errno.EACCES, True),
        (errno.EROFS, True),
        (errno.ENAMETOOLONG, True),
        (errno.ENOTDIR, True),
        (errno.EIO, False),
        (errno.ENOSPC, False),
        (errno.ESTALE, False),
        (errno.ETIMEDOUT, False),
    ],
)
def test_an_error_of_the_system_is_the_users_or_worth_another_try(number: int, is_permanent: bool) -> None:
    error = OSError(number, "failed")
    is_forbidden = number in (errno.EACCES, errno.EROFS)
    permanent = NotPermittedError if is_forbidden else InputError
    assert error_class(error) is (permanent if is_permanent else TransientError)
    classified = convert_os_error(error, "a.jpg: failed", DamagedDataError, "mend it")
    kind, message = (
        (DamagedDataError, "a.jpg: failed; mend it") if is_permanent else (TransientError, "a.jpg: failed")
    )
    assert (type(classified), str(classified)) == (kind, message)


def test_an_error_that_is_transient_already_stays_as_it_is() -> None:
    error = TransientError("s3://bucket/0.tar: busy")
    assert convert_os_error(error, "another message") is error


def test_a_message_quotes_no_whole_file() -> None:
    reason = short_reason(ValueError(f"no header in {bytes(100_000)!r}\n"))
    assert reason.startswith(r"no header in b'\x00")
    assert len(reason) < 310
    assert short_reason(KeyError()) == "KeyError"


def test_a_limit_of_processes_is_told_with_its_remedy() -> None:
    for error in (RuntimeError("can't start new thread"), BlockingIOError(errno.EAGAIN, "busy")):
        assert "allow more processes and threads (`ulimit -u`" in summarize_error(error)


def test_another_error_of_threads_keeps_its_type() -> None:
    assert summarize_error(RuntimeError("cannot join thread")) == "RuntimeError: cannot join thread"


def test_too_little_memory_is_told_with_its_remedy_whatever_text_a_worker_gave_it() -> None:
    worker = MemoryError("Caught MemoryError in DataLoader worker\nTraceback ...")
    for error in (MemoryError(), worker, RuntimeError(TORCH_REFUSAL)):
        message = summarize_error(error)
        assert "more memory than it may have" in message
        assert "COSMOS_WORKERS" in message
        assert "Traceback" not in message
