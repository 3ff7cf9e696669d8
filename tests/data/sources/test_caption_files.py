import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosmos.data.captions import MAX_CAPTION_CHARACTERS
from cosmos.data.sources import caption_files
from cosmos.data.sources.caption_files import (
    CaptionedImage,
    load_text_file,
    locate_below,
    path_below,
    read_captions_csv,
    read_coco,
    read_flickr30k,
    read_karpathy,
)
from cosmos.errors import InputError


def as_json(folder: Path, value: Any) -> Path:
    path = folder / "captions.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def as_csv(folder: Path, text: str) -> Path:
    path = folder / "captions.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_an_image_are_grouped_in_the_order_of_first_rows(tmp_path: Path) -> None:
    path = as_csv(tmp_path, 'image,caption\nb.jpg,"one , two"\na.jpg,three\nb.jpg, four \n')
    assert read_captions_csv(path) == [
        CaptionedImage("b.jpg", ("one , two", "four")),
        CaptionedImage("a.jpg", ("three",)),
    ]


def test_blank_lines_of_a_csv_are_passed_over(tmp_path: Path) -> None:
    path = as_csv(tmp_path, "image,caption\na.jpg,one\n\nb.jpg,two\n\n")
    assert [image.image for image in read_captions_csv(path)] == ["a.jpg", "b.jpg"]


def test_a_long_caption_is_cut_as_in_every_source_and_no_damage(tmp_path: Path) -> None:
    path = as_csv(tmp_path, "image,caption\na.jpg," + "x" * 200_000)
    assert read_captions_csv(path) == [CaptionedImage("a.jpg", ("x" * MAX_CAPTION_CHARACTERS,))]


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_a_csv_may_come_from_another_system(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"\ufeffimage,caption{end}é.jpg,one{end}b.jpg,two".encode())
    assert [image.image for image in read_captions_csv(tmp_path / "a.csv")] == ["é.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("encoding", "place"),
    [("latin-1", r"line 3: not in UTF-8 \(byte 1 is 0xe9\)"), ("utf-16", "line 1: not in")],
)
def test_a_csv_in_another_encoding_is_refused_with_line_and_byte(
    tmp_path: Path, encoding: str, place: str
) -> None:
    (tmp_path / "a.csv").write_bytes("image,caption\na.jpg,one\né.jpg,two\n".encode(encoding))
    with pytest.raises(ValueError, match=rf"a.csv, {place}.*; save the file as UTF-8"):
        read_captions_csv(tmp_path / "a.csv")


def test_empty_captions_of_images_that_have_others_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_captions_csv(as_csv(tmp_path, "image,caption\na.jpg,\na.jpg,one\n")) == [
        CaptionedImage("a.jpg", ("one",))
    ]
    assert "left out 1 empty captions of images that have others" in caplog.text


def test_a_name_is_found_in_either_of_unicodes_forms(tmp_path: Path) -> None:
    (tmp_path / "e\u0301.jpg").touch()
    assert locate_below(tmp_path, "\u00e9.jpg") == tmp_path / "e\u0301.jpg"
    assert locate_below(tmp_path, "e\u0301.jpg") == tmp_path / "e\u0301.jpg"
    assert locate_below(tmp_path, "o\u0308.jpg") == tmp_path / "o\u0308.jpg"


def test_images_without_captions_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = as_csv(tmp_path, "image,caption\na.jpg,\nb.jpg,two\n")
    with caplog.at_level(logging.WARNING):
        assert read_captions_csv(path) == [CaptionedImage("b.jpg", ("two",))]
    assert "left out 1 images" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: expected the header"),
        ("a.jpg,one\n", "line 1: expected the header"),
        ("x" * 10**6, "line 1: expected the header image,caption, found .{,200}$"),
        ("image,caption\na.jpg,one,two\n", "line 2: 3 fields .* double quotes"),
        ("image,caption\n ,one\n", "line 2: no image"),
        ("image,caption\n", "no image with captions"),
        ("image,caption\na.jpg,one\nb.jpg," + "x" * 2**21, "line 3: field larger than"),
        ('image,caption\na.jpg,one\nb.jpg,"two\nc.jpg,three\n', "line 3: a double quote is never closed"),
    ],
)
def test_a_broken_csv_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"captions.txt.*{problem}"):
        read_captions_csv(as_csv(tmp_path, text))


def test_coco_joins_captions_to_images_by_id(tmp_path: Path) -> None:
    content = {
        "images": [
            {"id": 2, "file_name": "b.jpg"},
            {"id": 1, "file_name": "a.jpg"},
            {"id": 3, "file_name": "c"},
        ],
        "annotations": [
            {"image_id": 1, "caption": "one"},
            {"image_id": 2, "caption": "two"},
            {"image_id": 1, "caption": "three"},
            {"image_id": 2, "caption": ""},
        ],
    }
    assert read_coco(as_json(tmp_path, content)) == [
        CaptionedImage("b.jpg", ("two",)),
        CaptionedImage("a.jpg", ("one", "three")),
    ]


IMAGES = [{"id": 1, "file_name": "a.jpg"}]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "expected an object"),
        ({}, "images: expected a list"),
        ({"images": [3]}, r"images\[0\]: expected an object"),
        ({"images": [{"id": 1}]}, r"images\[0\]: file_name is None"),
        ({"images": [{"id": 1, "file_name": ""}]}, r"images\[0\]: file_name is ''"),
        ({"images": IMAGES * 2}, r"images\[1\]: id 1 is another"),
        ({"images": [*IMAGES, {"id": 2, "file_name": "a.jpg"}], "annotations": []}, "'a.jpg' is there twice"),
        ({"images": IMAGES, "annotations": [{"image_id": 9}]}, r"annotations\[0\]: image_id 9 is no image"),
        ({"images": IMAGES, "annotations": [{"image_id": 1, "caption": 3}]}, "caption is 3"),
    ],
)
def test_a_broken_coco_file_is_refused_with_its_entry(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=f"captions.json.*{problem}"):
        read_coco(as_json(tmp_path, content))


def test_flickr30k_is_a_list_of_images_with_captions(tmp_path: Path) -> None:
    path = as_json(
        tmp_path, [{"image": "d/a.jpg", "caption": ["one", "two"]}, {"image": "b", "caption": "three"}]
    )
    assert read_flickr30k(path) == [
        CaptionedImage("d/a.jpg", ("one", "two")),
        CaptionedImage("b", ("three",)),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, "expected a list"),
        ([{"image": "a"}], r"\[0\]: caption is None"),
        ([{"image": "a", "caption": ["x"]}] * 2, r"twice \(0 and 1\)"),
    ],
)
def test_a_broken_flickr30k_file_is_refused_with_its_entry(
    tmp_path: Path, content: Any, problem: str
) -> None:
    with pytest.raises(ValueError, match=f"captions.json.*{problem}"):
        read_flickr30k(as_json(tmp_path, content))


def karpathy(split: str, name: str, **more: Any) -> dict[str, Any]:
    return {"split": split, "filename": name, "sentences": [{"raw": f"about {name}"}], **more}


def test_karpathy_gives_one_split_and_counts_restval_as_train(tmp_path: Path) -> None:
    images = [karpathy("train", "a"), karpathy("restval", "b", filepath="val2014"), karpathy("test", "c")]
    path = as_json(tmp_path, {"images": images})
    assert read_karpathy(path, "train") == [
        CaptionedImage("a", ("about a",)),
        CaptionedImage("val2014/b", ("about b",)),
    ]
    with pytest.raises(ValueError, match="no images of split 'val'; its splits are test, train"):
        read_karpathy(path, "val")


@pytest.mark.parametrize(
    ("sentences", "problem"),
    [
        ("one", r"images\[0\]: sentences is 'one'"),
        ([{"raw": "one"}, "two"], r"images\[0\]: sentences\[1\]: expected an object, found str"),
        ([{"raw": 3}], r"images\[0\]: sentences\[0\]: raw is 3"),
    ],
)
def test_a_broken_karpathy_file_is_refused_with_its_entry(
    tmp_path: Path, sentences: Any, problem: str
) -> None:
    path = as_json(tmp_path, {"images": [karpathy("test", "a", sentences=sentences)]})
    with pytest.raises(ValueError, match=rf"captions.json: {problem}"):
        read_karpathy(path, "test")


READERS: list[Callable[[Path], Any]] = [read_captions_csv, read_coco, read_flickr30k]


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(ValueError, match=r"nothing: cannot be read.*correct the path"):
        read(tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "captions.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"captions.json: not JSON"):
        read_coco(path)


def test_a_huge_json_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_files, "MAX_JSON_BYTES", 10)
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        read_coco(as_json(tmp_path, {"images": []}))


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", "", ".", "a\0b", "..\\a"])
def test_a_path_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a path below"):
        path_below(tmp_path, name)


@pytest.mark.parametrize("name", ["a" * 260, "é" * 130, "a/" * 2000, "x" * 10**6], ids=range(4))
def test_a_name_that_no_file_can_have_is_refused_in_a_short_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="longer than the name of a file can be") as caught:
        path_below(tmp_path, name)
    assert len(str(caught.value)) < 300


def test_a_path_may_go_down(tmp_path: Path) -> None:
    assert path_below(tmp_path, "a/b..c.jpg") == tmp_path / "a" / "b..c.jpg"


def test_a_text_file_in_another_encoding_or_of_any_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("bœuf\nélan\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"classes\.txt: not in UTF-8 .*; save it as UTF-8"):
        load_text_file(path)
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match=r"classes\.txt: larger than .* bytes; is it the right file\?"):
        load_text_file(path)


@pytest.mark.parametrize("read", [read_captions_csv, read_coco, load_text_file])
def test_a_pipe_or_a_device_is_not_read_for_ever(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "captions")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("captions", "zeros"):
        with pytest.raises(
            InputError, match=rf"{name}: cannot be read \(a pipe or a device, not a file\); correct"
        ):
            read(tmp_path / name)
