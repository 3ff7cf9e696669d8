import json
import shutil
from pathlib import Path

import pytest

from cosmos.run.directory import RunDir
from cosmos.tracking.note import MirrorNote


def test_a_run_keeps_its_id(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "cc3m")
    note = MirrorNote.of(run)
    note.write(run)
    assert MirrorNote.of(run) == note
    assert note.id.startswith("cc3m-")


def test_a_copied_run_gets_an_id_of_its_own(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "cc3m")
    MirrorNote.of(run).write(run)
    shutil.copytree(run.path, tmp_path / "cc3m-again")
    assert MirrorNote.of(RunDir(tmp_path / "cc3m-again")).id.startswith("cc3m-again-")


@pytest.mark.parametrize("text", ["{", "[]", '{"id": 3}', '{"identity": "x"}'])
def test_a_damaged_note_is_begun_again(tmp_path: Path, text: str) -> None:
    run = RunDir(tmp_path / "cc3m")
    run.path.mkdir()
    run.wandb.write_text(text)
    assert MirrorNote.of(run).step == -1


def test_others_find_the_address_in_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "cc3m")
    MirrorNote("cc3m-12345678", "online", "https://wandb.ai/a/b/runs/cc3m-12345678", 40).write(run)
    assert json.loads(run.wandb.read_text())["url"] == "https://wandb.ai/a/b/runs/cc3m-12345678"
