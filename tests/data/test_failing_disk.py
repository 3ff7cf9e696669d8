"""Readers of files on a disk that fails: what they raise names the file, and is worth another try."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.params import DataParams
from cosmos.data.manifest import Manifest
from cosmos.data.shards.damage import find_damage, find_local_damage
from cosmos.data.shards.index import ShardIndex
from cosmos.data.shards.samples import ShardedSamples, write_shard
from cosmos.data.shards.tar_entries import scan_tar
from cosmos.data.sources.caption_files import load_json_file, load_text_file, read_captions_csv
from cosmos.data.sources.caption_tables import locate_rows
from cosmos.data.sources.img2dataset import find_downloads
from cosmos.data.sources.inputs import ByteSpan
from cosmos.data.sources.openers import open_source
from cosmos.errors import NotPermittedError, TransientError
from tests.data.examples import machine, samples, write_images

READERS: dict[str, Callable[[Path], Any]] = {
    "a.json": load_json_file,
    "a.txt": load_text_file,
    "a.csv": read_captions_csv,
    "b.csv": lambda path: locate_rows(path, "dreamlip"),
    "b.jsonl": lambda path: locate_rows(path, "pixelprose"),
    "a.jpg": lambda path: ByteSpan(str(path)).read(100),
    "a.npz": ShardIndex.read,
    "manifest.json": lambda path: Manifest.read(path.parent),
    "a.tar": lambda path: list(scan_tar(path)),
}


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, "it failed")

    return fail


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE])
def test_a_reader_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    (tmp_path / name).touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing(number))
        with pytest.raises(TransientError, match=rf"{name}.*it failed"):
            READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_not_there_is_no_failure_of_the_disk(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EIO, TransientError),
        (errno.EACCES, NotPermittedError),
        (errno.EROFS, NotPermittedError),
    ],
)
def test_a_shard_that_cannot_be_opened_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    info = write_shard(tmp_path / "s.tar", samples(1))
    Manifest("captions", (info,), (), {}).write(tmp_path)
    read = ShardedSamples(tmp_path, machine(tmp_path))
    for call in ("samples.os.open", "damage.os.stat"):
        with monkeypatch.context() as patch:
            patch.setattr(f"cosmos.data.shards.{call}", failing(number))
            with pytest.raises(kind, match=rf"{tmp_path}/s\.tar: cannot be opened"):
                read.read(0) if call == "samples.os.open" else find_damage(info, tmp_path / "s.tar")
    assert read.read(0) == samples(1)[0]


def test_an_index_whose_state_cannot_be_read_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = write_shard(tmp_path / "s.tar", samples(1))
    monkeypatch.setattr(Path, "stat", failing(errno.ETIMEDOUT))
    with pytest.raises(TransientError, match=rf"{tmp_path}/s\.idx\.npz: cannot be opened"):
        find_local_damage(info, tmp_path)


def test_an_index_that_this_user_may_not_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.npz").touch()
    monkeypatch.setattr(Path, "open", failing(errno.EACCES))
    with pytest.raises(NotPermittedError, match=r"a.npz: cannot be read .*; change the permissions"):
        ShardIndex.read(tmp_path / "a.npz")


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "source" / "images", ["a.jpg"])
    monkeypatch.setattr("os.scandir", failing(errno.EIO))
    with pytest.raises(TransientError, match="cannot be listed"):
        open_source(DataParams(source="folder", images="images"), machine(tmp_path))
    with pytest.raises(TransientError, match="cannot be listed"):
        find_downloads(tmp_path / "source" / "images")
