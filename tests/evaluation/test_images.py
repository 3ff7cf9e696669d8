import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from cosmos.errors import DamagedDataError, InputError, NotPermittedError, TransientError
from cosmos.evaluation.dataset_files import check_all_exist, convert_read_error, file_key
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.evaluation.images import ImageFiles
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
    with pytest.raises(DamagedDataError, match=r"odd\.png: image cannot be decoded"):
        images.read(0)
    with pytest.raises(InputError, match=r"none\.png: .*No such file"):
        images.read(1)


def test_an_image_that_a_failing_disk_keeps_back_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, {"1.png": "red"})
    images = ImageFiles(tmp_path, (tmp_path / "1.png",), 1000)

    def fail(path: Path) -> BinaryIO:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("cosmos.evaluation.images.open_regular", fail)
    with pytest.raises(TransientError, match=r"1\.png: cannot be read: Input/output error"):
        images.read(0)


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), InputError),
        (PermissionError(errno.EACCES, "Permission denied"), NotPermittedError),
        (OSError(errno.EIO, "Input/output error"), TransientError),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), TransientError),
        (OSError("image file is truncated"), DamagedDataError),  # as libraries say it of bytes
    ],
)
def test_an_error_in_reading_gets_the_class_that_says_what_follows(
    error: OSError, error_class: type[Exception]
) -> None:
    converted = convert_read_error(error, "photo.png")
    assert type(converted) is error_class
    assert str(converted).startswith("photo.png: cannot be read: ")


def test_an_error_that_is_transient_already_stays_as_it_is() -> None:
    error = TransientError("photo.png: the disk failed")
    assert convert_read_error(error, "photo.png") is error


def test_missing_files_are_counted_and_the_first_named(tmp_path: Path) -> None:
    write_images(tmp_path, {"0.png": "red"})
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    with pytest.raises(ValueError, match=r"list\.txt: 8 of 9 images are missing: .*5\.png, \.\.\.; get them"):
        check_all_exist(Path("list.txt"), "images", paths, "get them")
    check_all_exist(Path("list.txt"), "images", paths[:1], "get them")


def test_a_digest_tells_lists_apart_however_they_are_cut() -> None:
    assert (
        len(
            {
                fingerprint_strings(["ab", "c"]),
                fingerprint_strings(["a", "bc"]),
                fingerprint_strings(["abc"]),
                fingerprint_strings([]),
            }
        )
        == 4
    )
