"""Temporary files that killed processes left, on disks that several hosts use."""

import os
import time
from pathlib import Path

import pytest

from cosmos.run.abandoned_files import ABANDONED_SECONDS, remove_abandoned, temporary_path
from cosmos.run.files import replacing
from tests.other_users import run_in_container


def test_a_live_file_stays_beside_a_container_whose_host_has_the_same_name(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as live:
        live.touch()
        run_in_container(
            "from pathlib import Path; from cosmos.run.abandoned_files import remove_abandoned; "
            f"remove_abandoned(Path({str(tmp_path)!r}))"
        )
        assert live.exists()


def test_a_container_of_the_same_host_has_temporary_files_of_its_own(tmp_path: Path) -> None:
    run_in_container(
        "from pathlib import Path; from cosmos.run.abandoned_files import temporary_path; "
        f"temporary_path(Path({str(tmp_path / 'file')!r})).touch()"
    )
    (theirs,), ours = tmp_path.iterdir(), temporary_path(tmp_path / "file")
    hosts = [path.name.removesuffix(".tmp").rpartition(".")[0] for path in (theirs, ours)]
    assert hosts[0] != hosts[1]


@pytest.mark.parametrize("days", [-400, 400])
def test_a_live_file_of_another_host_stays_whatever_this_ones_clock_says(
    days: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, left = (tmp_path / f".f.cosmos.elsewhere.{pid}.tmp" for pid in (1, 2))
    for path in (live, left):
        path.touch()
    now = time.time()
    os.utime(left, (now - 2 * ABANDONED_SECONDS,) * 2)
    monkeypatch.setattr(time, "time", lambda: now + days * 86400)
    remove_abandoned(tmp_path)
    assert live.exists()
    monkeypatch.undo()
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [live]
