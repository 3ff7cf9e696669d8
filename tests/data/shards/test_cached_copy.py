"""Copies of remote shards that several processes want at once: one makes it, the others wait for it."""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

import pytest

from cosmos.config.machine import Machine
from cosmos.data.shards.remote import cached_copy
from cosmos.errors import InputError, TransientError
from tests.data.examples import machine

CONTENT = bytes(range(256)) * 64
DONE, AWAY, FAILED = 0, 3, 4
"""Exit statuses of a process that has the whole copy, met a storage that is away, and did neither."""


class Storage(ThreadingHTTPServer):
    """HTTP server of one shard, which answers once it is told to, and counts how often it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked, self.status, self.may_answer = 0, 200, Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/0.tar"


class Answer(BaseHTTPRequestHandler):
    server: Storage

    def do_GET(self) -> None:
        self.server.asked += 1
        self.server.may_answer.wait(20)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def storage() -> Iterator[Storage]:
    server = Storage()
    yield server
    server.may_answer.set()
    server.shutdown()


def begin_to_copy(storage: Storage, settled: Machine) -> int:
    """Start a process that wants the copy, and return its number."""
    child = os.fork()
    if child == 0:
        status = FAILED
        try:
            status = DONE if cached_copy(storage.url, settled).read_bytes() == CONTENT else FAILED
        except TransientError:
            status = AWAY
        finally:
            os._exit(status)
    return child


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def processes_that_wait(storage: Storage, settled: Machine, number: int) -> list[int]:
    """Start processes of which the first has asked the storage, and the others have had time to."""
    first = begin_to_copy(storage, settled)
    wait_until(lambda: storage.asked == 1)
    others = [begin_to_copy(storage, settled) for _ in range(number - 1)]
    time.sleep(0.3)
    return [first, *others]


def files(folder: Path) -> list[str]:
    return [path.suffix for path in (folder / "cache" / "shards").iterdir()]


def test_one_process_copies_and_the_others_wait(tmp_path: Path, storage: Storage) -> None:
    children = processes_that_wait(storage, machine(tmp_path), 4)
    storage.may_answer.set()
    assert [status_of(child) for child in children] == [DONE] * 4
    assert storage.asked == 1
    assert files(tmp_path) == [".tar"]


def test_the_next_copies_where_the_first_is_killed(tmp_path: Path, storage: Storage) -> None:
    first, *others = processes_that_wait(storage, machine(tmp_path), 3)
    os.kill(first, signal.SIGKILL)
    assert status_of(first) == -signal.SIGKILL
    wait_until(lambda: storage.asked == 2)
    storage.may_answer.set()
    assert [status_of(child) for child in others] == [DONE] * 2
    assert storage.asked == 2
    assert files(tmp_path) == [".tar"]  # the killed one left nothing


def test_a_storage_that_fails_is_not_waited_for_by_one_after_the_other(
    tmp_path: Path, storage: Storage
) -> None:
    settled = machine(tmp_path)
    children = processes_that_wait(storage, settled, 3)
    storage.status = 503
    storage.may_answer.set()
    assert [status_of(child) for child in children] == [AWAY] * 3
    assert storage.asked == 1
    storage.status = 200
    assert cached_copy(storage.url, settled).read_bytes() == CONTENT
    assert files(tmp_path) == [".tar"]


def test_a_file_system_without_locks_has_it_copied_twice(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("cosmos.run.files.lock_descriptor", refuse)
    children = processes_that_wait(storage, machine(tmp_path), 2)
    wait_until(lambda: storage.asked == 2)
    storage.may_answer.set()
    assert [status_of(child) for child in children] == [DONE] * 2
    assert files(tmp_path) == [".tar"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EROFS])
def test_a_copy_of_another_user_or_on_a_disk_that_is_only_read_is_used(
    number: int, tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.may_answer.set()
    copy = cached_copy(storage.url, machine(tmp_path))

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "utime", refuse)
    assert cached_copy(storage.url, machine(tmp_path)) == copy
    assert storage.asked == 1
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be copied to"):
        cached_copy(storage.url, machine(tmp_path))
