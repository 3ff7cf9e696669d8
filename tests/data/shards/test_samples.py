import errno
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmos.data.image_decoding import decode_image
from cosmos.data.manifest import Manifest, ShardInfo
from cosmos.data.sample import Sample
from cosmos.data.shards.index import SampleLocation, ShardIndex, index_path, safe_key
from cosmos.data.shards.samples import ShardedSamples, image_extension, write_shard
from cosmos.errors import DamagedDataError, TransientError
from tests.data.examples import flipped_bit, image_bytes, machine, samples, write_as_before

WORDS = st.text(st.characters(categories=("L", "N")), min_size=1)


def write_split(folder: Path, *shards: list[Sample]) -> ShardedSamples:
    infos = [write_shard(folder / f"shard-{i:05d}.tar", shard) for i, shard in enumerate(shards)]
    write_manifest(folder, infos)
    return ShardedSamples(folder, machine(folder))


def write_manifest(folder: Path, shards: list[ShardInfo]) -> None:
    Manifest("captions", tuple(shards), (), {}).write(folder)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(st.text(), st.lists(WORDS, min_size=1)), max_size=4))
def test_samples_come_back_as_they_were_written(
    tmp_path: Path, contents: list[tuple[str, list[str]]]
) -> None:
    written = [
        Sample(f"{i}-{safe_key(key)[:60]}", image_bytes(i), {"captions": captions})
        for i, (key, captions) in enumerate(contents)
    ]
    read = write_split(tmp_path / "split", written)
    assert [read.read(i) for i in range(len(read))] == written


def test_samples_are_counted_through_all_shards_even_empty_ones(tmp_path: Path) -> None:
    things = samples(5)
    read = write_split(tmp_path, things[:2], [], things[2:])
    assert read.shard_sizes == (2, 0, 3)
    assert [read.read(i).key for i in (4, 0, 2, 1, 3)] == ["s4", "s0", "s2", "s1", "s3"]
    for index in (-1, 5):
        with pytest.raises(IndexError, match="of 5"):
            read.read(index)


def test_equal_samples_give_equal_files(tmp_path: Path) -> None:
    first, second = (write_shard(tmp_path / name / "s.tar", samples(3)) for name in "ab")
    assert first == second
    for name in ("s.tar", "s.idx.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_shard_is_a_plain_tar_in_webdataset_s_format(tmp_path: Path) -> None:
    image = image_bytes(kind="PNG")
    write_shard(tmp_path / "s.tar", [*samples(1), Sample("last", image, {"captions": ["é"]})])
    with tarfile.open(tmp_path / "s.tar") as tar:
        assert tar.getnames() == ["s0.jpg", "s0.json", "last.png", "last.json"]
        assert {(member.mtime, member.uid, member.gid, member.mode) for member in tar} == {(0, 0, 0, 0o644)}
        content = tar.extractfile("last.png")
        assert content is not None
        assert content.read() == image


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="key 's0'"):
        write_shard(tmp_path / "s.tar", samples(1) * 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "bmp"), ("TIFF", "tiff")],
)
def test_the_extension_follows_from_the_content(kind: str, extension: str) -> None:
    assert image_extension(Sample("x", image_bytes(kind=kind), {})) == extension


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(DamagedDataError, match="x: not a JPEG"):
        image_extension(Sample("x", b"<svg/>", {}))


def test_a_missing_or_truncated_shard_shows_before_it_is_read_and_then_counts_as_away(tmp_path: Path) -> None:
    things = samples(6)
    read = write_split(tmp_path, things[:2], things[2:4], things[4:])
    (tmp_path / "shard-00000.tar").unlink()
    os.truncate(tmp_path / "shard-00001.tar", 1000)
    assert [str(damage) for damage in read.damaged_shards()] == [
        "shard-00000.tar: no such file",
        "shard-00001.tar: has 1000 bytes, the manifest says 10240",
    ]
    with pytest.raises(TransientError, match=f"^{tmp_path}/shard-00000.tar: no such file"):
        read.read(0)
    with pytest.raises(
        TransientError, match=f"^{tmp_path}/shard-00001.tar: has 1000 bytes, the manifest says 10240"
    ):
        read.read(2)
    assert read.read(4) == things[4]


def test_a_shard_that_is_truncated_while_it_is_open_is_away_until_it_is_whole(tmp_path: Path) -> None:
    read = write_split(tmp_path, samples(3))
    shard = tmp_path / "shard-00000.tar"
    content = shard.read_bytes()
    read.read(0)
    os.truncate(shard, 1000)
    with pytest.raises(TransientError, match="has 1000 bytes"):
        read.read(2)
    (tmp_path / "new").write_bytes(content)
    (tmp_path / "new").rename(shard)
    assert read.read(2) == samples(3)[2]


def test_a_sample_that_an_index_places_behind_the_end_is_damaged(tmp_path: Path) -> None:
    read = write_split(tmp_path, samples(1))
    ShardIndex.of([SampleLocation("a", 10_000, 1000, 512, 10)]).write(index_path(tmp_path, "shard-00000.tar"))
    with pytest.raises(DamagedDataError, match="sample a: the shard ends in the middle"):
        read.read(0)


def test_a_file_that_is_stale_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, pread, stale = write_split(tmp_path, samples(1)), os.pread, list[int]()

    def fail_once(descriptor: int, size: int, offset: int) -> bytes:
        stale.append(descriptor)
        if len(stale) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return pread(descriptor, size, offset)

    monkeypatch.setattr("cosmos.data.shards.samples.os.pread", fail_once)
    opened = read._open(read.manifest.shards[0])
    with pytest.raises(TransientError, match="Stale file handle"):
        read.read(0)
    assert read.read(0) == samples(1)[0]
    assert read._open(read.manifest.shards[0]) is not opened


def test_a_shard_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    read = write_split(tmp_path, samples(1))
    opened, folder = read._open(read.manifest.shards[0]), os.open(tmp_path, os.O_RDONLY)
    os.dup2(folder, opened._descriptor)  # of a folder every read fails
    os.close(folder)
    with pytest.raises(DamagedDataError, match=f"^{tmp_path}/shard-00000.tar: sample s0: cannot be read"):
        read.read(0)


@pytest.mark.parametrize("content", [b'{"captions":"', b"\xff" * 20, b'{"captions":[]}     '])
def test_a_broken_annotation_is_damaged_and_named(tmp_path: Path, content: bytes) -> None:
    read = write_split(tmp_path, samples(1))
    shard = tmp_path / "shard-00000.tar"
    write_as_before(index_path(tmp_path, shard.name))
    whole = shard.read_bytes()
    at = whole.index(b'{"captions"')
    shard.write_bytes(whole[:at] + content + whole[at + len(content) :])
    with pytest.raises(
        DamagedDataError, match=rf"^{tmp_path}/shard-00000.tar: sample s0: (broken JSON|no captions)"
    ):
        read.read(0)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10 * 1024), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_shard_is_harmless_or_damage_of_its_sample(
    tmp_path: Path, position: int, bit: int
) -> None:
    if not (tmp_path / "shard-00000.tar").exists():
        write_split(tmp_path, samples(3))
    read, num_damaged = ShardedSamples(tmp_path, machine(tmp_path)), 0
    with flipped_bit(tmp_path / "shard-00000.tar", position, bit):
        for index, sample in enumerate(samples(3)):
            try:
                assert read.read(index) == sample
            except DamagedDataError:
                num_damaged += 1
    assert num_damaged <= 1


def test_a_sample_is_checked_whose_image_still_decodes(tmp_path: Path) -> None:
    read = write_split(tmp_path, [Sample("a", image_bytes(size=(300, 300)), {"captions": ["one"]})])
    shard = tmp_path / "shard-00000.tar"
    content = bytearray(shard.read_bytes())
    content[8192:12288] = bytes(4096)
    shard.write_bytes(content)
    with pytest.raises(
        DamagedDataError, match=f"^{tmp_path}/shard-00000.tar: sample a: its bytes are not those"
    ):
        read.read(0)
    write_as_before(index_path(tmp_path, shard.name))
    as_before = ShardedSamples(tmp_path, read._machine).read(0)
    assert decode_image(as_before.image, 10**6).size == (300, 300)


def test_a_dataset_of_an_earlier_version_is_read_as_it_was(tmp_path: Path) -> None:
    read = write_split(tmp_path, samples(2))
    write_as_before(index_path(tmp_path, "shard-00000.tar"))
    assert [read.read(0), read.read(1)] == samples(2)


@pytest.mark.parametrize("others", [samples(2)[1:], samples(2)])
def test_an_index_that_belongs_to_another_shard_is_refused(tmp_path: Path, others: list[Sample]) -> None:
    read = write_split(tmp_path, samples(1), others)
    index_path(tmp_path, "shard-00001.tar").replace(index_path(tmp_path, "shard-00000.tar"))
    with pytest.raises(
        DamagedDataError, match=r"another shard than the shard-00000\.tar of .*/manifest\.json;"
    ):
        read.read(0)


def test_threads_and_forks_and_pickles_read_the_same(tmp_path: Path) -> None:
    things = samples(12)
    read = write_split(tmp_path, things[:6], things[6:])
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read.read, [*range(12)] * 5)) == things * 5
    assert pickle.loads(pickle.dumps(read)).read(7) == things[7]
    child = os.fork()
    if child == 0:
        os._exit(0 if read.read(8) == things[8] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert read.read(9) == things[9]


def test_a_bounded_number_of_shards_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmos.data.shards.samples.OPEN_SHARDS", 2)
    things = samples(8)
    read = write_split(tmp_path, *([thing] for thing in things))
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert [read.read(i) for i in range(8)] == things
    assert len(list(Path("/proc/self/fd").iterdir())) - before == 2
    del read
    assert len(list(Path("/proc/self/fd").iterdir())) == before
