import json
import os
from pathlib import Path

import pytest

from cosmos.data.preparation import prepare_dataset
from cosmos.data.shards.samples import ShardedSamples
from cosmos.stages.prepare import draw_preview
from tests.data.examples import flickr8k, machine
from tests.stages.examples import cosmos


def test_prepare_says_where_everything_is_and_does_nothing_the_second_time(place: Path) -> None:
    files = {p: p.stat().st_mtime_ns for p in (place / "data").rglob("*") if p.is_file()}
    done = cosmos(place, "prepare", "--json")
    assert json.loads(done.stdout)["train"]["num_samples"] == 40
    assert (place / "data" / "demo" / "preview.png").is_file()
    assert {p: p.stat().st_mtime_ns for p in (place / "data").rglob("*") if p.is_file()} == files


def test_prepare_with_other_parameters_is_refused(place: Path) -> None:
    done = cosmos(place, "prepare", "--data.seed", "5")
    assert done.returncode == 2
    assert "data.seed: 0 -> 5" in done.stderr


def test_a_sample_that_cannot_be_shown_leaves_a_dataset_without_a_preview(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = machine(tmp_path)
    prepare_dataset(flickr8k(tmp_path), here, processes=1)
    folder = here.dataset("things", "train")
    os.truncate(folder / "shard-00000.tar", 512)
    draw_preview(ShardedSamples(folder, here), tmp_path / "preview.png")
    assert not (tmp_path / "preview.png").exists()
    assert "no preview: shard-00000.tar: has 512 bytes" in caplog.text
