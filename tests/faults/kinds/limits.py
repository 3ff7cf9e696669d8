"""Limits of a node: shared memory, files, processes, outputs that nobody takes; a worker that is killed."""

import errno
import os
import resource
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

from torch.utils.data import get_worker_info
from torch.utils.data._utils import fetch as fetchers

from tests.faults.commands import Ended
from tests.faults.kinds.full_disks import fill_disk, mount, own_mounts
from tests.faults.tries import Try
from tests.faults.works import EVALUATE, EXPORT, PREPARE, PRETRAIN, SWEEP, Work


def attempt(attempt: Try) -> None:
    """Give a command within a limit, look at how it ends, then give it again without the limit."""
    limit = attempt.rng.choice(LIMITS)
    attempt.tell(limit.__name__)
    attempt.copy_world()
    limit(attempt)


def give(
    attempt: Try, work: Work, meddle: Callable[[], object], statuses: set[int], text: str, workers: int = 0
) -> Ended:
    """Give a work's command, which succeeds, or ends in a status and a text; then have it finish."""

    def begin() -> None:
        tempfile.tempdir = None  # workers have their connections below the try's own
        meddle()

    work.begin(attempt)
    ended = attempt.cosmos(*work.arguments, meddle=begin, workers=str(workers))
    attempt.tell(f"{work.name} ended in {ended.status}")
    assert ended.status in {0, *statuses}, f"another status\n{ended.describe()}"
    assert not ended.status or text in ended.output, f"does not tell of {text}\n{ended.describe()}"
    work.finish(attempt)
    return ended


def small_shared_memory(attempt: Try) -> None:
    """Train or evaluate with workers, whose batches are larger than /dev/shm, in the end or at once."""
    own_mounts()
    room = attempt.rng.choice([64, 128, 512, 1024])
    work, statuses = attempt.rng.choice([(PRETRAIN, {74}), (EVALUATE, {1, 74})])
    attempt.tell(f"/dev/shm of {room} KiB")
    shrink_shared_memory(attempt.place.parent, f"{room}k")
    give(attempt, work, lambda: None, statuses, "/dev/shm: too small", workers=2)


def shrink_shared_memory(folder: Path, size: str) -> None:
    """Mount a /dev/shm of a size, in which a folder of the old one stays where it is."""
    aside = Path(tempfile.mkdtemp())
    mount("--bind", str(folder), str(aside))
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", "/dev/shm")
    folder.mkdir(parents=True, exist_ok=True)
    mount("--move", str(aside), str(folder))
    aside.rmdir()


def killed_worker(attempt: Try) -> None:
    """Train or evaluate with two workers, one of which is killed as it makes its n-th batch."""
    work, number = attempt.rng.choice([PRETRAIN, EVALUATE]), attempt.rng.choice([1, 1, 2, 3])
    attempt.tell(f"a worker is killed at its batch {number}")
    ended = give(attempt, work, lambda: kill_worker(number), {1}, "ended by SIGKILL", workers=2)
    assert ended.status or work is EVALUATE, f"the worker was not missed\n{ended.describe()}"


def kill_worker(number: int) -> None:
    """Have each first worker of this process kill itself as it makes a batch."""
    fetch, calls = fetchers._MapDatasetFetcher.fetch, iter(range(1, 1 << 30))  # each worker has a copy

    def fetch_or_die(fetcher: Any, indices: Any) -> Any:
        worker = get_worker_info()
        if worker and worker.id == 0 and next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return fetch(fetcher, indices)  # type: ignore[no-untyped-call]

    patch.object(fetchers._MapDatasetFetcher, "fetch", fetch_or_die).start()


def few_open_files(attempt: Try) -> None:
    """Work with a limit of open files that is low."""
    work, count = attempt.rng.choice([PREPARE, PRETRAIN, EVALUATE]), attempt.rng.choice([14, 16, 20, 32])
    attempt.tell(f"{count} open files")
    limits = (count, count)
    meddle = partial(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
    give(attempt, work, meddle, {1, 74}, "Too many open files; raise the limit of open files (`ulimit -n`)")


def few_processes(attempt: Try) -> None:
    """Work where the n-th thread or process cannot be started, nor any after it."""
    work = attempt.rng.choice([PREPARE, PRETRAIN, EVALUATE])
    number, workers = attempt.rng.choice([1, 1, 2, 3, 4, 6, 9]), attempt.rng.choice([0, 2])
    attempt.tell(f"no thread or process from number {number} on, {workers} workers")
    meddle = partial(refuse_processes, number)
    give(attempt, work, meddle, {1, 74}, "allow more processes and threads (`ulimit -u`", workers)


def refuse_processes(number: int) -> None:
    """Have the system start no thread and no process for this one, from a number on."""
    process, starts = os.getpid(), iter(range(1, 1 << 30))

    def limited(start: Callable[..., Any], error: Exception) -> Callable[..., Any]:
        def start_or_refuse(*arguments: Any, **options: Any) -> Any:
            if os.getpid() == process and next(starts) >= number:
                raise type(error)(*error.args)
            return start(*arguments, **options)

        return start_or_refuse

    busy = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    for place in ("os.fork", "subprocess._fork_exec", "_posixsubprocess.fork_exec"):
        patch(place, limited(resolve_name(place), busy)).start()
    thread = "threading._start_new_thread"
    patch(thread, limited(resolve_name(thread), RuntimeError("can't start new thread"))).start()


def small_files(attempt: Try) -> None:
    """Work with a limit of the size of files."""
    work = attempt.rng.choice([PREPARE, PRETRAIN, EVALUATE, EXPORT])
    size = attempt.rng.choice([12, 20, 50, 100])
    attempt.tell(f"files of {size} KB")
    meddle = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size * 1000, size * 1000))
    give(attempt, work, meddle, {1, 74}, "File too large")


def few_files(attempt: Try) -> None:
    """Work on a disk that has space, and room for a few files more."""
    own_mounts()
    work = attempt.rng.choice([PREPARE, PRETRAIN, EVALUATE])
    count = attempt.rng.choice([1, 2, 3, 5, 8])
    work.begin(attempt)
    folder = attempt.place / work.writes[0]
    attempt.tell(f"a disk at {folder.name} with {count} files left")
    fill_disk(folder, 1 << 30)
    mount("-o", f"remount,nr_inodes={used_inodes(folder) + count}", str(folder))
    ended = attempt.cosmos(*work.arguments, data_wait_minutes="0.05")
    assert ended.status in {0, 74}, f"another status\n{ended.describe()}"
    assert not ended.status or "`df -i`" in ended.output, f"does not tell of files\n{ended.describe()}"
    mount("-o", "remount,nr_inodes=100000", str(folder))
    work.finish(attempt)


def used_inodes(folder: Path) -> int:
    """Return the number of files that a disk has."""
    disk = os.statvfs(folder)
    return disk.f_files - disk.f_ffree


def no_reader(attempt: Try) -> None:
    """Work with outputs that are full, or read by nobody: what is computed is the same."""
    work = attempt.rng.choice([PREPARE, PRETRAIN, EVALUATE, SWEEP])
    is_full, outputs = attempt.rng.choice([True, False]), attempt.rng.choice([(1,), (2,), (1, 2)])
    attempt.tell(f"outputs {outputs} {'are full' if is_full else 'have no reader'}")
    target = os.open("/dev/full", os.O_WRONLY) if is_full else pipe_without_reader()
    work.begin(attempt)
    ended = attempt.cosmos(*work.arguments, meddle=lambda: [os.dup2(target, number) for number in outputs])
    assert ended.status in {0, 74, 128 + signal.SIGPIPE}, f"another status\n{ended.describe()}"
    work.finish(attempt)


def pipe_without_reader() -> int:
    """Return a pipe to write into whose reader has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


LIMITS: tuple[Callable[[Try], None], ...] = (
    small_shared_memory,
    killed_worker,
    few_open_files,
    few_processes,
    small_files,
    few_files,
    no_reader,
)
