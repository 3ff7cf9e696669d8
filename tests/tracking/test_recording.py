import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.tracking.recording import WandbRecording, split_records

WRITE = """
import sys, wandb
run = wandb.init(mode="offline", dir=sys.argv[1], id="a", settings=wandb.Settings(console="off", silent=True))
for i in range(300):
    run.log({"loss": i, "note": "x" * 500}, step=10 * i, commit=True)
run.finish()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording by W&B, of several blocks."""
    folder = tmp_path_factory.mktemp("recorded")
    subprocess.run([sys.executable, "-c", WRITE, str(folder)], check=True, capture_output=True)
    (file,) = folder.glob("wandb/offline-run-*/run-a.wandb")
    assert file.stat().st_size > 4 * 32768
    return file


def test_a_whole_recording_has_its_last_step_and_its_end(recorded: Path) -> None:
    assert WandbRecording.read(recorded) == WandbRecording(2990, has_end=True)


def test_a_file_that_is_not_there_or_empty_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert (
        WandbRecording.read(tmp_path / "empty")
        == WandbRecording.read(tmp_path / "none")
        == WandbRecording(-1, False)
    )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_recording_that_was_cut_is_read_up_to_there(share: float, recorded: Path, tmp_path: Path) -> None:
    data = recorded.read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(share * len(data))])
    recording = WandbRecording.read(tmp_path / "cut")
    assert 2990 * (share - 0.05) < recording.step < 2990 * (share + 0.05)
    assert not recording.has_end


def test_a_recording_is_read_up_to_a_record_that_is_damaged(recorded: Path, tmp_path: Path) -> None:
    data = bytearray(recorded.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40_000] = b"\xff\x01\x02" * 13_334
    (tmp_path / "damaged").write_bytes(data)
    recording = WandbRecording.read(tmp_path / "damaged")
    assert 0 < recording.step < 2990
    assert not recording.has_end


@given(st.binary(max_size=300))
def test_no_file_makes_it_fail(data: bytes) -> None:
    assert sum(map(len, split_records(data))) <= len(data)
