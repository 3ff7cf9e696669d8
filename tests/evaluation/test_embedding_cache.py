import errno
from pathlib import Path

import pytest
import torch

from cosmos.errors import TransientError
from cosmos.evaluation.embedding_cache import CacheFolder, NoCache


def test_rows_come_back_under_their_keys_from_all_parts(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a", "b"], torch.tensor([[1.0], [2.0]]))
    cache.add("photos", ["c"], torch.tensor([[3.0]]))
    assert {key: row.item() for key, row in cache.read("photos").items()} == {"a": 1, "b": 2, "c": 3}


def test_collections_are_kept_apart(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a"], torch.zeros(1, 1))
    assert cache.read("captions") == {}


def test_a_damaged_part_is_passed_over_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a"], torch.zeros(1, 1))
    (part,) = tmp_path.rglob("*.pt")
    for damage in (part.read_bytes()[:100], b"", b"junk"):
        part.write_bytes(damage)
        assert cache.read("photos") == {}
    assert f"{part}: damaged; its embeddings are computed again" in caplog.text


def test_a_part_that_a_failing_disk_keeps_back_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CacheFolder(tmp_path)
    cache.add("photos", ["a"], torch.zeros(1, 1))

    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(TransientError, match=r"\.pt: cannot be read"):
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
