"""Galleries that a report shows, in W&B."""

from pathlib import Path

import pytest

from cosmos.config.machine import Machine
from cosmos.config.wandb import WandbSettings
from cosmos.run.directory import RunDir
from cosmos.run.gallery_tables import read_gallery_tables
from cosmos.stages.gallery_mirror import mirror_galleries
from tests.report.test_gallery_sections import everything


def machine(upload: bool, mode: str = "offline") -> Machine:
    return Machine(wandb=WandbSettings.model_validate({"mode": mode, "upload_galleries": upload}))


def test_pictures_leave_the_report_only_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RANK", "1")  # which starts no process of W&B
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    for settings in (machine(upload=False), machine(upload=True, mode="disabled")):
        mirror_galleries(run, everything("mine"), settings)
        assert not run.galleries.exists()
    mirror_galleries(run, everything("mine"), machine(upload=True))
    assert "retrieval/demo" in read_gallery_tables(run)
    mirror_galleries(RunDir(Path("/proc/none")), everything("mine"), machine(upload=True))
    assert "W&B is not shown the galleries of /proc/none" in caplog.text
