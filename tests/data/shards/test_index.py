import io
import tarfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmos.data.shards.index import (
    MAX_KEY_CHARACTERS,
    SampleLocation,
    ShardIndex,
    index_path,
    safe_key,
    unique_keys,
)
from cosmos.data.shards.tar_entries import TarEntry, scan_tar
from cosmos.errors import DamagedDataError
from tests.data.examples import flipped_bit

places = {
    "key": st.text().map(safe_key),
    "image_offset": st.integers(0, 2**62),
    "image_size": st.integers(0, 2**40),
    "annotation_offset": st.integers(0, 2**62),
    "annotation_size": st.integers(0, 2**40),
    "is_text": st.booleans(),
}
located = st.builds(SampleLocation, **places, checksum=st.integers(0, 2**32 - 1))
located_before = st.builds(SampleLocation, **places, checksum=st.none())
ROWS = [SampleLocation("a", 1, 2, 3, 4, checksum=5), SampleLocation("b", 5, 6, 7, 2**40, True, 2**32 - 1)]


@given(rows=st.sampled_from([located, located_before]).flatmap(st.lists))
def test_an_index_holds_what_it_was_made_of(rows: list[SampleLocation]) -> None:
    rows = list({row.key: row for row in rows}.values())[:5]
    index = ShardIndex.of(rows)
    assert [index[i] for i in range(len(index))] == rows


def test_an_index_survives_the_disk_and_equal_ones_are_equal_files(tmp_path: Path) -> None:
    index = replace(ShardIndex.of(ROWS), shard="0" * 64)
    index.write(tmp_path / "one.npz")
    index.write(tmp_path / "two.npz")
    read = ShardIndex.read(tmp_path / "one.npz")
    assert [read[0], read[1], read.shard] == [*ROWS, "0" * 64]
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_an_index_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    rows = [row._replace(checksum=None) for row in ROWS]
    ShardIndex.of(rows).write(tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as arrays:
        assert arrays.files == ["keys", "spans", "is_text"]
    read = ShardIndex.read(tmp_path / "one.npz")
    assert [read[0], read[1], read.shard] == [*rows, ""]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 2**32), bit=st.integers(0, 7))
def test_a_flipped_bit_of_an_index_is_harmless_or_damage(tmp_path: Path, position: int, bit: int) -> None:
    path = tmp_path / "one.npz"
    if not path.exists():
        replace(ShardIndex.of(ROWS), shard="0" * 64).write(path)
    with flipped_bit(path, position, bit), suppress(DamagedDataError):
        read = ShardIndex.read(path)
        assert [read[0], read[1], len(read), read.shard] == [*ROWS, 2, "0" * 64]


def test_two_samples_of_one_key_are_refused() -> None:
    with pytest.raises(ValueError, match="key 'a'"):
        ShardIndex.of([SampleLocation("a", 1, 2, 3, 4), SampleLocation("a", 5, 6, 7, 8)])


def test_a_missing_broken_or_pickled_index_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", keys=np.array([{}], dtype=object))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no zip")
    np.savez_compressed(tmp_path / "bomb.npz", keys=np.zeros(10**6, "S8"))
    np.savez(tmp_path / "other.npz", other=np.zeros(1))
    with ZipFile(tmp_path / "text.npz", "w") as archive:
        for array in ("keys", "spans", "is_text"):
            archive.writestr(array, "no array")
    for name in ("pickled.npz", "broken.npz", "missing.npz", "bomb.npz", "other.npz", "text.npz"):
        with pytest.raises(DamagedDataError, match=rf"{name}: not an index .* run `cosmos prepare` again"):
            ShardIndex.read(tmp_path / name)


@pytest.mark.parametrize(
    "damage",
    [
        {"spans": np.zeros((1, 4), np.int64)},
        {"spans": np.full((2, 4), -1)},
        {"spans": np.zeros((2, 4))},
        {"keys": np.array([b"a", b"\xff"])},
        {"keys": np.array(["a", "b"])},
        {"keys": np.array(b"a")},
        {"is_text": np.zeros(3, np.bool_)},
        {"checksums": np.zeros(1, np.uint32)},
        {"checksums": np.zeros(2)},
    ],
)
def test_an_index_of_impossible_content_is_damaged(tmp_path: Path, damage: dict[str, Any]) -> None:
    np.savez(tmp_path / "one.npz", **{**vars(ShardIndex.of(ROWS)), **damage})
    with pytest.raises(DamagedDataError, match=r"one.npz: not an index \(it"):
        ShardIndex.read(tmp_path / "one.npz")


@given(st.text())
def test_a_key_is_short_and_harmless_in_a_tar_and_stays_as_it_is(name: str) -> None:
    key = safe_key(name)
    assert key.isascii()
    assert key.replace("-", "a").replace("_", "a").isalnum()
    assert len(key) <= MAX_KEY_CHARACTERS
    assert safe_key(key) == key


@given(st.lists(st.sampled_from(["a", "a.b", "a_b", "a-2", "a", "a-2-2"])))
def test_keys_of_all_names_are_different(names: list[str]) -> None:
    keys = list(unique_keys(names))
    assert len(set(keys)) == len(keys) == len(names)


def test_names_without_latin_letters_have_keys_of_their_own_at_once() -> None:
    names = [f"{'猫' * (1 + i % 5)}{chr(0x4E00 + i)}" for i in range(8000)]
    started = time.process_time()
    keys = list(unique_keys(names))
    assert time.process_time() - started < 2
    assert len(set(keys)) == len(names)
    assert list(unique_keys(reversed(names))) == keys[::-1]
    assert safe_key("写真_001").startswith("__001-")


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["a", "dir/b c.d", "é", "e\u0301", "Größe m²"], ["a", "dir_b_c_d", "_", "e_", "Gr_e_m_"]),
        (["a b", "a?b", "a_b-2", "a!b"], ["a_b", "a_b-2", "a_b-2-2", "a_b-3"]),
        (["!", "?", "!!"], ["_", "_-2", "_-3"]),
    ],
)
def test_keys_of_prepared_datasets_stay(names: list[str], keys: list[str]) -> None:
    assert list(unique_keys(names)) == keys


def test_shards_of_one_name_in_two_folders_have_indexes_of_their_own(tmp_path: Path) -> None:
    paths = {index_path(tmp_path, shard) for shard in ("s3://a/0.tar", "s3://b/0.tar", "/a/0.tar", "0.tar")}
    assert len(paths) == 4
    assert {path.parent for path in paths} == {tmp_path}


def make_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_neighbours_with_one_key_are_a_sample(tmp_path: Path) -> None:
    path = make_tar(
        tmp_path / "a.tar",
        [("d.x/0.JPG", b"image"), ("d.x/0.json", b"{}"), ("1.cls.txt", b"7"), ("1.txt", b"")],
    )
    content = path.read_bytes()
    entries = list(scan_tar(path))
    assert [(entry.key, sorted(entry.parts)) for entry in entries] == [
        ("d.x/0", ["jpg", "json"]),
        ("1", ["cls.txt", "txt"]),
    ]
    offset, size = entries[0].parts["jpg"]
    assert content[offset : offset + size] == b"image"


def test_the_same_key_again_begins_another_sample(tmp_path: Path) -> None:
    entries = scan_tar(make_tar(tmp_path / "a.tar", [("0.jpg", b"one"), ("0.jpg", b"two")]))
    assert [entry.key for entry in entries] == ["0", "0"]


def test_links_out_of_a_tar_have_no_place_in_it_and_folders_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (
            ("a.jpg", tarfile.SYMTYPE),
            ("b.jpg", tarfile.LNKTYPE),
            ("c.jpg", tarfile.DIRTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    assert list(scan_tar(path)) == [TarEntry(key, {}, {"jpg"}) for key in "ab"]


def keys_until_error(path: Path, problem: str) -> list[str]:
    keys: list[str] = []
    with pytest.raises(DamagedDataError, match=problem):
        keys.extend(entry.key for entry in scan_tar(path))
    return keys


@pytest.mark.parametrize(("end", "whole"), [(700, []), (1200, []), (2000, ["0"]), (2600, ["0"])])
def test_a_tar_that_ends_too_early_gives_the_samples_before_and_then_an_error(
    tmp_path: Path, end: int, whole: list[str]
) -> None:
    path = make_tar(tmp_path / "a.tar", [("0.jpg", b"x" * 400), ("1.jpg", b"y" * 400), ("2.jpg", b"z" * 400)])
    path.write_bytes(path.read_bytes()[:end])
    assert keys_until_error(path, r"a.tar: not a whole, uncompressed tar") == whole


def test_a_broken_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", [("0.jpg", b"x"), ("1.jpg", b"y"), ("2.jpg", b"z")])
    content = bytearray(path.read_bytes())
    content[2 * 1024 : 2 * 1024 + 512] = b"\x07" * 512
    path.write_bytes(content)
    assert keys_until_error(path, "no header at byte 2048") == ["0"]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_of_gigabytes_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    path = make_tar(tmp_path / "a.tar", [("0.jpg", b"x"), ("1.jpg", b"y")])
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, 2**40
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**40)  # of a disk, it takes a few blocks
    assert keys_until_error(path, "a name of 1099511627776 bytes") == ["0"]


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("0.jpg"))
    with pytest.raises(DamagedDataError, match="uncompressed"):
        list(scan_tar(tmp_path / "a.tar"))
