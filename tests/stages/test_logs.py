import logging
import os
from pathlib import Path

import pytest

from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.stages.logs import open_log
from tests.disks import small_disk


def test_a_pipe_in_the_place_of_a_log_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.txt")
    with pytest.raises(InputError, match=r"log\.txt: a pipe or a socket, not a file"):
        open_log(RunDir(tmp_path))


def test_a_log_on_a_full_disk_stops_nothing_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "size=64k"):
        handler = open_log(RunDir(tmp_path / "disk" / "run"))
        for _ in range(200):
            handler.emit(logging.makeLogRecord({"msg": "a line " * 100}))
        (tmp_path / "disk" / "run" / "other").touch()
        handler.close()
    said = capsys.readouterr().err
    assert said.startswith(
        f"{tmp_path}/disk/run/log.txt: lines are missing from here: No space left on device"
    )
    assert said.count("\n") == 1
