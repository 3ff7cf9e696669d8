from pathlib import Path

import pytest

from tests.crash_points import killed_at_each_operation


def test_each_operation_of_a_call_is_a_crash_point(tmp_path: Path) -> None:
    """Fails where the walk left an operation out: of write, sync, rename there are three states to see."""

    def call() -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "new").write_text("text")
        (tmp_path / "folder" / "new").rename(tmp_path / "folder" / "file")
        (tmp_path / "other").write_text("text")

    states = []
    for _ in killed_at_each_operation(call, tmp_path):
        left = sorted(path.name for path in tmp_path.rglob("*"))
        states.append(left)
        for path in sorted(tmp_path.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    assert states == [[], ["folder"], ["folder", "new"], ["file", "folder"]]


def test_a_call_that_fails_by_itself_is_no_crash(tmp_path: Path) -> None:
    def call() -> None:
        (tmp_path / "file").write_text("text")
        raise RuntimeError

    walk = killed_at_each_operation(call, tmp_path)
    assert next(walk) == 1
    with pytest.raises(AssertionError, match="ended with 1"):
        next(walk)
