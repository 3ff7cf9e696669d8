"""Exports, pages and reports on a disk that is full: the file is named, and what was there stays."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cosmos.compare.commands import write_comparison
from cosmos.config.machine import Machine
from cosmos.errors import TransientError
from cosmos.registry.commands import RunQuery, export_runs
from cosmos.registry.index import INDEX_FILE, list_runs
from tests.disks import small_disk
from tests.registry.run_files import make_run

WRITERS: dict[str, Callable[[Path, Machine], object]] = {
    "runs.csv": lambda file, machine: export_runs(file, RunQuery(), machine, quiet=True),
    "runs.parquet": lambda file, machine: export_runs(file, RunQuery(), machine, quiet=True),
    "page.html": lambda file, machine: write_comparison(["mine"], machine, file, lambda *_: [], quiet=True),
}


def fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@pytest.mark.parametrize("name", WRITERS)
def test_the_file_is_named_and_what_was_there_stays(tmp_path: Path, name: str) -> None:
    make_run(tmp_path / "runs" / "mine")
    with small_disk(tmp_path / "small", "size=64k"):
        file = tmp_path / "small" / name
        file.write_text("before")
        fill(file.parent)
        with pytest.raises(TransientError, match=f"^{file}: .*No space left on device"):
            WRITERS[name](file, Machine(runs_root=tmp_path / "runs"))
        assert file.read_text() == "before"
        assert {path.name for path in file.parent.iterdir()} == {name, "filler"}


def test_runs_on_a_full_disk_are_listed_without_an_index(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "size=256k"):
        make_run(tmp_path / "small" / "mine")
        fill(tmp_path / "small")
        assert [record.name for record in list_runs(tmp_path / "small")] == ["mine"]
        assert not (tmp_path / "small" / INDEX_FILE).exists()
