import errno
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from filelock import lock_descriptor

from cosmos.config.process_space import process_space
from cosmos.errors import InputError, NotPermittedError, TransientError, error_class
from cosmos.run import files
from cosmos.run.abandoned_files import remove_abandoned
from cosmos.run.files import (
    file_label,
    holding_lock,
    link_or_copy,
    make_temporary_file,
    open_to_append,
    remove_folder,
    replacing,
    replacing_folder,
    require_own_folder,
    write_json,
    write_text,
)
from cosmos.run.metrics import MetricsWriter
from tests.crash_points import killed_at_each_operation
from tests.disks import fail_syncs, small_disk
from tests.other_users import ALICE, BOB, acting_as, only_root_is_others, shared_folder


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "f", "old")

    def write_half() -> None:
        with replacing(tmp_path / "f") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"


def test_no_two_long_texts_have_one_label_and_each_fits_a_name() -> None:
    ending = "experiments-of-a-laboratory/runs/vitb16-merged30m-a3f0/checkpoints/step-00090000.pt"
    first, second = (file_label(f"/scratch/{who}/{ending}") for who in ("ann", "bob"))
    assert first != second
    assert first.endswith("a3f0-checkpoints-step-00090000.pt")
    assert max(len(file_label(sign * 85).encode()) for sign in ("x", "é", "名", "\U00020000", "\udcff")) <= 80
    assert file_label("published:cosmos_vitb16_cc3m") == "published-cosmos_vitb16_cc3m"


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"x": 1})
    assert (tmp_path / "a" / "b.json").read_text() == '{\n  "x": 1\n}\n'


def test_a_pipe_in_the_place_of_a_file_to_append_to_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(InputError, match="lock: a pipe or a socket, not a file; move it away"):
        open_to_append(tmp_path / "lock")
    with pytest.raises(InputError, match="lock: a pipe"), holding_lock(tmp_path / "lock"):
        pass


def test_values_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", float("nan"))


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with replacing_folder(tmp_path / "folder") as folder:
            (folder / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["folder", "folder/new"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_that_syncs_nothing_is_written_all_the_same(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_syncs(monkeypatch, number)
    write_text(tmp_path / "file", "new")
    with replacing_folder(tmp_path / "folder") as folder:
        (folder / "inside").mkdir()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "inside"]


def test_a_folder_that_is_replaced_through_a_link_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "large_disk" / "folder").mkdir(parents=True)
    (tmp_path / "folder").symlink_to(tmp_path / "large_disk" / "folder")
    with replacing_folder(tmp_path / "folder") as folder:
        (folder / "new").touch()
    assert (tmp_path / "folder").is_symlink()
    assert [p.name for p in (tmp_path / "large_disk").iterdir()] == ["folder"]
    assert [p.name for p in (tmp_path / "large_disk" / "folder").iterdir()] == ["new"]


def test_an_error_while_filling_a_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()

    def fill_half() -> None:
        with replacing_folder(tmp_path / "folder") as folder:
            (folder / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill_half()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["folder", "folder/old"]


def test_a_file_gets_another_name_without_more_room_on_the_disk(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "text")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ETIMEDOUT])
def test_a_full_or_failing_disk_is_transient_and_names_the_file_which_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "f.json"
    write_json(path, "old")
    fail_syncs(monkeypatch, number)
    with pytest.raises(TransientError, match=rf"f\.json: {os.strerror(number)}; .* give the same"):
        write_json(path, "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("f.json", '"old"\n')]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_disk_that_can_only_be_read_by_now_is_named_by_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "f.json"
    write_json(path, "old")
    fail_syncs(monkeypatch, number)
    with pytest.raises(OSError, match=rf"{os.strerror(number)}: '.*/f\.json'") as raised:
        write_json(path, "new")
    assert error_class(raised.value) is NotPermittedError
    assert path.read_text() == '"old"\n'


def test_a_full_disk_keeps_the_old_file_and_loses_no_name(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k"):
        write_text(tmp_path / "disk" / "f", "old")
        with pytest.raises(TransientError, match=r"disk/f: No space left on device; free space"):
            write_text(tmp_path / "disk" / "f", "0" * 100_000)
        assert [(p.name, p.read_text()) for p in (tmp_path / "disk").iterdir()] == [("f", "old")]
        metrics = MetricsWriter(tmp_path / "disk" / "metrics.jsonl")
        with pytest.raises(TransientError, match=r"disk/metrics\.jsonl: No space left on device"):
            metrics.log({"step": 1, "text": "0" * 100_000})


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.EMFILE])
def test_no_error_names_the_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(temporary: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(temporary), None, str(target))

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match=rf"'{tmp_path}/f'$") as raised:
        write_text(tmp_path / "f", "new")
    assert raised.value.errno == number
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_file_inside_of_a_folder_that_is_replaced(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "size=64k"):
        (tmp_path / "large").write_bytes(bytes(100_000))
        with (
            pytest.raises(TransientError, match=r"disk/folder/copy: No space left on device; free space"),
            replacing_folder(disk / "folder") as folder,
        ):
            link_or_copy(tmp_path / "large", folder / "copy")
        with (
            pytest.raises(TransientError, match=r"disk/folder/text: No space left on device; free space"),
            replacing_folder(disk / "folder") as folder,
        ):
            write_text(folder / "text", "0" * 100_000)
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_that_is_replaced_is_there_whenever_the_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr("cosmos.run.files._exchange", lambda folder, path: False)
    path = tmp_path / "there" / "folder"

    def replace(text: str) -> None:
        with replacing_folder(path) as folder:
            write_text(folder / "f", text)
            write_text(folder / "g", text)

    replace("old")
    for _ in killed_at_each_operation(lambda: replace("new"), tmp_path):
        if not exchanges:
            remove_abandoned(path.parent)
        assert (path / "f").read_text() == (path / "g").read_text() in {"old", "new"}
        replace("old")
        remove_abandoned(path.parent)  # which a process does by itself when it first writes there
        assert [p.name for p in path.parent.iterdir()] == ["folder"]


def test_a_folder_that_another_process_made_meanwhile_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("of the other")
    monkeypatch.setattr("os.path.lexists", lambda path: False)  # as it was a moment ago
    with replacing_folder(tmp_path / "folder") as folder:
        (folder / "file").write_text("ours")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "file").read_text() == "ours"


def test_only_folders_are_replaced_and_none_that_holds_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "file", "text")
    with pytest.raises(InputError, match="file: a file; name a folder"), replacing_folder(tmp_path / "file"):
        pass
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    with pytest.raises(InputError, match="holds the folder worked in"), replacing_folder(Path("..")):
        pass


def test_a_folder_with_files_of_others_is_not_replaced(tmp_path: Path) -> None:
    for name in ("ours", "thesis.tex"):
        (tmp_path / name).touch()
    with pytest.raises(
        InputError, match=r"/thesis\.tex: would be deleted, since .* is replaced; name an empty"
    ):
        require_own_folder(tmp_path, lambda name: name == "ours")
    require_own_folder(tmp_path, lambda name: True)
    (tmp_path / "thesis.tex").unlink()
    for name in ("._ours", ".DS_Store", ".nfs0000000000000001", "Thumbs.db"):
        (tmp_path / name).touch()
    require_own_folder(tmp_path, lambda name: name == "ours")
    require_own_folder(tmp_path / "absent", lambda name: False)


def test_a_mount_is_refused_before_anything_is_computed_for_it() -> None:
    with pytest.raises(InputError, match=r"/proc: a mount, .* name a folder in it"):
        require_own_folder(Path("/proc"), lambda name: True)


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV])
def test_a_folder_that_cannot_be_renamed_is_named_and_stays(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "mount" / "old", "")

    def refuse(path: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number), str(path), None, str(target))

    monkeypatch.setattr(files, "_exchange", lambda folder, path: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with (
        pytest.raises(InputError, match=r"/mount: cannot be renamed .*; name a folder in it"),
        replacing_folder(tmp_path / "mount"),
    ):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["mount", "old"]


def test_what_killed_processes_left_goes_when_somebody_writes_there(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    here, host, days_ago = process_space(), socket.gethostname(), time.time() - 3 * 24 * 3600
    gone = [f".f.cosmos.{here}.{killed.pid}.tmp", f".f.{host}.{killed.pid}.tmp", ".f.cosmos.a.b.1.tmp"]
    kept = [f".f.cosmos.{here}.{os.getpid()}.tmp", ".f.cosmos.a.b.2.tmp", ".f.a.b.1.tmp", "f.tmp", "folder"]
    for name in (*gone, *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").touch()
    os.utime(tmp_path / gone[-1], (days_ago, days_ago))
    (tmp_path / f".folder.cosmos.{here}.{killed.pid}.old").touch()
    (tmp_path / f".lost.cosmos.{here}.{killed.pid}.old").touch()
    write_text(tmp_path / "g", "text")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "g", "lost"}


def test_an_error_with_another_file_keeps_its_name(tmp_path: Path) -> None:
    def copy_what_is_missing() -> None:
        with replacing(tmp_path / "f"):
            (tmp_path / "missing").read_text()

    with pytest.raises(FileNotFoundError, match="missing"):
        copy_what_is_missing()


def test_what_a_killed_process_left_is_removed_before_its_parent_has_noted_the_end(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        left = tmp_path / f".a.cosmos.{process_space()}.{process.pid}.tmp"
        left.touch()
        remove_abandoned(tmp_path)
        assert left.exists()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        remove_abandoned(tmp_path)
    assert not left.exists()


def test_a_folder_that_is_removed_is_whole_or_gone(tmp_path: Path) -> None:
    folder = tmp_path / "parent" / "folder"
    folder.mkdir(parents=True)
    files = {folder / name for name in ("first", "second")}
    for file in files:
        file.touch()
    for _ in killed_at_each_operation(lambda: remove_folder(folder), folder.parent):
        assert not folder.exists() or set(folder.iterdir()) == files
        remove_abandoned(folder.parent)
        folder.mkdir(exist_ok=True)
        for file in files:
            file.touch()
    assert list(folder.parent.iterdir()) == []


@only_root_is_others
def test_users_hold_the_lock_of_a_file_that_one_of_them_made() -> None:
    with shared_folder() as shared:
        with acting_as(ALICE, umask=0o022), holding_lock(shared / "lock"):
            pass
        with acting_as(BOB), holding_lock(shared / "lock"), (shared / "lock").open() as other:
            assert not lock_descriptor(other.fileno(), blocking=False)


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_file_that_is_made_aside_is_for_those_that_the_umask_lets_read(
    umask: int, mode: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        made = [make_temporary_file(tmp_path / "file") for _ in range(2)]
        with replacing(tmp_path / "other") as temporary:
            temporary.touch()
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert (len(set(made)), modes) == (2, {mode})
