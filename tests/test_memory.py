"""Memory for files of tests: taken where it has room for them and their programs, or else the disk."""

from pathlib import Path

import pytest

from tests import memory
from tests.disks import small_disk
from tests.memory import free_memory, memory_with_room

MB = 2**20


@pytest.mark.parametrize(
    ("options", "needed", "has_room"),
    [
        ("size=8m", 2 * MB, True),
        ("size=8m", 32 * MB, False),
        ("size=8m,noexec", 2 * MB, False),
        ("size=8m,ro", 2 * MB, False),
    ],
)
def test_memory_is_taken_where_there_is_room_for_files_and_programs(
    options: str, needed: int, has_room: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shm"
    monkeypatch.setattr(memory, "MEMORY", folder)
    with small_disk(folder, options):
        assert memory_with_room(needed) == (folder if has_room else None)


def test_a_machine_without_such_a_folder_has_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "shm")
    assert memory_with_room(1) is None


def test_memory_that_a_container_may_not_use_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    whole = free_memory()
    (tmp_path / "memory.current").write_text(f"{3 * MB}\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() == pytest.approx(whole, rel=0.5)
    (tmp_path / "memory.max").write_text(f"{5 * MB}\n")
    assert free_memory() == 2 * MB
    assert memory_with_room(3 * MB) is None
