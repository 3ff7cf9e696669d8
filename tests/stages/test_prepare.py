import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.params import Params
from cosmos.data.preparation import find_source_difference, prepare_dataset
from cosmos.data.shards.samples import ShardedSamples
from cosmos.stages.prepare import draw_preview, prepare
from tests.data.examples import flickr8k, machine
from tests.stages.examples import cosmos


def test_prepare_says_where_everything_is_and_does_nothing_the_second_time(place: Path) -> None:
    files = {p: p.stat().st_mtime_ns for p in (place / "data").rglob("*") if p.is_file()}
    done = cosmos(place, "prepare", "--json")
    summary = json.loads(done.stdout)
    assert summary["train"]["num_samples"] == 40
    assert (bool(summary["prepared_before"]), summary["source_differs"]) == (True, "")
    assert (place / "data" / "demo" / "preview.png").is_file()
    assert {p: p.stat().st_mtime_ns for p in (place / "data").rglob("*") if p.is_file()} == files


def test_prepare_with_other_parameters_is_refused(place: Path) -> None:
    done = cosmos(place, "prepare", "--data.seed", "5")
    assert done.returncode == 2
    assert "data.seed: 0 -> 5" in done.stderr


def test_prepare_tells_of_a_dataset_that_was_prepared_before_and_of_a_source_that_grew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = machine(tmp_path)

    def prepared(**changes: Any) -> str:
        data = flickr8k(tmp_path, **changes)
        for path in (tmp_path / "source").rglob("*"):
            os.utime(path, (0, 0))
        prepare(Params(data=data), here)
        return capsys.readouterr().out

    assert "before" not in prepared()
    again = prepared()
    assert re.search(r"things: was prepared before, at 20\d\d-.*; nothing was done\n", again)
    assert "its source" not in again
    grown = prepared(number=9)
    assert re.search(
        r"its source is not the same .*: 10 files of .* bytes now, 7 files of .* then; .*delete", grown
    )
    assert "train: 6 samples" in grown


def test_a_source_of_which_a_file_was_edited_in_place_is_told(tmp_path: Path) -> None:
    here, data = machine(tmp_path), flickr8k(tmp_path)
    prepare(Params(data=data), here, quiet=True)
    assert find_source_difference(data, here) == ""
    manifest = here.dataset("things", "train") / "manifest.json"
    os.utime(manifest, (time.time() - 60,) * 2)
    assert find_source_difference(data, here) == "some of its files were changed after that"
    (here.data_root / "things" / "source.json").unlink()  # as prepared by an older version
    assert find_source_difference(data, here) == "some of its files were changed after that"
    shutil.rmtree(tmp_path / "source")
    assert find_source_difference(data, here) == ""


def test_a_sample_that_cannot_be_shown_leaves_a_dataset_without_a_preview(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = machine(tmp_path)
    prepare_dataset(flickr8k(tmp_path), here, processes=1)
    folder = here.dataset("things", "train")
    os.truncate(folder / "shard-00000.tar", 512)
    draw_preview(ShardedSamples(folder, here), tmp_path / "preview.png", 10_000)
    assert not (tmp_path / "preview.png").exists()
    assert f"{folder}: no preview: {folder}/shard-00000.tar: has 512 bytes" in caplog.text
