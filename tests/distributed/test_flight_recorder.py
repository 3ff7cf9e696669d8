"""Variables of NCCL's Flight Recorder."""

import os
from pathlib import Path

import pytest

from cosmos.distributed.flight_recorder import BUFFER_SIZES, DUMP_FILES, ON_TIMEOUT, record_flights


def test_the_recorder_dumps_into_the_run_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*BUFFER_SIZES, *DUMP_FILES, *ON_TIMEOUT):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("TORCH_NCCL_TRACE_BUFFER_SIZE", "7")
    record_flights(tmp_path)
    assert "TORCH_FR_BUFFER_SIZE" not in os.environ
    assert os.environ["TORCH_FR_DUMP_TEMP_FILE"] == f"{tmp_path}/nccl-trace-"
    assert os.environ["TORCH_NCCL_DUMP_ON_TIMEOUT"] == "1"
