import os
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos.data.shards.damage import ShardDamage, find_damage, find_local_damage, is_whole
from cosmos.data.shards.index import index_path
from cosmos.data.shards.samples import write_shard
from tests.data.examples import samples


def test_a_whole_shard_has_no_damage_by_path_or_descriptor(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", samples(1))
    assert find_damage(shard, tmp_path / "s.tar") is None
    with (tmp_path / "s.tar").open("rb") as file:
        assert find_damage(shard, file.fileno()) is None
    assert is_whole(shard, tmp_path)


@pytest.mark.parametrize(
    ("size", "problem"),
    [(1000, "has 1000 bytes, the manifest says 10240"), (0, "has 0 bytes, the manifest says 10240")],
)
def test_a_shard_of_another_size_is_damaged(tmp_path: Path, size: int, problem: str) -> None:
    shard = write_shard(tmp_path / "s.tar", samples(1))
    os.truncate(tmp_path / "s.tar", size)
    damage = find_local_damage(shard, tmp_path)
    assert damage == ShardDamage(shard, problem)
    assert str(damage) == f"s.tar: {problem}"
    assert not is_whole(shard, tmp_path)


def test_a_shard_without_file_or_index_is_not_whole(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", samples(1))
    index_path(tmp_path, "s.tar").unlink()
    assert str(find_local_damage(shard, tmp_path)) == "s.tar: its index s.idx.npz is missing"
    assert not is_whole(shard, tmp_path)
    (tmp_path / "s.tar").unlink()
    assert "no such file" in str(find_local_damage(shard, tmp_path))
    assert "no such file" in str(find_damage(shard, tmp_path / "s.tar" / "below"))


def test_of_a_remote_shard_the_index_alone_is_looked_at(tmp_path: Path) -> None:
    shard = replace(write_shard(tmp_path / "s.tar", samples(1)), path="s3://nowhere/s.tar")
    assert "its index s-c5baaa773179.idx.npz is missing" in str(find_local_damage(shard, tmp_path))
    index_path(tmp_path, "s.tar").rename(index_path(tmp_path, shard.path))
    assert find_local_damage(shard, tmp_path) is None
