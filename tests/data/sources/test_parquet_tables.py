import errno
import os
import socket
import subprocess
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from cosmos.config.params import DataParams
from cosmos.data.preparation import prepare_dataset
from cosmos.data.shards.samples import ShardedSamples
from cosmos.data.sources import parquet_tables
from cosmos.data.sources.openers import open_source
from cosmos.data.sources.parquet_tables import checksum_file, copy_as_json_lines
from cosmos.errors import InputError, TransientError
from tests.data.examples import flip_bit, image_bytes, machine
from tests.data.sources.test_caption_tables import opened, read_all, url, write_tar


def rows(numbers: range) -> dict[str, list[Any]]:
    """Columns as PixelProse publishes them."""
    return {
        "uid": [f"{number:032x}" for number in numbers],
        "url": [url(number) for number in numbers],
        "key": [f"{number:09d}" for number in numbers],
        "status": ["success" for _ in numbers],
        "original_caption": [f"no. {number}" for number in numbers],
        "vlm_model": ["gemini-pro-vision" for _ in numbers],
        "vlm_caption": [f" This image displays thing {number}. It is “there”." for number in numbers],
        "aesthetic_score": [5.0 + number for number in numbers],
    }


def write_parquet(path: Path, columns: Mapping[str, list[Any]], group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path, row_group_size=group)
    return path


def copies(folder: Path) -> list[Path]:
    return sorted((folder / "cache").rglob("*.jsonl"))


def everything(path: Path, columns: list[str]) -> list[str]:
    return [name for name in ("url", "original_caption", "vlm_caption") if name in columns]


def test_a_file_in_the_published_form_is_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "source" / "pixelprose.parquet", rows(range(7)))
    write_tar(tmp_path / "source" / "downloads", [1, 2, 6, 9])
    source = opened(tmp_path, "pixelprose", "pixelprose.parquet")
    assert source.schema == "pixelprose"
    assert [(sample.image, sample.annotation) for sample in read_all(source)] == [
        (
            image_bytes(number),
            {
                "original_caption": f"no. {number}",
                "caption": f"This image displays thing {number}. It is “there”.",
            },
        )
        for number in (1, 2, 6)
    ]
    assert [entry.reason for entry in source.skipped] == [f"no row for {url(9)}"]


def test_a_folder_of_files_is_one_table_in_which_the_first_row_of_a_url_counts(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "data"
    again = rows(range(3)) | {"original_caption": ["other", None, ""]}
    write_parquet(folder / "vlm_captions_cc12m_00.parquet", rows(range(3)))
    write_parquet(folder / "vlm_captions_redcaps_00.parquet", again)
    write_parquet(folder / "vlm_captions_redcaps_01.parquet", rows(range(3, 5)) | {"url": [url(3), None]})
    write_tar(tmp_path / "source" / "downloads", range(5))  # type: ignore[arg-type]
    samples = read_all(opened(tmp_path, "pixelprose", "data"))
    assert [sample.annotation["original_caption"] for sample in samples] == [f"no. {i}" for i in range(4)]


def test_dreamlip_may_come_as_parquet_with_lists_of_captions(tmp_path: Path) -> None:
    longer = ["It is red.", "It lies."]
    columns = {"Image Path": [url(1)], "raw_caption": ["thing"]}
    write_parquet(tmp_path / "source" / "a.parquet", {**columns, "longSV_captions": [longer]})
    write_tar(tmp_path / "source" / "downloads", [1])
    (sample,) = read_all(opened(tmp_path, "dreamlip", "a.parquet"))
    assert sample.annotation["raw_caption"] == ["thing"]
    assert sample.annotation["longSV_captions"] == longer


def test_the_copy_lasts_until_the_dataset_is_prepared(tmp_path: Path) -> None:
    write_parquet(tmp_path / "source" / "data" / "0.parquet", rows(range(5)))
    write_tar(tmp_path / "source" / "downloads", [0, 1, 2, 3, 4])
    content = {"source": "pixelprose", "annotations": "data", "images": "downloads", "samples_per_shard": 2}
    params = DataParams.model_validate({"name": "prose", **content})
    settled = machine(tmp_path)
    open_source(params, settled)
    (copy,) = copies(tmp_path)
    inode = copy.stat().st_ino
    open_source(params, settled)
    assert copy.stat().st_ino == inode, "the copy is written again"
    whole = copy.read_bytes()
    flip_bit(copy, 100)
    open_source(params, settled)
    assert copy.read_bytes() == whole
    manifest = prepare_dataset(params, settled, processes=2)["train"]
    assert manifest.num_samples == 5
    assert not any((tmp_path / "cache" / "tables").iterdir())
    read = ShardedSamples(settled.dataset("prose", "train"), settled)
    assert {read.read(i).annotation["original_caption"] for i in range(5)} == {f"no. {i}" for i in range(5)}


def test_another_table_in_the_same_place_gets_another_copy(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(range(2)))
    first = copy_as_json_lines(path, tmp_path / "copies", "things", everything)
    others = copy_as_json_lines(path, tmp_path / "copies", "others", everything)
    write_parquet(path, rows(range(3)))
    second = copy_as_json_lines(path, tmp_path / "copies", "things", everything)
    assert (len(others.read_text().splitlines()), len(second.read_text().splitlines())) == (2, 3)
    assert not first.exists()


def test_what_a_killed_preparation_left_of_a_copy_is_removed(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(range(2)))
    killed = subprocess.Popen(["true"])
    killed.wait()
    left = tmp_path / "copies" / f".x.jsonl.{socket.gethostname()}.{killed.pid}.tmp"
    elsewhere = tmp_path / "copies" / f".x.jsonl.elsewhere.{killed.pid}.tmp"
    for part in (left, elsewhere):
        part.parent.mkdir(exist_ok=True)
        part.touch()
    copy = copy_as_json_lines(path, tmp_path / "copies", "things", everything)
    assert sorted((tmp_path / "copies").iterdir()) == [elsewhere, copy, checksum_file(copy)]


def test_rows_without_a_location_are_listed(tmp_path: Path) -> None:
    columns = rows(range(3))
    write_parquet(tmp_path / "source" / "a.parquet", columns | {"url": [url(0), None, " "]})
    write_tar(tmp_path / "source" / "downloads", [0, 1, 2])
    source = opened(tmp_path, "pixelprose", "a.parquet")
    listed = [
        (Path(entry.input).name, entry.reason) for entry in source.skipped if "a.parquet" in entry.input
    ]
    assert listed == [(f"a.parquet: row {i}", "no URL or path of an image") for i in (2, 3)]


def test_a_dataset_deletes_no_copy_of_another(tmp_path: Path) -> None:
    write_parquet(tmp_path / "source" / "data" / "0.parquet", rows(range(5)))
    write_tar(tmp_path / "source" / "downloads", [0, 1, 2, 3, 4])
    source = opened(tmp_path, "pixelprose", "data")
    content = {"source": "pixelprose", "annotations": "data", "images": "downloads"}
    prepare_dataset(DataParams.model_validate({"name": "other", **content}), machine(tmp_path), processes=1)
    assert len(read_all(source)) == 5


def test_a_copy_that_is_removed_while_it_is_read_costs_no_sample(tmp_path: Path) -> None:
    write_parquet(tmp_path / "source" / "a.parquet", rows(range(2)))
    write_tar(tmp_path / "source" / "downloads", [0, 1])
    source = opened(tmp_path, "pixelprose", "a.parquet")
    copies(tmp_path)[0].unlink()
    with pytest.raises(TransientError, match=r"jsonl: was removed meanwhile; give the same command again"):
        read_all(source)


def test_hidden_files_and_folders_named_as_files_are_no_tables(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_parquet(folder / "a.parquet" / "0.parquet", rows(range(3)))
    for name in ("._a.parquet", "a.parquet/._0.parquet", ".cache/0.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    copy = copy_as_json_lines(folder, tmp_path / "copies", "things", everything)
    assert len(copy.read_text().splitlines()) == 3


@pytest.mark.parametrize("urls", [pa.array([], pa.string()), pa.nulls(2)])
def test_a_table_without_a_location_is_named(tmp_path: Path, urls: pa.Array) -> None:
    captions = pa.array(["x"] * len(urls), pa.string())
    (tmp_path / "source" / "downloads").mkdir(parents=True)
    parquet.write_table(
        pa.table({"url": urls, "original_caption": captions}), tmp_path / "source" / "a.parquet"
    )
    with pytest.raises(InputError, match=r"a.parquet: no row has a URL or path .*correct data.annotations"):
        opened(tmp_path, "pixelprose", "a.parquet")


def test_all_of_arrow_types_of_text_are_read(tmp_path: Path) -> None:
    columns = {
        "url": pa.array([url(1)], pa.string_view()),
        "raw_caption": pa.array(["thing"]).dictionary_encode(),
        "shortIB_captions": pa.array([["It is red."]], pa.large_list(pa.large_string())),
        "longIB_captions": pa.nulls(1),
    }
    (tmp_path / "source").mkdir()
    parquet.write_table(pa.table(columns), tmp_path / "source" / "a.parquet")
    write_tar(tmp_path / "source" / "downloads", [1])
    (sample,) = read_all(opened(tmp_path, "dreamlip", "a.parquet"))
    assert sample.annotation["raw_caption"] == ["thing"]
    assert sample.annotation["shortIB_captions"] == ["It is red."]
    assert sample.annotation["longIB_captions"] == []


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["u"])] * 3, names=["url", "vlm_caption", "vlm_caption"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet: two columns are named vlm_caption"):
        copy_as_json_lines(tmp_path / "a.parquet", tmp_path / "copies", "things", everything)


def test_a_cache_that_cannot_be_written_to_is_the_users(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(range(2)))
    (tmp_path / "copies").touch()
    with pytest.raises(InputError, match=r"copies/.*cannot be written .*correct the machine's cache_root"):
        copy_as_json_lines(path, tmp_path / "copies", "things", everything)


def test_a_full_cache_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(range(2)))

    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cosmos.data.sources.parquet_tables.json.dumps", fill)  # as writing a line would
    with pytest.raises(TransientError, match=r"copies/.*jsonl: No space left.*free space"):
        copy_as_json_lines(path, tmp_path / "copies", "things", everything)
    assert not list(tmp_path.glob("copies/*"))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (
            {"url": ["u"], "caption": ["x"]},
            r"columns of captions \(original_caption, vlm_caption\).*url, caption",
        ),
        ({"uid": ["u"], "original_caption": ["x"]}, r"expected a column of URLs or paths.*found uid, orig"),
        ({"url": [1], "original_caption": ["x"]}, "column url holds int64, not text"),
        ({"url": ["u"], "original_caption": [b"x"]}, "column original_caption holds binary, not text"),
        ({"url": ["u"], "original_caption": ["x" * 2**20]}, "row 0 has more than 1048576 bytes"),
    ],
)
def test_a_table_of_another_form_is_refused(
    tmp_path: Path, columns: dict[str, list[Any]], problem: str
) -> None:
    write_parquet(tmp_path / "source" / "a.parquet", columns)
    (tmp_path / "source" / "downloads").mkdir()
    with pytest.raises(InputError, match=rf"a.parquet: .*{problem}"):
        opened(tmp_path, "pixelprose", "a.parquet")
    assert copies(tmp_path) == []


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "overwritten"])
def test_what_is_no_whole_parquet_is_refused(tmp_path: Path, damage: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(range(500)), group=100)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "text": b"url,vlm_caption\n",
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "overwritten": whole[:8] + b"\xff" * (len(whole) // 2) + whole[8 + len(whole) // 2 :],
        }[damage]
    )
    with pytest.raises(InputError, match=r"a.parquet: not a whole Parquet file .*was it downloaded whole"):
        copy_as_json_lines(path, tmp_path / "copies", "things", everything)
    assert not list(tmp_path.glob("copies/*"))


def test_a_missing_table_and_a_folder_without_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.parquet: cannot be read .*correct data.annotations"):
        copy_as_json_lines(tmp_path / "a.parquet", tmp_path / "copies", "things", everything)
    with pytest.raises(InputError, match=r"holds no .parquet files; correct data.annotations"):
        copy_as_json_lines(tmp_path, tmp_path / "copies", "things", everything)


def test_a_disk_that_fails_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(range(2)))

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    calls = {"pyarrow.parquet.ParquetFile": r"a.parquet: cannot be read", "os.fsync": r"jsonl: "}
    for call, problem in calls.items():
        with monkeypatch.context() as patch:
            patch.setattr(call, fail)
            with pytest.raises(TransientError, match=problem):
                copy_as_json_lines(path, tmp_path / "copies", "things", everything)


def test_rows_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_tables, "BUFFER_BYTES", 2**12)
    columns = {
        "url": [url(number) for number in range(40_000)],
        "original_caption": [os.urandom(256).hex() for _ in range(40_000)],
    }
    path = write_parquet(tmp_path / "a.parquet", columns, group=40_000)
    del columns
    pool, held = pa.default_memory_pool(), 0
    before = pool.bytes_allocated()
    tracemalloc.start()
    for _ in parquet_tables._rows(path, everything):
        held = max(held, pool.bytes_allocated() - before)
    _, read = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held + read < path.stat().st_size / 2
