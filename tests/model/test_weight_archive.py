"""Checksums of checkpoints: other bytes than were written are told from a disk that fails."""

import errno
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.serialization import set_crc32_options

from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.model.weight_archive import verify_checkpoint
from cosmos.model.weight_files import read_weight_file
from cosmos.run.directory import RunDir

STUDENT = {"a": torch.arange(30.0)}
CONTENT = {"student": STUDENT, "progress": {"seconds": 1.0}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(CONTENT, tmp_path / "w.pt")
    return tmp_path / "w.pt"


def is_as_written(content: Any) -> bool:
    return content["progress"] == CONTENT["progress"] and torch.equal(
        content["student"]["a"], torch.arange(30.0)
    )


def test_a_flipped_bit_is_a_damaged_file_or_changes_nothing(path: Path) -> None:
    whole = path.read_bytes()
    messages = []
    for place in range(0, len(whole), 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place // 2 % 8]) + whole[place + 1 :])
        try:
            assert is_as_written(read_weight_file(path)), place
        except DamagedDataError as error:
            messages.append(str(error))
    assert len(messages) > len(whole) / 4
    assert all(m.startswith(f"{path}: broken or cut short (") and m.isprintable() for m in messages)


def test_each_byte_of_a_tensor_is_checked(path: Path) -> None:
    whole = path.read_bytes()
    start = whole.index(torch.arange(30.0).numpy().tobytes())
    for place in range(start, start + 120):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedDataError, match=r"w\.pt: broken .*data/0"):
            verify_checkpoint(path)
    path.write_bytes(whole)
    assert verify_checkpoint(path)


def test_files_without_checksums_are_told_from_those_that_were_checked(path: Path, tmp_path: Path) -> None:
    save_file(STUDENT, tmp_path / "w.safetensors")
    torch.save(CONTENT, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    set_crc32_options(False)
    torch.save(CONTENT, tmp_path / "none.pt")
    set_crc32_options(True)
    assert is_as_written(read_weight_file(tmp_path / "none.pt"))
    names = ("w.pt", "w.safetensors", "old.pt", "none.pt")
    assert [verify_checkpoint(tmp_path / name) for name in names] == [True, False, False, False]


def test_a_file_that_is_lost_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"w\.pt: no such checkpoint"):
        verify_checkpoint(tmp_path / "w.pt")
    (tmp_path / "w.pt").touch()
    with pytest.raises(DamagedDataError, match=r"w\.pt: .* empty"):
        verify_checkpoint(tmp_path / "w.pt")


def test_an_archive_that_another_program_compressed_is_not_mapped_as_it_is(
    path: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    with pytest.raises(DamagedDataError, match="compressed"):
        read_weight_file(path)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_failing_disk_is_no_damage_wherever_it_shows(
    path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(number, "fails")

    def fail_as_torch_does(*args: object, **options: object) -> None:
        raise RuntimeError(f"unable to open file <{path}> in read-only mode: Input/output error ({number})")

    places: tuple[tuple[Any, str, Any], ...] = (
        (zipfile, "_EndRecData", fail),
        (zipfile.ZipExtFile, "read", fail),
        (torch, "load", fail),
        (torch, "load", fail_as_torch_does),
    )
    for owner, name, failure in places:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failure)
            with pytest.raises(TransientError, match=r"w\.pt: cannot be read"):
                read_weight_file(path)


def test_one_failure_of_torchs_own_reader_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = torch.load

    def fail_once(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(torch, "load", load)
        raise RuntimeError("PytorchStreamReader failed reading zip archive: file read failed")

    monkeypatch.setattr(torch, "load", fail_once)
    assert is_as_written(read_weight_file(path))


def test_the_remedy_for_a_damaged_save_of_a_run_names_the_one_before(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "mine")
    run.checkpoints.mkdir(parents=True)
    run.params.write_text("{}\n")
    for step in (4, 8):
        torch.save(CONTENT, run.checkpoint(step))
    remedies = {
        8: f"pretrain command makes it again from {run.checkpoint(4)}",
        4: "delete it: .*8.pt is newer",
    }
    for step, remedy in remedies.items():
        whole = run.checkpoint(step).read_bytes()
        for cut in (b"", whole[:-100]):
            run.checkpoint(step).write_bytes(cut)
            with pytest.raises(DamagedDataError, match=rf"{step}\.pt: .*; .*{remedy}"):
                read_weight_file(run.checkpoint(step))
        run.checkpoint(step).write_bytes(whole)
    run.checkpoint(4).unlink()
    run.checkpoint(8).write_bytes(b"")
    with pytest.raises(DamagedDataError, match="bring a copy back, or move it away"):
        read_weight_file(run.checkpoint(8))
