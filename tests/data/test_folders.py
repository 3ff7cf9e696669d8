"""Walks through folders that strangers filled."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.disk_reading import is_broken_link, is_hidden, list_names
from cosmos.data.folders import walk_files
from cosmos.data.shards.tar_entries import scan_tar
from cosmos.data.sources.inputs import ByteSpan
from cosmos.errors import DamagedDataError, InputError, TransientError
from tests.config.test_disk_reading import fail_at


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def walked(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in walk_files(folder))


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "disk/deep/1.jpg", "photos/0.jpg")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "disk")
    (tmp_path / "linked").symlink_to(tmp_path / "photos")
    assert walked(tmp_path / "photos") == ["0.jpg", "more/deep/1.jpg"]
    assert walked(tmp_path / "linked") == ["0.jpg", "more/deep/1.jpg"]


def test_no_file_comes_twice_and_no_link_leads_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "photos/b/1.jpg", "disk/2.jpg")
    links = {"a": "photos/b", "b/up": "photos", "b/self": "photos/b", "c": "disk", "d": "disk"}
    for name, target in links.items():
        (tmp_path / "photos" / name).symlink_to(tmp_path / target)
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "photos")
    assert walked(tmp_path / "photos") == ["b/1.jpg", "c/2.jpg"]


HIDDEN = ("._a.jpg", ".DS_Store", ".ipynb_checkpoints", "__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir")


@pytest.mark.parametrize("name", HIDDEN)
def test_what_systems_leave_behind_is_no_input(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.jpg", f"{name}/b.jpg")
    assert is_hidden(name)
    assert walked(tmp_path) == list_names(tmp_path) == ["a.jpg"]


def test_a_hidden_folder_that_is_asked_for_is_walked(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/a.jpg")
    assert walked(tmp_path / ".cache") == ["a.jpg"]
    assert not any(map(is_hidden, (".", "..", "a.jpg", "macosx")))


def test_a_link_to_what_is_not_there_can_be_told(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    (tmp_path / "good").symlink_to(tmp_path / "a")
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    assert [name for name in list_names(tmp_path) if is_broken_link(tmp_path / name)] == ["broken"]
    assert list_names(tmp_path / "nothing") == []


@pytest.mark.parametrize(("number", "error_class"), [(errno.EACCES, InputError), (errno.EIO, TransientError)])
def test_a_folder_that_cannot_be_listed_is_an_error_and_leaves_no_file_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error_class: type[Exception]
) -> None:
    touch(tmp_path, "0.png", "a/1.png", "a/b/2.png")
    assert walked(tmp_path) == ["0.png", "a/1.png", "a/b/2.png"]
    scandir = os.scandir

    def fail(path: str) -> Any:
        if Path(path).name == "b":
            raise OSError(number, os.strerror(number), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(error_class, match=r"a/b: cannot be listed"):
        list(walk_files(tmp_path))


def test_a_link_to_a_folder_on_a_disk_that_fails_is_not_taken_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "disk/1.jpg", "photos/0.jpg")
    link = tmp_path / "photos" / "more"
    link.symlink_to(tmp_path / "disk")
    monkeypatch.setattr(os, "stat", fail_at(link))
    with pytest.raises(TransientError, match=r"photos/more: cannot be listed \(Input/output error\)"):
        walked(tmp_path / "photos")


def test_a_link_in_a_circle_is_a_name_like_that_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert walked(tmp_path) == ["loop.jpg"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(DamagedDataError, match=r"a\.jpg: a pipe or a device"):
        ByteSpan(str(tmp_path / "a.jpg")).read(9)
    with pytest.raises(DamagedDataError, match=r"a\.jpg: cannot be read \(.*a pipe or a device"):
        list(scan_tar(tmp_path / "a.jpg"))
