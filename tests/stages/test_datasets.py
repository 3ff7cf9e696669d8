import errno
import json
import sys
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from cosmos.cli import run_command
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import InputError, TransientError
from cosmos.evaluation.card import DatasetCard, OpenDataset, no_pictures
from cosmos.stages.datasets import DatasetListing, describe_presence, download_dataset, list_datasets
from tests.evaluation.examples import write_images


def here(folder: Path) -> Machine:
    return Machine(datasets_root=folder, data_root=folder / "data")


def listed(folder: Path, *names: str) -> dict[str, DatasetListing]:
    return {item.name: item for item in list_datasets(names, Params(), here(folder), quiet=True)}


def write_flickr8k(folder: Path) -> None:
    write_images(folder / "flickr8k" / "Images", {"1.jpg": "red", "2.jpg": "blue"})
    (folder / "flickr8k" / "captions.txt").write_text("image,caption\n1.jpg,red\n2.jpg,blue\n")


def test_all_datasets_of_all_suites_are_listed_with_what_people_ask(tmp_path: Path) -> None:
    found = list_datasets((), Params(), here(tmp_path), quiet=True)
    assert {item.suite for item in found} == set(SuiteName.__args__)  # type: ignore[attr-defined]
    assert len(found) > 30
    for item in found:
        assert item.layout
        assert item.size
        assert item.licence
        assert not item.present
        assert item.state


def test_a_dataset_is_absent_in_part_or_complete(tmp_path: Path) -> None:
    assert "captions.txt: no such file" in listed(tmp_path, "flickr8k")["flickr8k"].state
    write_flickr8k(tmp_path)
    part = listed(tmp_path, "flickr8k")["flickr8k"]
    assert (part.present, part.complete, part.state) == (True, False, "2 images of 8,091")
    (tmp_path / "flickr8k" / "Images" / "2.jpg").unlink()
    damaged = listed(tmp_path, "flickr8k")["flickr8k"]
    assert not damaged.present
    assert "1 of 2 images are missing" in damaged.state


def test_a_name_that_is_no_dataset_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no dataset voc22; near it: voc21, voc20"):
        listed(tmp_path, "voc20", "voc22")


def test_what_no_program_can_download_is_told_with_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"imagenet: cannot be downloaded .*imagenet/val/<wnid>/\*\.JPEG"):
        list_datasets(["imagenet"], Params(), here(tmp_path), download=True, quiet=True)


def card(download: Any) -> DatasetCard:
    """A dataset that is there once the file `here` is."""

    def opened(params: Params, machine: Machine) -> OpenDataset:
        if not (machine.datasets_root / "here").exists():
            raise InputError("not here")
        return OpenDataset({"num_images": 1}, {}, (), "", lambda embedder: {}, no_pictures)

    return DatasetCard("retrieval", "mine", "mine", ("here",), "1 image", "yours", 1, opened, download)


def test_a_download_fetches_what_is_missing_and_only_that(tmp_path: Path) -> None:
    fetched: list[Path] = []

    def download(root: Path) -> None:
        fetched.append(root)
        (root / "here").touch()

    root = tmp_path / "datasets"
    download_dataset(card(download), Params(), here(root))
    download_dataset(card(download), Params(), here(root))
    assert fetched == [root]


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


def test_a_dataset_on_a_failing_disk_is_neither_absent_nor_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(folder))

    monkeypatch.setattr(
        "cosmos.evaluation.retrieval.layouts.check_file_exists", lambda path, remedy: fail(path)
    )
    unknown = listed(tmp_path, "flickr8k")["flickr8k"]
    assert (unknown.present, unknown.unknown, describe_presence(unknown)) == (False, True, "unknown")
    assert "Input/output error" in unknown.state

    def opened(params: Params, machine: Machine) -> OpenDataset:
        raise TransientError("the disk failed")

    failing = replace(card(lambda root: pytest.fail("downloaded")), open=opened)
    with pytest.raises(TransientError, match="mine: the disk failed; run the command again"):
        download_dataset(failing, Params(), here(tmp_path))


def test_the_command_prints_a_table_the_layout_of_one_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cosmos", "datasets", *arguments])
        run_command()
        return capsys.readouterr().out

    write_flickr8k(tmp_path)
    monkeypatch.setenv("COSMOS_DATASETS_ROOT", str(tmp_path))
    table = printed()
    assert "coco-object" in table
    assert "in part" in table
    assert "flickr8k/captions.txt" in printed("flickr8k")
    found = json.loads(printed("flickr8k", "voc20", "--json"))
    assert [item["name"] for item in found] == ["flickr8k", "voc20"]
