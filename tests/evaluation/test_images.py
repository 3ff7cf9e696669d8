import os
from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError
from cosmos.evaluation.images import ImageFiles, check_present, digest, file_key
from tests.evaluation.examples import write_images


def test_a_file_that_changes_gets_another_key(tmp_path: Path) -> None:
    write_images(tmp_path, {"a/1.png": "red"})
    path = tmp_path / "a" / "1.png"
    before = file_key(path, tmp_path)
    assert before.startswith("a/1.png:")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert file_key(path, tmp_path) != before


def test_images_of_one_folder_are_one_collection_whichever_they_are(tmp_path: Path) -> None:
    write_images(tmp_path, {"1.png": "red", "2.png": "blue"})
    one, both = (
        ImageFiles(tmp_path, tuple(tmp_path / n for n in names), 1000)
        for names in (["1.png"], ["2.png", "1.png"])
    )
    assert one.collection == both.collection
    assert one.key(0) == both.key(1)
    assert (len(one), len(both)) == (1, 2)


def test_an_image_that_cannot_be_read_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "odd.png").write_bytes(b"not an image")
    images = ImageFiles(tmp_path, (tmp_path / "odd.png", tmp_path / "none.png"), 1000)
    for index, message in enumerate([r"odd\.png: image cannot be decoded", r"none\.png: .*No such file"]):
        with pytest.raises(DamagedDataError, match=message):
            images.read(index)


def test_missing_files_are_counted_and_the_first_named(tmp_path: Path) -> None:
    write_images(tmp_path, {"0.png": "red"})
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    with pytest.raises(ValueError, match=r"list\.txt: 8 of 9 images are missing: .*5\.png, \.\.\.; get them"):
        check_present(Path("list.txt"), "images", paths, "get them")
    check_present(Path("list.txt"), "images", paths[:1], "get them")


def test_a_digest_tells_lists_apart_however_they_are_cut() -> None:
    assert len({digest(["ab", "c"]), digest(["a", "bc"]), digest(["abc"]), digest([])}) == 4
