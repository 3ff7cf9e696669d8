"""Files with the values of images beside results."""

from pathlib import Path

import numpy as np
import pytest

from cosmos.errors import DamagedDataError
from cosmos.evaluation.value_file import read_image_values, write_image_values
from cosmos.run.statistics.image_values import FloatArray, ImageValues

VALUES: dict[str, FloatArray] = {
    "top1": np.array([1.0, 0.0, 1.0]),
    "mean_per_class": np.array([0.25, np.nan, 1.0]),
    "file": np.ones(3),
}


def test_values_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_image_values(tmp_path / "a.npz", ImageValues("set", VALUES))
    read = read_image_values(tmp_path / "a.npz")
    assert read.image_set == "set"
    assert list(read.by_metric) == list(VALUES)
    assert all(np.array_equal(read.by_metric[name], VALUES[name], equal_nan=True) for name in VALUES)
    write_image_values(tmp_path / "b.npz", ImageValues("set", VALUES))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_takes_at_most_four_bytes_for_an_image_and_metric_and_one_where_it_is_right_or_wrong(
    tmp_path: Path,
) -> None:
    hits = np.random.default_rng(0).integers(0, 2, 50_000).astype(np.float64)
    parts = {"top1": hits, "top5": 1 - hits, "mean_per_class": hits / 3}
    write_image_values(tmp_path / "a.npz", ImageValues("set", parts))
    assert (tmp_path / "a.npz").stat().st_size < 6 * 50_000 + 2_000


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npz"
    write_image_values(path, ImageValues("set", VALUES))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[100:]
    elif damage == "flipped":
        content[content.index(b"top1")] ^= 1
    else:
        with path.open("wb") as file:
            np.savez(file, head=np.frombuffer(b'{"image_set": "a", "metrics": ["b"]}', np.uint8))
        content = bytearray(path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(DamagedDataError, match=r"a\.npz: damaged .*; delete it, and evaluate"):
        read_image_values(path)
