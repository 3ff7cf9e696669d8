"""Files and folders as others left them."""

import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.disk_reading import (
    IrregularFileError,
    exists,
    find_paths,
    folders_with,
    is_dir,
    is_file,
    lexists,
    list_folder,
    open_regular,
)
from cosmos.config.experiment import load_experiment
from cosmos.config.machine import Machine
from cosmos.config.sweep_loading import load_sweep
from cosmos.errors import InputError, TransientError, error_class
from cosmos.registry.index import list_runs
from cosmos.registry.record import find_run_dir
from cosmos.run.provenance import read_sessions
from cosmos.run.sweep_directory import find_sweep_dir


def test_a_pipe_a_socket_or_a_device_is_never_opened_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name in ("pipe", "zeros", "socket"):
            with (
                pytest.raises(IrregularFileError, match=f"{name}: a pipe or a device, not a file"),
                open_regular(tmp_path / name),
            ):
                pass
    with pytest.raises(IsADirectoryError, match=str(tmp_path)), open_regular(tmp_path):
        pass


def test_an_error_while_a_file_is_read_names_it() -> None:
    memory = Path("/proc/self/mem")  # opens, and fails at the first byte, as a file on a disk that fails
    with pytest.raises(OSError, match=r"Input/output error: '/proc/self/mem'"), open_regular(memory) as file:
        file.read(1)


def test_what_leads_nowhere_is_absent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("nothing")
    for name in ("nothing", "file/name", "loop", "broken", "null\0", "long" * 100):
        asked = [ask(tmp_path / name) for ask in (exists, is_file, is_dir)]
        assert asked == [False] * 3, name
    assert (lexists(tmp_path / "broken"), lexists(tmp_path / "nothing")) == (True, False)
    assert (exists(tmp_path), is_file(tmp_path), is_dir(tmp_path)) == (True, False, True)
    assert (is_file(tmp_path / "file"), is_dir(tmp_path / "file")) == (True, False)


@pytest.mark.parametrize("ask", [exists, lexists, is_file, is_dir])
def test_what_a_failing_disk_does_not_show_is_not_absent(
    ask: Callable[[Path], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "stat", fail_at(tmp_path / "file"))
    with pytest.raises(OSError, match=r"Input/output error: '.*/file'"):
        ask(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("machine.yaml", lambda folder: Machine()),
        ("experiments/one.yaml", lambda folder: load_experiment("one")),
        ("runs/whole/params.yaml", lambda folder: list_runs(folder / "runs")),
        ("runs/whole/params.yaml", lambda folder: find_run_dir("whole", folder / "runs")),
        ("runs/small-1/sweep.yaml", lambda folder: find_sweep_dir("small-1", folder / "runs")),
        ("runs/whole/provenance.json", lambda folder: read_sessions(folder / "runs/whole/provenance.json")),
    ],
)
def test_a_file_on_a_failing_disk_is_named_and_not_passed_over(
    name: str, read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").touch()
    touched(tmp_path, name)
    monkeypatch.setattr(os, "stat", fail_at(tmp_path / name))
    with pytest.raises(OSError, match=re.escape(name)) as raised:
        read(tmp_path)
    assert error_class(raised.value) is TransientError


def fail_at(place: Path) -> Callable[..., os.stat_result]:
    """Return a function in place of `os.stat` that fails at a path, as on a disk that fails."""
    stat = os.stat

    def fail(path: Any, **options: Any) -> os.stat_result:
        if not isinstance(path, int) and Path.cwd() / os.fsdecode(path) == place:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return stat(path, **options)

    return fail


READERS: dict[str, Callable[[], object]] = {
    "params.yaml": lambda: load_experiment(""),
    "machine.yaml": Machine,
    ".env": Machine,
    "experiment.yaml": lambda: load_experiment("experiment.yaml"),
    "sweep.yaml": lambda: load_sweep("sweep.yaml"),
}


@pytest.mark.parametrize("name", READERS)
def test_settings_are_not_awaited_from_a_pipe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(name)
    with pytest.raises(InputError, match=f"{name}: a pipe or a device, not a file; put a file there"):
        READERS[name]()


def touched(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in sorted(names)]


def test_paths_are_those_that_glob_finds_in_folders_that_can_be_listed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    touched(tmp_path, "b/job.json", "a/c/job.json", "a/job.json", "file", "a/other.json")
    for pattern in ("*/job.json", "*/*/job.json", "*", "a/*.json", "no/*", "[ab]", "file/*"):
        assert find_paths(tmp_path, pattern) == sorted(tmp_path.glob(pattern))
    assert (find_paths(tmp_path / "nothing", "*"), list_folder(tmp_path / "nothing")) == ([], [])


def test_what_systems_leave_beside_files_is_none_of_them(tmp_path: Path) -> None:
    run = touched(tmp_path, "a/job.json", "a/._job.json", ".snapshot/job.json", "lost+found/job.json")[2]
    assert find_paths(tmp_path, "*/*.json") == find_paths(tmp_path, "*/job.json") == [run]
    assert folders_with(tmp_path, "job.json") == [run.parent]
    assert find_paths(tmp_path, ".snapshot/job.json"), "a name that is asked for is no wildcard"


@pytest.mark.parametrize(("number", "kind"), [(errno.EACCES, InputError), (errno.EIO, TransientError)])
@pytest.mark.parametrize("pattern", ["*/*/job.json", "a/c/job.json", "*/c/job.json", "a/*/job.json"])
def test_a_folder_that_cannot_be_listed_is_named_and_not_taken_for_an_empty_one(
    number: int, kind: type[Exception], pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = touched(tmp_path, "a/c/job.json")
    assert find_paths(tmp_path, pattern) == files

    def failing_at(place: Path, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def fail(path: Any) -> Any:
            if Path(path) == place:
                raise OSError(number, os.strerror(number), str(path))
            return call(path)

        return fail

    monkeypatch.setattr(os, "listdir", failing_at(files[0].parent, os.listdir))
    monkeypatch.setattr(os, "lstat", failing_at(files[0], os.lstat))
    with pytest.raises(kind, match="a/c: cannot be listed"):
        find_paths(tmp_path, pattern)
