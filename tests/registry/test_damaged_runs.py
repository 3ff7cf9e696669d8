"""Each file of a run cut, emptied, flipped, in another encoding, and with other types at each key."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmos.compare.comparison import compare_named
from cosmos.compare.page import render_comparison
from cosmos.config.disk_reading import IrregularFileError
from cosmos.config.machine import Machine
from cosmos.errors import CosmosError
from cosmos.registry.commands import RunQuery, print_best_runs, print_run, print_runs
from cosmos.registry.job_table import list_jobs
from cosmos.registry.jobs import JobQuery
from cosmos.registry.record import read_run_record
from cosmos.report import page
from cosmos.run.dataset_version import RecordedVersion
from cosmos.run.directory import RunDir, load_saved_params, open_run
from cosmos.run.metrics import MetricsWriter
from cosmos.run.model_card import ModelCard
from cosmos.tracking.description import RunDescription
from cosmos.tracking.note import MirrorNote
from tests.registry.run_files import live, make_run, measure, start_job, submit, take_part, train_to

JSON_FILES = (
    "provenance.json", "labels.json", "trial.json", "job.json", "results/retrieval.json", "wandb.json",
    "writer.json", "card.json", "jobs/1a2b3c4d/attempts-0.jsonl",
)  # fmt: skip
LISTED = JSON_FILES[:5]
"""Files whose damage a list names."""
LINES = "metrics.jsonl"
FILES = (*JSON_FILES, LINES, "params.yaml")

OTHER_VALUES: tuple[Any, ...] = (None, True, -1, 1e308, 10**30, "\0\x1b[/x]", [None], {"a": {"b": None}})


def whole_run(root: Path) -> RunDir:
    run = make_run(root / "runs" / "mine", epochs=2.0, tags=("ema",))
    take_part(run, "finished", loss=1.0)
    measure(run, 0.25)
    start_job(submit(run))
    live(run)
    MirrorNote.of(run).write(run)
    ModelCard("mine", "step-00000010.pt", "0" * 64).write(run.path)
    train_to(run, 2.2)
    return run


def use(run: RunDir) -> str:
    """Call whatever reads a run for people, and return the problem that a list shows."""
    machine = Machine(runs_root=run.path.parent)
    listed = print_runs(RunQuery(), "name", 0, machine, quiet=False)
    assert [row["name"] for row in listed] == ["mine"]
    print_run("mine", machine, quiet=False)
    with suppress(CosmosError):  # no run may have the metric any more
        print_best_runs("loss", RunQuery(), 0, False, machine, quiet=False)
    assert len(list_jobs(JobQuery(), 0, machine, quiet=False)) == run.job.exists()
    render_comparison(compare_named(["mine"], machine), ["mine"], {})
    return str(listed[0].get("problem", ""))


def resume(run: RunDir) -> None:
    """Call whatever a resume and its mirror read, each of which may refuse a damaged file in a line."""
    ModelCard.read(run.path)
    MirrorNote.of(run)
    reads: list[Callable[[], object]] = [
        lambda: MetricsWriter(run.metrics, 99),
        lambda: RunDescription.of(run),
        lambda: RecordedVersion.of(run),
        lambda: open_run(run.path, load_saved_params(run)),
    ]
    for read in reads:
        with suppress(CosmosError, IsADirectoryError, IrregularFileError):
            read()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a tree of JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """Return a tree of JSON with another value at a path."""
    if not path:
        return other
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], other)
    return changed


@pytest.fixture(autouse=True)
def _quick_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave four megabytes out of each page, and ask no Slurm about jobs."""
    monkeypatch.setattr(page, "plotly_library", lambda: "")
    monkeypatch.setenv("PATH", "")


@pytest.mark.parametrize("name", [name for name in JSON_FILES if not name.endswith("jsonl")])
def test_no_type_at_any_key_ends_a_list(tmp_path: Path, name: str) -> None:
    run = whole_run(tmp_path)
    file = run.path / name
    content = json.loads(file.read_text())
    others = cycle(OTHER_VALUES)
    for path in places(content):
        for other in islice(others, 2):
            file.write_text(json.dumps(replaced(content, path, other)))
            if name in LISTED:
                use(run)
            resume(run)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "of other encoding": lambda content: content.decode().encode("utf-16"),
    "of zeros": lambda content: bytes(len(content)),
    "nested deep": lambda content: b'{"a":' * 50_000,
    "of a long number": lambda content: b'{"data": ' + b"9" * 6000 + b"}",
    "null": lambda content: b"null",
    "a list": lambda content: b"[]",
    "binary": lambda content: bytes(range(256)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_a_line_that_names_it(tmp_path: Path, name: str) -> None:
    run = whole_run(tmp_path)
    file = run.path / name
    content = file.read_bytes()
    for kind, damage in DAMAGES.items():
        file.write_bytes(damage(content) + b"\n")
        problem = use(run)
        resume(run)
        if name in LISTED or (name == LINES and kind not in ("emptied", "cut", "of a long number")):
            assert str(file) in problem or not file.exists(), kind
            assert "\n" not in problem, kind


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_is_a_line_that_names_it(tmp_path: Path, name: str) -> None:
    run = whole_run(tmp_path)
    (run.path / name).unlink()
    (run.path / name).mkdir()
    if name != "params.yaml":  # which makes it a run
        problem = use(run)
        assert str(run.path / name) in problem or name not in (*LISTED, LINES)


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("jobs/")])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    run = whole_run(tmp_path)
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    if name != "params.yaml":  # which makes it a run
        problem = use(run)
        assert str(run.path / name) in problem or name not in (*LISTED, LINES)
        resume(run)


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(FILES), data=st.data())
def test_no_flipped_byte_ends_a_list(name: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        run = whole_run(Path(folder))
        content = bytearray((run.path / name).read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        (run.path / name).write_bytes(content)
        use(run)
        resume(run)


def test_a_whole_run_has_no_problem(tmp_path: Path) -> None:
    assert use(whole_run(tmp_path)) == ""
    assert read_run_record(RunDir(tmp_path / "runs" / "mine"), "mine").problem == ""
