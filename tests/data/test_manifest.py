import json
from pathlib import Path
from typing import Any

import pytest

from cosmos.data.manifest import MANIFEST_FILE, Manifest, ShardInfo, Skipped
from cosmos.errors import DamagedDataError, InputError

SHARD = ShardInfo("shard-00000.tar", 2, 8192, "0" * 64)
MANIFEST = Manifest("captions", (SHARD,), (), {"source": "folder"})


def changed(key: str, value: Any) -> str:
    """The text of a manifest with another value at `key`, also one of its shard."""
    content = json.loads(json.dumps({**vars(MANIFEST), "shards": [vars(SHARD)]}))
    (content["shards"][0] if key in vars(SHARD) else content)[key] = value
    return json.dumps(content)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    assert Manifest.read(tmp_path) == MANIFEST


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Invalid JSON"),
        ("[]", "object"),
        ("{}", "schema"),
        (changed("schema", "video"), "schema"),
        (changed("shards", {"a": 1}), "shards"),
        (changed("shards", [[]]), "shards.0"),
        (changed("shards", [vars(SHARD)] * 2), "'shard-00000.tar' is there 2 times"),
        (changed("skipped", [3]), "skipped.0"),
        (changed("source", None), "source"),
        (changed("num_samples", "2"), "shards.0.num_samples"),
        (changed("num_samples", 10**9), "cannot hold 1000000000 samples in 8192 bytes"),
        (changed("num_samples", -1), "cannot hold -1 samples"),
        (changed("num_bytes", int("9" * 4000)), "a number of 400 digits or more"),
        (changed("path", "../shard-00000.tar"), "'../shard-00000.tar' is not a file name beside"),
        (changed("path", "/etc/passwd"), "'/etc/passwd' is not a file name beside"),
        (changed("path", "s3://elsewhere/a.tar"), "is not a file name beside"),
        (changed("path", "a\0.tar"), "is not a file name beside"),
        (changed("path", ".."), "'..' is not a file name beside"),
        (changed("path", "a" * 300), "is not a file name beside"),
        ('{"schema": ' + "[" * 100_000, "recursion limit"),
        ("\udcff", "Invalid JSON"),
    ],
    ids=range(21),
)
def test_another_content_of_a_manifest_is_one_line_that_names_the_file(
    content: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / MANIFEST_FILE
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(DamagedDataError) as caught:
        Manifest.read(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a manifest (")
    assert message.endswith("; delete it and run `cosmos prepare` again")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize("place", ["/data/00000.tar", "s3://bucket/00000.tar"])
def test_shards_that_existed_before_lie_anywhere(place: str, tmp_path: Path) -> None:
    shard = ShardInfo(place, 2, 8192, "0" * 64)
    manifest = Manifest("captions", (shard,), (), {"source": "shards"})
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest


def test_a_skipped_input_has_a_name_of_limited_size_that_any_file_can_hold() -> None:
    entry = Skipped("\udcff" * 10, "x" * 10**7)
    assert entry.input == r"\udcff" * 10
    assert len(entry.reason) == 5000


def test_a_manifest_that_is_not_there_names_the_datasets_near_it(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path / "things" / "train")
    with pytest.raises(InputError, match="near it: things; `cosmos prepare` makes it"):
        Manifest.read(tmp_path / "thing" / "train")
