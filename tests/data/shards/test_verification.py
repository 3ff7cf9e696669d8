import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from cosmos.data.manifest import Manifest
from cosmos.data.shards.index import index_path
from cosmos.data.shards.samples import ShardedSamples
from cosmos.data.shards.verification import verify_shard
from cosmos.errors import DamagedDataError, TransientError
from tests.data.examples import flip_bit, flip_bit_behind, machine, samples, write_as_before
from tests.data.shards.test_samples import write_split

SHARD = "shard-00000.tar"


def verify(read: ShardedSamples) -> None:
    for shard in read.manifest.shards:
        verify_shard(read, shard, machine(read.folder))


def flip_caption(shard: Path) -> None:
    flip_bit_behind(shard, b"thing 1", 6)


def flip_image(shard: Path) -> None:
    flip_bit_behind(shard, samples(2)[1].image, 2)


def flip_padding(shard: Path) -> None:
    flip_bit(shard, -1)


def test_whole_shards_are_whole_with_and_without_checksums(tmp_path: Path) -> None:
    read = write_split(tmp_path, samples(3), samples(2))
    verify(read)
    write_as_before(index_path(tmp_path, SHARD))
    verify(read)


@pytest.mark.parametrize(
    ("damage", "problem", "problem_before"),
    [
        (flip_image, r"1 of 3 samples are damaged \(s1\)", r"1 of 3 samples are damaged \(s1\)"),
        (flip_caption, r"1 of 3 samples are damaged \(s1\)", "not the file that was prepared"),
        (flip_padding, "not the file that was prepared", "not the file that was prepared"),
        (Path.unlink, "no such file", "no such file"),
        (Path.touch, "", ""),
    ],
)
def test_damage_is_told_by_sample_as_far_as_it_can_be(
    tmp_path: Path, damage: Callable[[Path], None], problem: str, problem_before: str
) -> None:
    read = write_split(tmp_path, samples(3))
    damage(tmp_path / SHARD)
    for expected in (problem, problem_before):
        if expected:
            with pytest.raises(DamagedDataError, match=rf"{SHARD}: {expected}; .* `cosmos prepare`"):
                verify(read)
        write_as_before(index_path(tmp_path, SHARD))


def test_a_shard_whose_index_is_damaged_is_read_all_the_same(tmp_path: Path) -> None:
    read = write_split(tmp_path, samples(2))
    index_path(tmp_path, SHARD).unlink()
    verify(read)
    flip_caption(tmp_path / SHARD)
    with pytest.raises(DamagedDataError, match="not the file that was prepared"):
        verify(read)


def test_a_remote_shard_is_read_from_its_storage(tmp_path: Path) -> None:
    [local] = write_split(tmp_path / "local", samples(2)).manifest.shards
    content = (tmp_path / "local" / SHARD).read_bytes()
    remote = replace(local, path="memory://verified/a.tar")
    Manifest("captions", (remote,), (), {"source": "shards"}).write(tmp_path)
    index_path(tmp_path / "local", SHARD).rename(index_path(tmp_path, "memory://verified/a.tar"))
    read = ShardedSamples(tmp_path, machine(tmp_path))
    fsspec.filesystem("memory").pipe("/verified/a.tar", content)
    verify(read)
    assert list((tmp_path / "cache" / "shards").iterdir()) == []
    read.read(0)
    (copy,) = (tmp_path / "cache" / "shards").iterdir()
    verify(read)
    assert copy.exists()
    flip_bit(copy, 0)
    verify(read)
    assert not copy.exists()
    fsspec.filesystem("memory").pipe("/verified/a.tar", content.replace(b"thing 1", b"thing 2"))
    with pytest.raises(
        DamagedDataError, match=r"memory://verified/a.tar: 1 of 2 samples are damaged \(s1\); put"
    ):
        verify(read)


def test_a_disk_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = write_split(tmp_path, samples(1))

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("cosmos.data.shards.samples.os.pread", fail)
    with pytest.raises(TransientError, match="Input/output error"):
        verify(read)
