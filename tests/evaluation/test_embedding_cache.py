import errno
import pickle
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosmos.errors import DamagedDataError, TransientError
from cosmos.evaluation.embedding_cache import CacheFolder, NoCache, read_part
from tests.data.examples import flipped_bit


def test_rows_come_back_under_their_keys_from_all_parts(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a", "b"], torch.tensor([[1.0], [2.0]]))
    cache.add("photos", ["c"], torch.tensor([[3.0]]))
    assert {key: row.item() for key, row in cache.read("photos").items()} == {"a": 1, "b": 2, "c": 3}


def test_collections_are_kept_apart(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a"], torch.zeros(1, 1))
    assert cache.read("captions") == {}


def test_keys_are_any_text(tmp_path: Path) -> None:
    cache, keys = CacheFolder(tmp_path), ["", "é\udcff", 'a "b"\n', "x" * 100_000]
    cache.add("captions", keys, torch.zeros(4, 2))
    assert list(cache.read("captions")) == keys


def test_a_damaged_part_is_removed_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a"], torch.zeros(1, 1))
    (part,) = tmp_path.rglob("*.npz")
    for damage in (part.read_bytes()[:100], b"", b"junk", pickle.dumps(["a"])):
        part.write_bytes(damage)
        assert cache.read("photos") == {}
        assert not part.exists()
    assert f"{part}: damaged (" in caplog.text
    assert "); it is removed, and its embeddings are computed again" in caplog.text


@pytest.mark.parametrize("owner", ["model/captions", "other/photos"])
def test_a_part_of_another_model_or_collection_is_damage(tmp_path: Path, owner: str) -> None:
    encoder, collection = owner.split("/")
    CacheFolder(tmp_path / encoder).add(collection, ["a"], torch.ones(1, 1))
    (stray,) = tmp_path.rglob("*.npz")
    cache = CacheFolder(tmp_path / "model")
    cache.add("photos", ["a"], torch.zeros(1, 1))
    (part,) = (path for path in tmp_path.rglob("*.npz") if path != stray)
    stray.replace(part)
    with pytest.raises(DamagedDataError, match="of another model or dataset"):
        read_part(part)
    assert cache.read("photos") == {}


def test_parts_of_earlier_versions_are_read(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a"], torch.ones(1, 1))
    (part,) = tmp_path.rglob("*.npz")
    np.savez(part, keys=np.frombuffer(b'["a"]', np.uint8), rows=np.zeros((1, 1), np.float32))
    assert cache.read("photos") == {"a": torch.zeros(1)}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 2**32), bit=st.integers(0, 7))
def test_a_flipped_bit_is_harmless_or_damage(tmp_path: Path, position: int, bit: int) -> None:
    cache = CacheFolder(tmp_path)
    if not cache.read("photos"):
        cache.add("photos", ["a", "b"], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    (part,) = tmp_path.rglob("*.npz")
    with flipped_bit(part, position, bit):
        rows = {key: row.tolist() for key, row in cache.read("photos").items()}
    assert rows in ({}, {"a": [1, 2], "b": [3, 4]})


def test_a_part_that_a_failing_disk_keeps_back_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a"], torch.zeros(1, 1))

    def fail(*_: object) -> BinaryIO:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(TransientError, match=r"\.npz: cannot be read"):
        cache.read("photos")


def test_no_cache_keeps_nothing() -> None:
    NoCache().add("photos", ["a"], torch.zeros(1, 1))
    assert NoCache().read("photos") == {}


def test_a_disk_that_takes_no_more_is_told_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    CacheFolder(tmp_path / "file").add("photos", ["a"], torch.zeros(1, 1))
    assert "embeddings cannot be kept" in caplog.text
