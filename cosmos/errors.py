"""Classes of errors: what follows from an error is decided by its class alone, never by its text.

| class | exit status | what follows |
|---|---|---|
| `InputError` and its subclasses | 2 | never retried; a trial that meets it is given up |
| `DamagedDataError` | 1 | counted and skipped within a stated limit, past it an error |
| `TransientError` | 74 | flows, sweeps and jobs of `pretrain` are tried again, a bounded number of times |
| `PreemptedError` | 74 | as `TransientError`, but at once, and as often as `slurm.max_requeues` allows |
| `HangError` | 74 | as `TransientError`; on Slurm the job requeues itself, within `slurm.max_requeues` |
| `DivergedError` | 1 | the last good checkpoint is named; a trial fails |
| `SupersededError`, `Interrupted` | 75 | all is saved; the same command continues |
| `StoppedError` | 75 | as `Interrupted`, of a job that nothing starts again but the same command |
| `RequeueLimitError` | 75 | all is saved; nothing submits the job again but the same command |
| `CosmosError` | 1 | any other error whose message suffices: no traceback, no retry |
"""

import errno
from traceback import format_exception_only
from typing import ClassVar


class CosmosError(Exception):
    """An error whose message tells a user what is wrong and what to do, without a traceback."""

    exit_status: ClassVar[int] = 1


class InputError(CosmosError, ValueError):
    """A file, key or value of the user's is wrong; the message names it and the remedy."""

    exit_status = 2


class NotPermittedError(InputError):
    """A file or folder may be whole, but this user may not read or write it; the message names it."""


class OutOfMemoryError(InputError):
    """A process needs more memory than it may have; the message names what asks for less, or gives more."""


class DamagedDataError(CosmosError, ValueError):
    """The bytes of a sample, shard, checkpoint or record are broken for good; the message names it."""


class TransientError(CosmosError, OSError):
    """A disk, network or scheduler failed for now: the same call may succeed later."""

    exit_status = 74  # EX_IOERR of sysexits.h


class PreemptedError(TransientError):
    """The scheduler took a job's nodes for another, and does not start it again: whoever waits for it may."""


class HangError(TransientError):
    """Ranks wait in vain for others; the message names those, and what all of them do."""


class DivergedError(CosmosError, ArithmeticError):
    """The loss is not finite; the message names the last good checkpoint."""


class SupersededError(CosmosError):
    """Another process writes into the run now; this one stops, and nothing is lost."""

    exit_status = 75  # EX_TEMPFAIL of sysexits.h


class StoppedError(CosmosError):
    """A job was asked to stop; all is saved, and nothing starts it again but the same command."""

    exit_status = 75


class RequeueLimitError(CosmosError):
    """A job was requeued as often as it may be; all is saved, and it is for a person to go on."""

    exit_status = 75


class Interrupted(BaseException):
    """A request to stop by `signal` (0: by none), the same on all ranks; all is saved.

    It is a BaseException, so that no `except Exception` swallows it.
    """

    exit_status: ClassVar[int] = 75

    def __init__(self, message: str, signal: int = 0) -> None:
        super().__init__(message)
        self.signal = signal


USER_ERRORS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""Errors of the operating system that a user mends, and no repetition does."""

USER_ERROR_NUMBERS = frozenset({errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS})
"""Error numbers of further such errors, which Python raises as plain OSError."""


def error_class(error: BaseException) -> type[CosmosError] | type[Interrupted] | None:
    """Return the class that decides what follows from `error`; None for one that only its traceback explains.

    Errors of the operating system that nobody turned into one of ours are `InputError` where a path is wrong,
    and `TransientError` otherwise. Errors of Python and torch of too little memory are `OutOfMemoryError`;
    that of a thread that may not start is `TransientError`, as that of a process is.
    """
    if isinstance(error, CosmosError | Interrupted):
        return type(error)
    if is_too_little_memory(error):
        return OutOfMemoryError
    if is_refused_thread(error):
        return TransientError
    return class_of_os_error(error) if isinstance(error, OSError) else None


def class_of_os_error(error: OSError) -> type[CosmosError]:
    """Return NotPermittedError where `is_forbidden`, InputError where a path is wrong, or TransientError."""
    if not is_permanent(error):
        return TransientError
    return NotPermittedError if is_forbidden(error) else InputError


def is_too_little_memory(error: BaseException) -> bool:
    """Return True for Python's error of memory that the system did not give, and for torch's.

    torch's has no class of its own.
    """
    is_torch = type(error) is RuntimeError and "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or is_torch


def is_refused_thread(error: BaseException) -> bool:
    """Return True for Python's error of a thread that the system did not start.

    Python gives it neither a class nor an error number of its own.
    """
    return type(error) is RuntimeError and "can't start new thread" in str(error)


def is_permanent(error: OSError) -> bool:
    """Return True for an error of the operating system that the same call would meet again."""
    return isinstance(error, USER_ERRORS) or error.errno in USER_ERROR_NUMBERS


def is_forbidden(error: OSError) -> bool:
    """Return True for a path that may not be used: permissions are lacking, or its disk can only be read."""
    return isinstance(error, PermissionError) or error.errno == errno.EROFS


def convert_os_error(
    error: OSError, message: str, permanent: type[CosmosError] = InputError, remedy: str = ""
) -> CosmosError:
    """Return the CosmosError with `message` to raise in place of `error`; a CosmosError is returned as it is.

    Its class is `permanent`, and the message ends in the remedy, where the same call would fail again; it is
    TransientError otherwise. Without a remedy, an InputError ends in the one for the error's number; it is a
    NotPermittedError where `is_forbidden`.
    """
    if isinstance(error, CosmosError):
        return error
    deciding = class_of_os_error(error)
    if deciding is TransientError:
        return TransientError(message)
    if permanent is InputError:
        remedy = remedy or OS_ERROR_REMEDIES.get(error.errno or 0, "")
        permanent = deciding
    return permanent(f"{message}; {remedy}" if remedy else message)


MORE_PROCESSES = (
    "allow more processes and threads (`ulimit -u`, the job's or container's limit), or lower COSMOS_WORKERS;"
    " then give the same command again"
)
"""Remedy for a process or thread that the system did not start."""

OS_ERROR_REMEDIES = {
    errno.EAGAIN: MORE_PROCESSES,
    errno.ENOSPC: "free space there (or files, where `df -i` has none), then give the same command again",
    errno.EDQUOT: "free space there or ask for a larger quota, then give the same command again",
    errno.EIO: "wait for the disk, then give the same command again",
    errno.ESTALE: "wait for the disk, then give the same command again",
    errno.ETIMEDOUT: "wait for the disk or the network, then give the same command again",
    errno.EFBIG: "allow larger files (`ulimit -f`) or name another place, then give the same command again",
    errno.EACCES: "change the permissions, or name another place",
    errno.EPERM: "change the permissions, or name another place",
    errno.EROFS: "name another place",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "a part of its path is a file; name another place",
    errno.EISDIR: "name a file in it, or move it away",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "close other programs, then give the same command again",
}
"""Remedies for errors of the operating system, by number."""


def describe_os_error(error: OSError) -> str:
    """Return the message of an error of the operating system: its files, the reason and the remedy."""
    files = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    remedy = OS_ERROR_REMEDIES.get(error.errno or 0, "")
    return ": ".join(filter(None, [files, "; ".join(filter(None, [error.strerror or str(error), remedy]))]))


OUT_OF_MEMORY = (
    "the process needs more memory than it may have (`ulimit -v`, the job's or container's limit); allow it "
    "more, or lower COSMOS_WORKERS and, to evaluate, COSMOS_EVALUATION_BATCH_SIZE; the same command goes on"
)
"""Message for errors of too little memory."""

MAX_REASON = 300
"""Characters that a message takes from the error of a library, which may quote a whole file."""


def short_reason(error: BaseException) -> str:
    """Return the message of a library's error as a short line, for a message of ours."""
    return cut_reason(str(error) or type(error).__name__)


def cut_reason(text: str) -> str:
    """Return a text in a line of at most MAX_REASON characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else f"{line[:MAX_REASON]}..."


def summarize_error(error: BaseException) -> str:
    """Return the message of an error, after its type unless it is of a class that needs no traceback."""
    if isinstance(error, OSError) and not isinstance(error, CosmosError):
        return describe_os_error(error)
    if is_too_little_memory(error):  # has no text for people, and a worker's has its traceback for one
        return OUT_OF_MEMORY
    if is_refused_thread(error):
        return f"no further thread can be started; {MORE_PROCESSES}"
    return str(error) if error_class(error) else "".join(format_exception_only(error)).strip()


ERROR_KINDS: dict[str, type[CosmosError]] = {
    kind.__name__: kind
    for kind in (
        OutOfMemoryError,
        NotPermittedError,
        InputError,
        DamagedDataError,
        PreemptedError,
        HangError,
        TransientError,
        DivergedError,
        SupersededError,
        StoppedError,
        RequeueLimitError,
        CosmosError,
    )
}
"""Classes of errors by the name that a job writes into its outcome, for the command that waits for it."""


def error_kind(error: BaseException) -> str:
    """Return the name in ERROR_KINDS of the class that decides what follows from `error`; "" for none."""
    deciding = error_class(error)
    lineage = deciding.__mro__ if deciding else ()
    return next((name for base in lineage for name, kind in ERROR_KINDS.items() if kind is base), "")


def class_of_kind(kind: str) -> type[CosmosError]:
    """Return the class that `error_kind` named; CosmosError for "" and for an unknown name."""
    return ERROR_KINDS.get(kind, CosmosError)
