import json
from pathlib import Path
from typing import Any

import pytest

from cosmos.data.shards.existing import expand_braces, find_shards, index_shard, shards_schema
from cosmos.data.shards.index import ShardIndex, index_path
from cosmos.errors import InputError
from tests.data.examples import image_bytes, machine
from tests.data.shards.test_index import make_tar


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_braces_stand_for_ranges_and_names() -> None:
    assert expand_braces("s3://b/{008..010}.tar") == [f"s3://b/{n}.tar" for n in ("008", "009", "010")]
    assert expand_braces("{a,b}/{0..1}") == ["a/0", "a/1", "b/0", "b/1"]
    assert expand_braces("plain.tar") == ["plain.tar"]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("{9..0}", "runs backwards"),
        ("{x}", "braces hold"),
        ("{0..9999}{0..9999}", "more than 1000000 shards"),
    ],
)
def test_braces_that_make_no_sense_are_refused(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        expand_braces(pattern)


def test_a_local_pattern_starts_from_the_source_root_and_is_sorted(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "shards"
    folder.mkdir(parents=True)
    for name in ("1.tar", "0.tar", "0.json", "._0.tar"):
        (folder / name).touch()
    expected = [str(folder / "0.tar"), str(folder / "1.tar")]
    assert find_shards("shards/*.tar", machine(tmp_path)) == expected
    assert find_shards("shards/{0..1}.tar", machine(tmp_path)) == expected
    with pytest.raises(ValueError, match=r"nothing-\*.tar: no such shards; correct data.annotations"):
        find_shards("shards/nothing-*.tar", machine(tmp_path))


MEMBERS = [
    ("000.jpg", image_bytes(0)),
    ("000.txt", b"from text"),
    ("000.json", as_json({"url": "u", "width": 3})),
    ("001.png", image_bytes(1, "PNG")),
    ("001.json", as_json({"caption": "from JSON"})),
    ("001.txt", b"not this"),
    ("002.jpg", b"no image"),
    ("002.txt", b"x"),
    ("003.jpg", image_bytes(3)),
    ("003.json", b"{"),
    ("004.txt", b"lonely"),
    ("sizes.npy", b""),
    ("001.webp", image_bytes(5, "WEBP")),
    ("001.txt", b"the same key again"),
]


def test_samples_that_can_be_used_are_indexed_and_the_others_listed(tmp_path: Path) -> None:
    shard = str(make_tar(tmp_path / "shard.tar", MEMBERS))
    info, skipped = index_shard(shard, 7, tmp_path / "out", machine(tmp_path), "captions", 10_000)
    index = ShardIndex.read(index_path(tmp_path / "out", shard))
    assert [(index[i].key, index[i].is_text) for i in range(len(index))] == [
        ("00007-000", True),
        ("00007-001", False),
        ("00007-001-2", True),
    ]
    assert (info.path, info.num_samples) == (shard, 3)
    assert [entry.input.rpartition(": ")[2] for entry in skipped] == ["002", "003", "004"]
    problems = [entry.reason for entry in skipped]
    for problem, expected in zip(problems, ("cannot be decoded", "broken JSON", "no image"), strict=True):
        assert expected in problem


def test_what_lies_before_the_damage_of_a_shard_is_kept(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "shard.tar", [*MEMBERS[:6], ("9.jpg", image_bytes(9)), ("9.txt", b"lost")])
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"lost")])
    info, skipped = index_shard(str(path), 0, tmp_path / "out", machine(tmp_path), "captions", 10_000)
    assert info.num_samples == 2
    assert "not a whole, uncompressed tar" in skipped[-1].reason


def test_the_schema_is_that_of_the_first_usable_captions(tmp_path: Path) -> None:
    members = [
        ("0.json", b"{"),
        ("1.txt", b" "),
        ("2.json", as_json({"raw_caption": "a", "longIB_captions": "b. c"})),
    ]
    path = make_tar(tmp_path / "shard.tar", members)
    assert shards_schema(str(path), machine(tmp_path)) == "dreamlip"
    with pytest.raises(ValueError, match="found no sample with captions"):
        shards_schema(str(make_tar(tmp_path / "none.tar", members[:2])), machine(tmp_path))


def test_a_first_shard_that_is_no_tar_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "0.tar.gz").write_bytes(b"\x1f\x8b" * 600)
    with pytest.raises(InputError, match=r"0.tar.gz: found no sample .*not a whole, uncompressed tar"):
        shards_schema(str(tmp_path / "0.tar.gz"), machine(tmp_path))


def test_a_missing_shard_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0.tar: no such shard; correct data.annotations"):
        index_shard(str(tmp_path / "0.tar"), 0, tmp_path, machine(tmp_path), "captions", 100)
