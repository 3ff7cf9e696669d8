import json
import tarfile
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
    (folder / "deep" / "__MACOSX").mkdir(parents=True)
    for name in ("1.tar", "0.tar", "0.json", "._0.tar", "deep/2.tar", "deep/__MACOSX/2.tar"):
        (folder / name).touch()
    (folder / "linked").symlink_to(folder / "deep")
    (folder / "deep" / "back").symlink_to(folder)
    expected = [str(folder / "0.tar"), str(folder / "1.tar")]
    assert find_shards("shards/*.tar", machine(tmp_path)) == expected
    assert find_shards("shards/{0..1}.tar", machine(tmp_path)) == expected
    deep = [str(folder / "deep" / "2.tar"), str(folder / "linked" / "2.tar")]
    assert find_shards("shards/*/2.tar", machine(tmp_path)) == deep
    assert find_shards("shards/**/*.tar", machine(tmp_path)) == [*expected, deep[0]]
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


def test_a_shard_that_a_mac_packed_is_read(tmp_path: Path) -> None:
    members = [(f"./0.{kind}", content) for kind, content in (("jpg", image_bytes(0)), ("txt", b"a dog"))]
    packed = [item for name, content in members for item in ((f"./._{name[2:]}", b"Mac"), (name, content))]
    shard = str(make_tar(tmp_path / "shard.tar", [("./._.", b"Mac"), *packed]))
    assert shards_schema(shard, machine(tmp_path)) == "captions"
    info, skipped = index_shard(shard, 0, tmp_path / "out", machine(tmp_path), "captions", 10_000)
    assert (info.num_samples, skipped) == (1, ())


def test_hard_links_are_read_and_other_links_listed(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for key in "01":
        (folder / f"{key}.txt").write_text("a dog")
    (folder / "0.jpg").write_bytes(image_bytes(0))
    (folder / "1.jpg").hardlink_to(folder / "0.jpg")
    (folder / "2.jpg").symlink_to(folder / "0.jpg")
    (folder / "2.txt").write_text("a dog elsewhere")
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    info, skipped = index_shard(str(shard), 0, tmp_path / "out", machine(tmp_path), "captions", 10_000)
    assert info.num_samples == 2
    reason = "2: no image but links (.jpg); pack the files that they point to, as `tar --dereference` does"
    assert [entry.reason for entry in skipped] == [reason]


APART = [*((f"{i}.jpg", image_bytes(i)) for i in range(2)), *((f"{i}.txt", b"a dog") for i in range(2))]


@pytest.mark.parametrize(
    ("members", "extensions"),
    [
        (APART, ".jpg, .txt"),
        ([("0.input.jpg", image_bytes()), ("0.output.txt", b"a dog")], ".input.jpg, .output.txt"),
        ([("0.heic", b""), ("0.txt", b"a dog")], ".heic, .txt"),
    ],
)
def test_members_that_make_no_sample_are_named_with_what_packs_them(
    tmp_path: Path, members: list[tuple[str, bytes]], extensions: str
) -> None:
    shard = str(make_tar(tmp_path / "shard.tar", members))
    with pytest.raises(InputError, match=rf"extensions found: {extensions}; .* `tar --sort=name`"):
        shards_schema(shard, machine(tmp_path))
    info, skipped = index_shard(shard, 0, tmp_path / "out", machine(tmp_path), "captions", 10_000)
    assert info.num_samples == 0
    assert len(skipped) == (4 if members is APART else 1)
    assert all("`tar --sort=name`" in entry.reason for entry in skipped)


@pytest.mark.parametrize("members", [[], [("cls.npy", b"")]])
def test_a_shard_without_images_and_captions_is_listed(
    tmp_path: Path, members: list[tuple[str, bytes]]
) -> None:
    shard = str(make_tar(tmp_path / "shard.tar", members))
    _, skipped = index_shard(shard, 0, tmp_path / "out", machine(tmp_path), "captions", 10_000)
    assert [(entry.input, entry.reason) for entry in skipped] == [
        (shard, "holds neither images nor captions")
    ]


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_every_format_that_is_decoded_may_be_in_a_shard(tmp_path: Path, kind: str) -> None:
    members = [(f"0.{kind.lower()}", image_bytes(0, kind)), ("0.txt", b"a dog")]
    shard = str(make_tar(tmp_path / "shard.tar", members))
    info, skipped = index_shard(shard, 0, tmp_path / "out", machine(tmp_path), "captions", 10_000)
    assert (info.num_samples, skipped) == (1, ())


def test_what_lies_before_the_damage_of_a_shard_is_kept(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "shard.tar", [*MEMBERS[:6], ("9.jpg", image_bytes(9)), ("9.txt", b"lost")])
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"lost")])
    info, skipped = index_shard(str(path), 0, tmp_path / "out", machine(tmp_path), "captions", 10_000)
    assert info.num_samples == 2
    assert "not a whole, uncompressed tar" in skipped[-1].reason


def test_the_schema_is_that_of_the_first_usable_captions(tmp_path: Path) -> None:
    members = [
        ("0.jpg", b""),
        ("0.json", b"{"),
        ("1.jpg", b""),
        ("1.txt", b" "),
        ("2.jpg", b""),
        ("2.json", as_json({"raw_caption": "a", "longIB_captions": "b. c"})),
    ]
    path = make_tar(tmp_path / "shard.tar", members)
    assert shards_schema(str(path), machine(tmp_path)) == "dreamlip"
    with pytest.raises(ValueError, match="found no sample with captions"):
        shards_schema(str(make_tar(tmp_path / "none.tar", members[:4])), machine(tmp_path))


def test_a_first_shard_that_is_no_tar_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "0.tar.gz").write_bytes(b"\x1f\x8b" * 600)
    with pytest.raises(InputError, match=r"0.tar.gz: found no sample .*not a whole, uncompressed tar"):
        shards_schema(str(tmp_path / "0.tar.gz"), machine(tmp_path))


def test_a_folder_of_shards_is_told_how_to_name_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r": a folder; name its shards by data.annotations, as .*/\*.tar"):
        shards_schema(str(tmp_path), machine(tmp_path))


def test_a_missing_shard_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0.tar: no such shard; correct data.annotations"):
        index_shard(str(tmp_path / "0.tar"), 0, tmp_path, machine(tmp_path), "captions", 100)
