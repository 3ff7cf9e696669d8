import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Timer
from typing import Any

import fsspec
import pytest
import s3fs
from botocore.exceptions import ClientError, EndpointConnectionError, ProfileNotFound
from moto.server import ThreadedMotoServer
from s3fs.errors import translate_boto_error

from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, Params, PretrainParams
from cosmos.data.loader import make_loader
from cosmos.data.preparation import prepare_dataset
from cosmos.data.readable import ReadableSamples
from cosmos.data.shards.existing import find_shards
from cosmos.data.shards.remote import ABANDONED_SECONDS, cached_copy, stored_size, temporary_copy
from cosmos.data.shards.samples import ShardedSamples, write_shard
from cosmos.errors import DamagedDataError, InputError, NotPermittedError, TransientError
from tests.data.examples import flip_bit_behind, machine, samples
from tests.stages.examples import TINY, cosmos


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
    """Put `number` shards of two samples each into the bucket."""
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
    assert read.damaged_shards() == ()


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


def test_what_a_killed_process_had_copied_by_half_is_removed_with_the_next_copy(tmp_path: Path) -> None:
    here, shard = machine(tmp_path), tmp_path / "00000.tar"
    write_shard(shard, samples(2))
    if (child := os.fork()) == 0:
        with temporary_copy(shard.as_uri(), here):
            os._exit(137)
    os.waitpid(child, 0)
    assert len(cached(tmp_path)) == 1
    copy = cached_copy(shard.as_uri(), here)
    assert cached(tmp_path) == [copy]


def test_a_copy_that_another_process_removed_is_made_again(tmp_path: Path, storage: dict[str, Any]) -> None:
    read = prepared(tmp_path, storage, number=2)
    read.read(0)
    for copy in cached(tmp_path):
        copy.unlink()
    again = ShardedSamples(tmp_path / "data" / "remote" / "train", read._machine)
    assert again.read(0) == read.read(0)


def test_a_damaged_copy_is_made_again_once(tmp_path: Path, storage: dict[str, Any]) -> None:
    read = prepared(tmp_path, storage, number=1)
    whole = read.read(0)
    flip_bit_behind(cached(tmp_path)[0], whole.image, 100)
    assert read.read(0) == whole
    flip_bit_behind(cached(tmp_path)[0], whole.image, 100)
    with pytest.raises(DamagedDataError, match=r"s3://bucket/00000.tar: sample 00000-s0: its bytes are not"):
        read.read(0)


def test_a_copy_that_is_removed_at_once_is_no_damage(
    tmp_path: Path, storage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = prepared(tmp_path, storage, number=1)
    monkeypatch.setattr("cosmos.data.shards.samples.cached_copy", lambda *_: tmp_path / "removed.tar")
    with pytest.raises(TransientError, match=r"s3://bucket/00000.tar: its copy was removed .*cached_shards"):
        read.read(0)


def test_hidden_files_are_no_shards(tmp_path: Path) -> None:
    for name in ("0.tar", "._0.tar"):
        fsspec.filesystem("memory").pipe(f"/hidden/{name}", b"")
    assert find_shards("memory://hidden/*.tar", machine(tmp_path)) == ["memory:///hidden/0.tar"]


def test_a_bucket_that_is_missing_is_the_users(tmp_path: Path, storage: dict[str, Any]) -> None:
    settled = machine(tmp_path, storage_options=storage)
    with pytest.raises(InputError, match=r"s3://nowhere/\*.tar: .*; correct data.annotations"):
        prepare_dataset(params("s3://nowhere/*.tar"), settled, processes=1)


def test_a_fork_of_a_process_that_read_from_storage_reads_too(
    tmp_path: Path, storage: dict[str, Any]
) -> None:
    read = prepared(tmp_path, storage, number=2)
    read.read(0)
    child = os.fork()
    if child == 0:
        os._exit(0 if read.read(3).image == samples(4)[3].image else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_shards_that_are_gone_or_were_replaced_show_before_they_are_read_and_then_count_as_away(
    tmp_path: Path, storage: dict[str, Any]
) -> None:
    read = prepared(tmp_path, storage, number=3)
    files = s3fs.S3FileSystem(**storage)
    read.read(4)
    for number in (0, 2):
        files.rm(f"bucket/0000{number}.tar")
    files.pipe("bucket/00001.tar", b"other")
    assert [str(damage) for damage in read.damaged_shards()] == [
        "s3://bucket/00000.tar: no such file",
        "s3://bucket/00001.tar: has 5 bytes, the manifest says 10240",
    ]  # the third one is copied already
    with pytest.raises(TransientError, match=r"s3://bucket/00000.tar: cannot be copied \(NoSuchKey"):
        read.read(0)
    with pytest.raises(TransientError, match=r"00001.tar: has 5 bytes, the manifest says 10240"):
        read.read(2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that a storage is asked for one by one; folders with 4 files are listed."""
    names: list[str] = []

    def ask(url: str, machine: Machine) -> int | None:
        names.append(url.rpartition("/")[2])
        return stored_size(url, machine)

    monkeypatch.setattr("cosmos.data.shards.remote.MIN_LISTED", 4)
    monkeypatch.setattr("cosmos.data.shards.damage.stored_size", ask)
    return names


def test_shards_of_a_folder_are_found_by_its_listing_and_no_request_for_each(
    tmp_path: Path, storage: dict[str, Any], asked: list[str]
) -> None:
    read = prepared(tmp_path, storage, number=6)
    files = s3fs.S3FileSystem(**storage)
    content = files.cat("bucket/00002.tar")
    assert (read.damaged_shards(), asked) == ((), [])
    files.rm("bucket/00002.tar")
    files.pipe("bucket/00003.tar", b"other")
    assert [str(damage) for damage in read.damaged_shards()] == [
        "s3://bucket/00002.tar: no such file",
        "s3://bucket/00003.tar: has 5 bytes, the manifest says 10240",
    ]
    assert sorted(asked) == ["00002.tar", "00003.tar"]
    files.pipe("bucket/00002.tar", content)
    assert [damage.shard.path for damage in read.damaged_shards()] == ["s3://bucket/00003.tar"]


@pytest.mark.parametrize("error", [PermissionError("ListBucket"), NotImplementedError(), FileNotFoundError()])
def test_a_storage_that_may_not_be_listed_is_asked_for_each_shard(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for number in range(5):
        write_shard(tmp_path / f"0000{number}.tar", samples(1))
        content = (tmp_path / f"0000{number}.tar").read_bytes()
        fsspec.filesystem("memory").pipe(f"/unlisted/0000{number}.tar", content)
    settled = machine(tmp_path)
    prepare_dataset(params("memory://unlisted/{00000..00004}.tar"), settled, processes=1)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.ls", refuse)
    assert ShardedSamples(settled.dataset("remote", "train"), settled).damaged_shards() == ()
    assert sorted(asked) == [f"0000{number}.tar" for number in range(5)]


def test_a_storage_that_fails_while_it_is_listed_is_worth_another_try(
    tmp_path: Path, storage: dict[str, Any], busy_storage: dict[str, Any], asked: list[str]
) -> None:
    prepared(tmp_path, storage, number=4)
    settled = machine(tmp_path, storage_options=busy_storage)
    with pytest.raises(TransientError, match=r"s3://bucket: cannot be listed"):
        ShardedSamples(settled.dataset("remote", "train"), settled).damaged_shards()
    assert asked == []


@pytest.mark.parametrize("workers", [0, 2])
def test_training_waits_for_a_storage_and_ends_in_the_same_batches(
    tmp_path: Path, storage: dict[str, Any], workers: int
) -> None:
    samples = prepared(tmp_path, storage, number=3)
    settings = Params(pretrain=PretrainParams(batch_size=2))

    def loaded(cache: Path) -> list[tuple[str, ...]]:
        settled = machine(
            tmp_path, workers=workers, device="cpu", data_wait_minutes=1, storage_options=storage
        )
        settled = settled.model_copy(update={"cache_root": cache})
        data = ReadableSamples.of(ShardedSamples(samples.folder, settled), (), settings)
        return [batch.keys for batch in make_loader(data, settings, settled, 0, 1, 0, 4)]

    expected = loaded(tmp_path / "first")
    files = s3fs.S3FileSystem(**storage)
    content = files.cat("bucket/00001.tar")
    files.rm("bucket/00001.tar")
    Timer(0.5, files.pipe, ["bucket/00001.tar", content]).start()
    assert loaded(tmp_path / "second") == expected


def test_a_storage_that_does_not_answer_is_named(tmp_path: Path) -> None:
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "key": "x",
        "secret": "x",
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    settled = machine(tmp_path, storage_options=options)
    with pytest.raises(TransientError, match=r"s3://bucket/0.tar: cannot be copied"):
        prepare_dataset(params("s3://bucket/0.tar"), settled)


class Busy(BaseHTTPRequestHandler):
    """Handler that answers every request as a storage of S3's kind does when it is overloaded."""

    def busy(self) -> None:
        content = b"<Error><Code>ServiceUnavailable</Code><Message>come back later</Message></Error>"
        self.send_response(503)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = busy  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def busy_storage() -> Iterator[dict[str, Any]]:
    """Options of fsspec for a storage that answers 503 to everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield {
        "endpoint_url": f"http://127.0.0.1:{server.server_port}",
        "key": "test",
        "secret": "test",
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    server.shutdown()


@pytest.mark.parametrize("pattern", ["s3://bucket/{00000..00001}.tar", "s3://bucket/*.tar"])
def test_a_storage_that_is_busy_is_worth_another_try(
    tmp_path: Path, busy_storage: dict[str, Any], pattern: str
) -> None:
    with pytest.raises(TransientError, match=r"s3://bucket/.*tar: cannot be (copied|listed)"):
        prepare_dataset(params(pattern), machine(tmp_path, storage_options=busy_storage), processes=2)
    assert not list(tmp_path.rglob("*.part"))


def test_prepare_ends_with_the_status_of_another_try_when_the_storage_is_busy(
    tmp_path: Path, busy_storage: dict[str, Any]
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    options = ("--data.name", "remote", "--data.source", "shards", "--data.annotations", "s3://bucket/0.tar")
    settings = {"STORAGE_OPTIONS": json.dumps(busy_storage), "CACHE_ROOT": str(tmp_path / "cache")}
    done = cosmos(tmp_path, "prepare", *options, **settings)
    assert done.returncode == TransientError.exit_status == 74
    assert "s3://bucket/0.tar: cannot be copied" in done.stderr
    assert "Traceback" not in done.stderr


def test_training_reads_no_other_sample_when_the_storage_is_busy(
    tmp_path: Path, storage: dict[str, Any], busy_storage: dict[str, Any]
) -> None:
    prepared(tmp_path, storage, number=1)
    settled = machine(tmp_path, storage_options=busy_storage)
    with pytest.raises(TransientError, match=r"s3://bucket/00000.tar: cannot be copied"):
        ShardedSamples(settled.dataset("remote", "train"), settled).read(0)


def test_a_broken_shard_is_named_by_its_place_and_not_by_that_of_its_copy(
    tmp_path: Path, storage: dict[str, Any]
) -> None:
    upload(storage, tmp_path / "local", 2)
    s3fs.S3FileSystem(**storage).pipe("bucket/00001.tar", b"no tar" * 200)
    settled = machine(tmp_path, storage_options=storage)
    pattern = params("s3://bucket/{00000..00001}.tar").model_copy(update={"max_skipped": 1.0})
    (skipped,) = prepare_dataset(pattern, settled, processes=1)["train"].skipped
    assert skipped.reason.startswith("s3://bucket/00001.tar: not a whole, uncompressed tar")


def test_a_shard_in_object_storage_that_the_pattern_names_must_be_there(
    tmp_path: Path, storage: dict[str, Any]
) -> None:
    upload(storage, tmp_path / "local", 1)
    settled = machine(tmp_path, storage_options=storage)
    pattern = "s3://bucket/{00000,gone}.tar"
    with pytest.raises(InputError, match=r"s3://bucket/gone.tar: .*; correct data.annotations"):
        prepare_dataset(params(pattern), settled, processes=1)


class StatusError(Exception):
    """An error of an HTTP client."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def no_file(cause: Exception) -> FileNotFoundError:
    """Return the error that fsspec's HTTP makes of any failure to look at a file."""
    error = FileNotFoundError("http://host/0.tar")
    error.__cause__ = cause
    return error


def answer(status: int) -> ClientError:
    """Return the error of S3's client after an answer of this status, whose code nobody knows."""
    return ClientError(
        {"Error": {"Code": "Odd"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject"
    )


def test_missing_keys_of_a_storage_are_the_users_and_named_with_where_they_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settled = machine(tmp_path, storage_options={"endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(InputError, match=r"s3://bucket/0.tar: .*; give the keys .*AWS_ACCESS_KEY_ID.*anon"):
        prepare_dataset(params("s3://bucket/0.tar"), settled, processes=1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer(403), NotPermittedError),
        (answer(503), TransientError),
        (translate_boto_error(answer(400)), InputError),
        (translate_boto_error(answer(500)), TransientError),
        (EndpointConnectionError(endpoint_url="http://s3"), TransientError),
        (ProfileNotFound(profile="lab"), InputError),
        (FileNotFoundError("gone"), DamagedDataError),
        (no_file(KeyError("0.tar")), DamagedDataError),
        (no_file(StatusError(404)), DamagedDataError),
        (no_file(StatusError(403)), NotPermittedError),
        (no_file(StatusError(503)), TransientError),
        (no_file(TimeoutError("slow")), TransientError),
        (no_file(RuntimeError("of a connection that broke")), TransientError),
        (StatusError(404), DamagedDataError),
        (PermissionError("token"), NotPermittedError),
        (StatusError(403), NotPermittedError),
        (StatusError(401), NotPermittedError),
        (ValueError("bucket"), InputError),
        (StatusError(429), TransientError),
        (StatusError(503), TransientError),
        (OSError(errno.EBUSY, "come back later"), TransientError),
        (OSError(errno.ENOSPC, "no space"), TransientError),
        (TimeoutError("slow"), TransientError),
        (RuntimeError("of a client that nobody knows"), TransientError),
    ],
)
def test_the_error_of_a_storage_says_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.get_file", fail)
    with pytest.raises(kind, match=r"memory://0.tar: cannot be copied"):
        cached_copy("memory://0.tar", machine(tmp_path))


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, TransientError), (errno.EACCES, InputError)])
def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, "it failed")

    monkeypatch.setattr("cosmos.data.shards.remote.make_temporary_file", fail)
    with pytest.raises(kind, match=r"memory://0.tar: cannot be copied to .*cache/shards \(it failed\)"):
        cached_copy("memory://0.tar", machine(tmp_path))


def test_a_protocol_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nope://x/0.tar: .*correct the URL"):
        cached_copy("nope://x/0.tar", Machine(cache_root=tmp_path))


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/0.tar", "s3://bucket/0.tar"])
def test_a_storage_that_never_answers_is_away_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr("cosmos.data.shards.remote.SILENCE_SECONDS", 0.2)
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        keys = {"endpoint_url": f"http://127.0.0.1:{port}", "key": "test", "secret": "test"}
        settled = machine(tmp_path, storage_options=keys if url.startswith("s3") else {})
        with pytest.raises(TransientError, match=r"0\.tar: cannot be copied"):
            cached_copy(url.format(port=port), settled)
