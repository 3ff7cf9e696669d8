import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.params import DataParams
from cosmos.data.captions import DREAMLIP_GENERATED
from cosmos.data.sample import Sample
from cosmos.data.sources.caption_tables import locate_rows
from cosmos.data.sources.inputs import OpenedSource
from cosmos.data.sources.openers import open_source
from cosmos.errors import DamagedDataError
from tests.data.examples import image_bytes, machine
from tests.data.shards.test_index import make_tar


def url(number: int) -> str:
    return f"https://pictures.example/{number}.jpg"


def row(location: str, number: int) -> dict[str, str]:
    generated = dict.fromkeys(DREAMLIP_GENERATED, f'Thing {number}, "so to speak".\nIt is there.')
    return {"Image Path": location, "raw_caption": f"thing, no. {number}", **generated}


def write_csv(folder: Path, rows: list[dict[str, str]], start: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(start)
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def downloaded(number: int, **more: Any) -> bytes:
    return json.dumps({"url": url(number), "key": f"{number:09d}", "status": "success", **more}).encode()


def write_files(folder: Path, numbers: list[int]) -> None:
    (folder / "00000").mkdir(parents=True)
    (folder / "00000_stats.json").write_text("{}")
    for number in numbers:
        (folder / "00000" / f"{number:09d}.jpg").write_bytes(image_bytes(number))
        (folder / "00000" / f"{number:09d}.json").write_bytes(downloaded(number))


def write_tar(folder: Path, numbers: list[int]) -> None:
    members = []
    for number in numbers:
        members += [(f"{number:09d}.jpg", image_bytes(number)), (f"{number:09d}.json", downloaded(number))]
    folder.mkdir(parents=True, exist_ok=True)
    make_tar(folder / "00000.tar", members)


def opened(
    folder: Path, source: str = "dreamlip", annotations: str = "captions.csv", **changes: Any
) -> OpenedSource:
    values = {"source": source, "annotations": annotations, "images": "downloads", **changes}
    return open_source(DataParams.model_validate(values), machine(folder))


def read_all(source: OpenedSource) -> list[Sample]:
    return sorted((source.read(item) for item in source.splits["train"]), key=lambda sample: sample.key)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("write", [write_files, write_tar])
def test_rows_are_joined_by_url_with_what_img2dataset_wrote(tmp_path: Path, write: Any, start: str) -> None:
    write_csv(tmp_path / "source", [row(url(i), i) for i in (3, 2, 1, 0)], start)
    write(tmp_path / "source" / "downloads", [1, 2, 9])
    source = opened(tmp_path)
    samples = read_all(source)
    assert [sample.image for sample in samples] == [image_bytes(1), image_bytes(2)]
    assert [sample.annotation["raw_caption"] for sample in samples] == [["thing, no. 1"], ["thing, no. 2"]]
    assert samples[0].annotation["shortLLA_captions"] == ['Thing 1, "so to speak"', "It is there"]
    assert [entry.reason for entry in source.skipped] == [f"no row for {url(9)}"]
    assert source.schema == "dreamlip"


def test_a_row_may_name_a_path_below_the_images(tmp_path: Path) -> None:
    write_csv(tmp_path / "source", [row("d/1.jpg", 1), row("../2.jpg", 2)])
    folder = tmp_path / "source" / "downloads" / "d"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(image_bytes(1))
    (folder / "another.jpg").touch()
    source = opened(tmp_path)
    assert [sample.image for sample in read_all(source)] == [image_bytes(1)]
    assert [entry.input for entry in source.skipped] == ["../2.jpg"]


def test_pixelprose_comes_as_csv_or_json_lines(tmp_path: Path) -> None:
    rows = [
        {"uid": "x", "url": url(i), "original_caption": f"no. {i}", "vlm_caption": "A. B"} for i in range(3)
    ]
    write_csv(tmp_path / "source", rows)
    (tmp_path / "source" / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    write_tar(tmp_path / "source" / "downloads", [0, 2])
    for name in ("captions.csv", "captions.jsonl"):
        source = opened(tmp_path, "pixelprose", name)
        assert source.schema == "pixelprose"
        assert [sample.annotation for sample in read_all(source)] == [
            {"original_caption": "no. 0", "caption": "A. B"},
            {"original_caption": "no. 2", "caption": "A. B"},
        ]


def test_the_first_of_several_rows_and_downloads_of_a_url_counts(tmp_path: Path) -> None:
    write_csv(tmp_path / "source", [row(url(1), 1), row(url(1), 2)])
    write_files(tmp_path / "source" / "downloads", [1])
    write_tar(tmp_path / "source" / "downloads", [1])
    assert [sample.annotation["raw_caption"] for sample in read_all(opened(tmp_path))] == [["thing, no. 1"]]


def test_broken_downloads_are_skipped_and_listed(tmp_path: Path) -> None:
    write_csv(tmp_path / "source", [row(url(i), i) for i in range(3)])
    folder = tmp_path / "source" / "downloads"
    write_files(folder, [0, 1, 2])
    (folder / "00000" / "000000001.json").write_text("{")
    (folder / "00000" / "000000002.json").write_text("[]")
    (folder / "00001.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(DamagedDataError, match=r"1 of 1 archives cannot be read whole.*00001.tar.*again"):
        opened(tmp_path)
    source = opened(tmp_path, max_skipped=1.0)
    assert len(source.splits["train"]) == 1
    reasons = " | ".join(entry.reason for entry in source.skipped)
    assert len(source.skipped) == 3
    for problem in ("broken JSON", "has no url", "not a whole, uncompressed tar"):
        assert problem in reasons


@pytest.mark.parametrize("name", ["captions.csv", "captions.jsonl"])
def test_rows_without_a_location_are_listed_and_repeated_ones_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    rows = [row(url(1), 1), row(" ", 2), row(url(1), 3), row("", 4)]
    write_csv(tmp_path / "source", rows)
    (tmp_path / "source" / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_files(tmp_path / "source" / "downloads", [1])
    with caplog.at_level("INFO"):
        source = opened(tmp_path, annotations=name)
    listed = [(Path(entry.input).name, entry.reason) for entry in source.skipped]
    assert listed == [(f"{name}: row {i}", "no URL or path of an image") for i in (2, 4)]
    assert "1 rows repeat the image of a row before them" in caplog.text


def test_downloads_of_which_a_part_is_missing_are_listed(tmp_path: Path) -> None:
    write_csv(tmp_path / "source", [row(url(i), i) for i in range(5)])
    folder = tmp_path / "source" / "downloads"
    write_files(folder, [0, 1, 2, 3])
    (folder / "00000" / "000000001.json").unlink()
    (folder / "00000" / "000000002.jpg").unlink()
    (folder / "00000" / "000000003.jpg").unlink()
    (folder / "00000" / "000000003.json").write_bytes(downloaded(3, status="failed_to_download"))
    (folder / "00000" / "._000000000.jpg").touch()
    members = [
        ("4.jpg", image_bytes(4)),
        ("5.json", downloaded(5)),
        ("6.json", downloaded(6, status="failed")),
    ]
    make_tar(folder / "00001.tar", members)
    source = opened(tmp_path)
    assert len(source.splits["train"]) == 1
    listed = {entry.input.rpartition("/")[2]: entry.reason for entry in source.skipped}
    assert listed == {
        "000000001.jpg": "no row names it, and no .json of its name is beside it",
        "000000002.json: 000000002": "it was downloaded, but no image is beside it",
        "00001.tar: 4": "no .json beside it",
        "00001.tar: 00001-5": "it was downloaded, but no image is beside it",
    }


def test_downloads_in_linked_folders_are_found(tmp_path: Path) -> None:
    write_csv(tmp_path / "source", [row(url(i), i) for i in range(3)])
    write_files(tmp_path / "disk", [1, 2])
    (tmp_path / "source" / "downloads").mkdir()
    (tmp_path / "source" / "downloads" / "00000").symlink_to(tmp_path / "disk" / "00000")
    assert len(read_all(opened(tmp_path))) == 2


def test_a_row_in_another_encoding_is_damaged_and_not_read_with_wrong_letters(tmp_path: Path) -> None:
    write_csv(tmp_path / "source", [row(url(1), 1)])
    with (tmp_path / "source" / "captions.csv").open("ab") as file:
        file.write(b",".join([url(2).encode(), b"caf\xe9", *[b"x"] * len(DREAMLIP_GENERATED)]) + b"\n")
    write_files(tmp_path / "source" / "downloads", [1, 2])
    source = opened(tmp_path)
    by_name = {Path(item.name).stem: item for item in source.splits["train"]}
    assert source.read(by_name["000000001"])
    with pytest.raises(
        DamagedDataError, match=r"captions.csv: a row that is not in UTF-8 \(byte .* is 0xe9\)"
    ):
        source.read(by_name["000000002"])


def test_no_image_in_common_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "source", [row(url(1), 1)])
    write_files(tmp_path / "source" / "downloads", [2])
    with pytest.raises(ValueError, match=r"downloads: holds none of the images .*set data.images"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "", "expected a column of URLs"),
        ("a.csv", "url,text\n", "found url, text"),
        ("a.csv", "raw_caption\n", "expected a column of URLs or paths"),
        ("a.csv", 'url,raw_caption\nu,"' + "x\n" * 10, "line 2: a double quote is never closed"),
        ("a.csv", 'url,raw_caption\nt,y\nu,"' + "x\n" * 600_000, "line 3: field larger than .*double quote"),
        ("a.csv", "url,raw_caption\n" + "x" * 2**21, "a line is longer than"),
        ("a.jsonl", '{"url": "u", "raw_caption": "x"}\n{', "line 2: not JSON"),
        ("a.jsonl", "[]", "line 1: expected an object"),
        ("a.xlsx", "PK", "expected a .csv, .jsonl or .parquet file"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, name: str, content: str, problem: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}.*{problem}"):
        locate_rows(tmp_path / name, "dreamlip")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.csv: cannot be read .*correct data.annotations"):
        locate_rows(tmp_path / "a.csv", "dreamlip")
