import shutil
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import InputError, TransientError
from cosmos.evaluation.card import DatasetCard, Measurement, OpenDataset, no_pictures
from cosmos.evaluation.presence import DatasetPresence
from cosmos.stages.dataset_download import download_dataset
from tests.crash_points import killed_at_each_operation


def here(folder: Path) -> Machine:
    return Machine(datasets_root=folder, data_root=folder / "data")


def card(download: Any, file: str = "here", place: str = "here") -> DatasetCard:
    """A dataset that is there once a file below its place is."""

    def find(params: Params, machine: Machine) -> DatasetPresence:
        return DatasetPresence()

    def opened(params: Params, machine: Machine) -> OpenDataset:
        if not (machine.datasets_root / file).exists():
            raise InputError("not here")
        return OpenDataset({"num_images": 1}, {}, (), "", lambda embedder: Measurement({}, {}), no_pictures)

    return DatasetCard("retrieval", "mine", "mine", (place,), "1 image", "yours", 1, find, opened, download)


def test_a_download_fetches_what_is_missing_and_only_that(tmp_path: Path) -> None:
    fetched: list[Path] = []

    def download(root: Path) -> None:
        fetched.append(root)
        (root / "here").touch()
        (root / "here.tgz").touch()

    root = tmp_path / "datasets"
    download_dataset(card(download), Params(), here(root))
    download_dataset(card(download), Params(), here(root))
    assert len(fetched) == 1
    assert sorted(path.name for path in root.iterdir()) == ["here", "here.tgz"]


def download_and_unpack(root: Path) -> None:
    """Act as torchvision does, which takes archives and folders that are there for whole ones."""
    if not (root / "set.zip").exists():
        (root / "set.zip").write_bytes(b"PK")
    if not (root / "set").exists():
        (root / "set" / "images").mkdir(parents=True)
        for number in range(3):
            (root / "set" / "images" / f"{number}.jpg").touch()


def test_a_download_that_is_killed_at_any_moment_is_completed_by_the_same_command(tmp_path: Path) -> None:
    root, mine = tmp_path / "datasets", card(download_and_unpack, "set/images/2.jpg", "set")
    names = ["set", "set/images", *(f"set/images/{number}.jpg" for number in range(3))]
    for _ in killed_at_each_operation(lambda: download_dataset(mine, Params(), here(root)), root):
        download_dataset(mine, Params(), here(root))
        download_dataset(mine, Params(), here(root))
        left = sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))
        assert [name for name in left if name != "set.zip"] == names
        shutil.rmtree(root)


def test_an_archive_that_came_damaged_is_downloaded_anew(tmp_path: Path) -> None:
    def download(root: Path) -> None:
        is_whole = not (root / "set.zip").exists()
        (root / "set.zip").touch()
        if not is_whole:
            raise EOFError("ended early")
        (root / "here").touch()

    half = tmp_path / ".mine.download" / "set.zip"
    half.parent.mkdir()
    half.touch()
    with pytest.raises(TransientError, match=r"mine: the download came damaged \(ended early\); run"):
        download_dataset(card(download), Params(), here(tmp_path))
    download_dataset(card(download), Params(), here(tmp_path))
    assert (tmp_path / "here").exists()


def test_a_part_that_is_there_is_named_before_anything_is_downloaded(tmp_path: Path) -> None:
    (tmp_path / "VOC2012" / "JPEGImages").mkdir(parents=True)
    part = card(lambda root: pytest.fail("downloaded"), place="VOC2012")
    with pytest.raises(InputError, match="VOC2012: holds a part of mine; remove it, then"):
        download_dataset(part, Params(), here(tmp_path))


def test_a_download_that_fails_is_told_with_its_cause(tmp_path: Path) -> None:
    def download(root: Path) -> None:
        raise OSError("the host is down")

    with pytest.raises(TransientError, match=r"mine: the download failed \(the host is down\); run .* again"):
        download_dataset(card(download), Params(), here(tmp_path))


@pytest.mark.parametrize(("status", "kind"), [(404, InputError), (403, InputError), (503, TransientError)])
def test_a_download_that_a_server_refuses_is_not_worth_another_try(
    tmp_path: Path, status: int, kind: type[Exception]
) -> None:
    def download(root: Path) -> None:
        raise HTTPError("https://here", status, "no", Message(), None)

    with pytest.raises(kind, match=rf"mine: the download failed \(HTTP Error {status}: no\); (put it|run)"):
        download_dataset(card(download), Params(), here(tmp_path))


def test_a_dataset_on_a_failing_disk_is_not_downloaded_again(tmp_path: Path) -> None:
    def opened(params: Params, machine: Machine) -> OpenDataset:
        raise TransientError("the disk failed")

    failing = replace(card(lambda root: pytest.fail("downloaded")), open=opened)
    with pytest.raises(TransientError, match="mine: the disk failed; run the command again"):
        download_dataset(failing, Params(), here(tmp_path))
