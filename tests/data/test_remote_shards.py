import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.preparation import prepare_dataset
from cosmos.data.remote_shards import ABANDONED_SECONDS, cached_copy
from cosmos.data.shards import ShardedSamples, write_shard
from cosmos.errors import DamagedDataError
from tests.data.examples import machine, samples


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, Any]]:
    """Options of fsspec for a storage of S3's kind on loopback, with the bucket `bucket`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
    s3fs.S3FileSystem(**options).mkdir("bucket")
    yield options
    server.stop()


def upload(storage: dict[str, Any], folder: Path, number: int) -> None:
    """Puts `number` shards of two samples each into the bucket."""
    things = samples(2 * number)
    for i in range(number):
        path = folder / f"{i:05d}.tar"
        write_shard(path, things[2 * i : 2 * i + 2])
        s3fs.S3FileSystem(**storage).put(str(path), f"bucket/{path.name}")


def params(pattern: str) -> DataParams:
    return DataParams(name="remote", source="shards", annotations=pattern)


def prepared(folder: Path, storage: dict[str, Any], number: int, **settings: Any) -> ShardedSamples:
    upload(storage, folder / "local", number)
    settled = machine(folder, storage_options=storage, **settings)
    prepare_dataset(params(f"s3://bucket/{{00000..{number - 1:05d}}}.tar"), settled, processes=1)
    return ShardedSamples(settled.dataset("remote", "train"), settled)


def cached(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "shards").iterdir())


def test_shards_in_object_storage_are_indexed_there_and_read_through_the_cache(
    tmp_path: Path, storage: dict[str, Any]
) -> None:
    read = prepared(tmp_path, storage, number=3)
    assert [shard.path for shard in read.manifest.shards] == [f"s3://bucket/0000{i}.tar" for i in range(3)]
    assert cached(tmp_path) == []
    assert list(tmp_path.glob("data/**/*.tar")) == []
    expected = samples(6)
    for index in (5, 0, 3, 1, 4, 2):
        sample = read.read(index)
        assert (sample.image, sample.annotation) == (expected[index].image, expected[index].annotation)
        assert sample.key == f"{index // 2:05d}-s{index}"
    assert len(cached(tmp_path)) == 3
    assert read.damaged_shards() == []


def test_a_pattern_of_remote_files_is_expanded(tmp_path: Path, storage: dict[str, Any]) -> None:
    upload(storage, tmp_path / "local", 2)
    settled = machine(tmp_path, storage_options=storage)
    manifest = prepare_dataset(params("s3://bucket/0000[01].tar"), settled, processes=1)["train"]
    assert [shard.path for shard in manifest.shards] == ["s3://bucket/00000.tar", "s3://bucket/00001.tar"]


def test_only_the_copies_used_last_are_kept(tmp_path: Path, storage: dict[str, Any]) -> None:
    read = prepared(tmp_path, storage, number=3, cached_shards=2)
    abandoned = tmp_path / "cache" / "shards" / "killed.part"
    abandoned.parent.mkdir(parents=True, exist_ok=True)
    abandoned.touch()
    os.utime(abandoned, (time.time() - 2 * ABANDONED_SECONDS,) * 2)
    expected = samples(6)
    for index in (0, 2, 4, 0, 2, 4):
        assert read.read(index).image == expected[index].image
        assert len(cached(tmp_path)) <= 2
    assert not abandoned.exists()


def test_a_copy_that_another_process_removed_is_made_again(tmp_path: Path, storage: dict[str, Any]) -> None:
    read = prepared(tmp_path, storage, number=2)
    read.read(0)
    for copy in cached(tmp_path):
        copy.unlink()
    again = ShardedSamples(tmp_path / "data" / "remote" / "train", read._machine)
    assert again.read(0) == read.read(0)


def test_a_fork_of_a_process_that_read_from_storage_reads_too(
    tmp_path: Path, storage: dict[str, Any]
) -> None:
    read = prepared(tmp_path, storage, number=2)
    read.read(0)
    child = os.fork()
    if child == 0:
        os._exit(0 if read.read(3).image == samples(4)[3].image else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_shards_that_are_gone_or_were_replaced_are_damaged(tmp_path: Path, storage: dict[str, Any]) -> None:
    read = prepared(tmp_path, storage, number=2)
    files = s3fs.S3FileSystem(**storage)
    files.rm("bucket/00000.tar")
    files.pipe("bucket/00001.tar", b"other")
    with pytest.raises(DamagedDataError, match=r"s3://bucket/00000.tar: cannot be copied \(FileNotFound"):
        read.read(0)
    with pytest.raises(DamagedDataError, match=r"00001.tar: has 5 bytes, the manifest says 10240"):
        read.read(2)
    assert cached(tmp_path) == []


def test_a_storage_that_does_not_answer_is_named(tmp_path: Path) -> None:
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "key": "x",
        "secret": "x",
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    settled = machine(tmp_path, storage_options=options)
    with pytest.raises(ValueError, match=r"s3://bucket/0.tar: cannot be copied"):
        prepare_dataset(params("s3://bucket/0.tar"), settled)


def test_a_protocol_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nope://x/0.tar: .*correct the URL"):
        cached_copy("nope://x/0.tar", Machine(cache_root=tmp_path))
