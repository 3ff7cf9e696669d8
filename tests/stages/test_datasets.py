import errno
import json
import os
import sys
from pathlib import Path

import pytest

from cosmos.cli import run_command
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.manifest import Manifest, ShardInfo
from cosmos.data.shards.index import index_path
from cosmos.stages.datasets import DatasetListing, describe_presence, list_datasets
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
    for number in range(8_089):
        (tmp_path / "flickr8k" / "Images" / f"more-{number}.jpg").touch()
    whole = listed(tmp_path, "flickr8k")["flickr8k"]
    assert (whole.present, whole.complete, whole.state) == (True, True, "there")


def test_a_dataset_of_which_no_image_may_be_missing_is_absent_until_all_are_there(tmp_path: Path) -> None:
    for city in ("bonn", "ulm"):
        names = dict.fromkeys([f"{city}/{number}" for number in range(249)])
        for folder, suffix in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelTrainIds")):
            files = {f"{name}_{suffix}.png": "red" for name in names}
            write_images(tmp_path / "cityscapes" / folder / "val", files)
    absent = listed(tmp_path, "cityscapes")["cityscapes"]
    assert not absent.present
    assert "val: 498 images of 500 are there; `cosmos datasets` shows" in absent.state


def test_images_of_other_datasets_in_a_folder_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "dataset_coco.json").touch()
    write_images(tmp_path / "coco" / "images" / "val2017", {"1.jpg": "red"})
    assert "coco/images: no images" in listed(tmp_path, "coco-karpathy")["coco-karpathy"].state
    write_images(tmp_path / "coco" / "images" / "val2014", {"1.jpg": "red"})
    assert listed(tmp_path, "coco-karpathy")["coco-karpathy"].state == "1 images of 5,000"


class TestSplit:
    """Splits of the prepared dataset, of which no shard is opened."""

    def split(self, folder: Path, *shards: str) -> Path:
        """The folder of a split with shards that block whoever opens them, and indexes that are none."""
        split = folder / "data" / "demo" / "heldout"
        split.mkdir(parents=True)
        for shard in shards:
            if "://" not in shard:
                os.mkfifo(split / shard)
            index_path(split, shard).touch()
        source = {"source": "shards" if "://" in shards[0] else "demo"}
        infos = tuple(ShardInfo(shard, 1000, 2_000_000, "a" * 64) for shard in shards)
        Manifest("captions", infos, (), source).write(split)
        return split

    def test_it_is_there_by_its_manifest_and_the_names_of_its_shards(self, tmp_path: Path) -> None:
        split = self.split(tmp_path, "0.tar", "1.tar")
        there = listed(tmp_path, "heldout")["heldout"]
        assert (there.present, there.complete, there.state) == (True, True, "2,000 images")
        (split / "1.tar").unlink()
        away = listed(tmp_path, "heldout")["heldout"]
        assert not away.present
        assert f"1 files of its shards are missing: {split / '1.tar'}; put them back" in away.state

    def test_a_storage_of_remote_shards_is_not_asked(self, tmp_path: Path) -> None:
        split = self.split(tmp_path, "http://127.0.0.1:9/0.tar", "s3://no-bucket/1.tar")
        assert listed(tmp_path, "heldout")["heldout"].state == "2,000 images, in a storage that is not asked"
        index_path(split, "s3://no-bucket/1.tar").unlink()
        assert not listed(tmp_path, "heldout")["heldout"].present


def test_a_name_that_is_no_dataset_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no dataset voc22; near it: voc21, voc20"):
        listed(tmp_path, "voc20", "voc22")


def test_what_no_program_can_download_is_told_with_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"imagenet: cannot be downloaded .*imagenet/val/<wnid>/\*\.JPEG"):
        list_datasets(["imagenet"], Params(), here(tmp_path), download=True, quiet=True)


def test_a_dataset_on_a_failing_disk_is_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(folder))

    monkeypatch.setattr("cosmos.evaluation.presence.check_file_exists", lambda path, remedy: fail(path))
    unknown = listed(tmp_path, "flickr8k")["flickr8k"]
    assert (unknown.present, unknown.unknown, describe_presence(unknown)) == (False, True, "unknown")
    assert "Input/output error" in unknown.state


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
