import errno
import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmos.config.machine import Machine
from cosmos.errors import InputError, TransientError
from cosmos.launch.outcome import CallFiles
from cosmos.registry import index as run_index
from cosmos.registry.index import INDEX_FILE, list_runs, run_names
from cosmos.registry.jobs import JobQuery, query_jobs
from cosmos.registry.record import RunRecord, read_run_record
from cosmos.run.directory import RunDir, job_records
from cosmos.run.labels import RunLabels
from cosmos.run.sweep_directory import sweeps_of_name
from tests.registry.run_files import (
    fail_job,
    fall_silent,
    live,
    make_run,
    measure,
    provenance,
    remove,
    settle,
    start_job,
    submit,
    take_part,
    train_to,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs, and two in a folder, as they were long ago."""
    for name in ("one", "two", "sweep/trial-0000", "sweep/trial-0001"):
        make_run(tmp_path / name, epochs=2.0)
    settle(tmp_path)
    return tmp_path


def names(root: Path) -> list[str]:
    return [record.name for record in list_runs(root)]


def numbers_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """List runs, and return the number of those whose files were read."""
    read = list[str]()

    def noting(run: RunDir, name: str) -> RunRecord:
        read.append(name)
        return read_run_record(run, name)

    monkeypatch.setattr(run_index, "read_run_record", noting)
    list_runs(root)
    return len(read)


def test_runs_and_those_in_folders_are_listed_by_name(root: Path) -> None:
    (root / "sweep" / "sweep.yaml").touch()
    (root / ".hidden").mkdir()
    make_run(root / ".trash" / "three")
    (root / "evaluated" / "results").mkdir(parents=True)
    (root / "loop").symlink_to("loop")
    assert names(root) == ["one", "sweep/trial-0000", "sweep/trial-0001", "two"]


def test_a_folder_of_runs_that_is_empty_or_missing_has_none(tmp_path: Path) -> None:
    assert list_runs(tmp_path) == list_runs(tmp_path / "missing") == []
    assert not (tmp_path / "missing").exists()
    assert not (tmp_path / INDEX_FILE).exists()


def test_what_has_not_changed_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list_runs(root)
    assert numbers_read(root, monkeypatch) == 0
    assert list_runs(root) == before
    measure(RunDir(root / "two"), 0.5)
    assert numbers_read(root, monkeypatch) == 1


def test_what_has_just_changed_may_change_again_unnoticed_and_is_not_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_runs(root)
    train_to(RunDir(root / "two"), 2.2)
    assert [numbers_read(root, monkeypatch) for _ in range(2)] == [1, 1]
    settle(root / "two")
    assert [numbers_read(root, monkeypatch) for _ in range(2)] == [1, 0]


def test_an_index_that_was_deleted_costs_only_time(root: Path) -> None:
    before = list_runs(root)
    (root / INDEX_FILE).unlink()
    assert list_runs(root) == before
    assert (root / INDEX_FILE).is_file()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def altered(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = json.loads(gzip.decompress(path.read_bytes()))
    change(index)
    path.write_bytes(gzip.compress(json.dumps(index).encode()))


def of_other_code(path: Path) -> None:
    altered(path, lambda index: index.update(version=7, entries=[]))


def of_other_fields(path: Path) -> None:
    altered(path, lambda index: index["entries"][0][2].update(mood="good"))


def of_other_values(path: Path) -> None:
    altered(path, lambda index: index.update(entries=[[1, 2]]))


def of_other_types(path: Path) -> None:
    altered(path, lambda index: index["entries"][0][2].update(metrics=["loss"], params=3, tags="a"))


def of_great_size(path: Path) -> None:
    path.write_bytes(gzip.compress(b" " * run_index.MAX_INDEX_BYTES + path.read_bytes()))


def of_other_form(path: Path) -> None:
    path.write_bytes(gzip.compress(b"[]"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no index"),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(gzip.compress(b"[" * 100_000)),
        cut,
        of_other_code,
        of_other_fields,
        of_other_values,
        of_other_types,
        of_great_size,
        of_other_form,
    ],
)
def test_an_index_that_is_damaged_or_of_other_code_is_made_anew(
    root: Path, spoil: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "MAX_INDEX_BYTES", 1 << 20)
    before = list_runs(root)
    spoil(root / INDEX_FILE)
    assert list_runs(root) == before
    assert numbers_read(root, monkeypatch) == 0


def test_where_no_index_can_be_written_runs_are_listed_all_the_same(root: Path) -> None:
    (root / INDEX_FILE).mkdir()
    assert len(list_runs(root)) == 4
    assert sorted(path.name for path in root.iterdir()) == [INDEX_FILE, "one", "sweep", "two"]


def test_what_could_not_be_read_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(run: RunDir, name: str) -> RunRecord:
        return replace(read_run_record(run, name), problem="Permission denied" if name == "two" else "")

    monkeypatch.setattr(run_index, "read_run_record", failing)
    assert list_runs(root)[-1].problem == "Permission denied"
    assert numbers_read(root, monkeypatch) == 1
    assert numbers_read(root, monkeypatch) == 0
    assert list_runs(root)[-1].problem == ""


def test_a_run_that_is_deleted_while_it_is_read_is_not_listed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losing(run: RunDir, name: str) -> RunRecord:
        if name == "two":
            remove(run)
        return read_run_record(run, name)

    monkeypatch.setattr(run_index, "read_run_record", losing)
    assert names(root) == ["one", "sweep/trial-0000", "sweep/trial-0001"]
    remove(RunDir(root / "one"))
    assert names(root) == ["sweep/trial-0000", "sweep/trial-0001"]


def test_what_changes_while_it_is_read_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def racing(run: RunDir, name: str) -> RunRecord:
        record = read_run_record(run, name)
        if name == "two":
            RunLabels(tags=("late",)).write(run)
            settle(run.path)
        return record

    monkeypatch.setattr(run_index, "read_run_record", racing)
    list_runs(root)
    monkeypatch.setattr(run_index, "read_run_record", read_run_record)
    assert list_runs(root)[-1].tags == ("late",)


def test_the_heart_is_felt_each_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(root / "two")
    live(run)
    settle(root)
    assert list_runs(root)[-1].status == "running"
    fall_silent(run, 100)
    assert numbers_read(root, monkeypatch) == 0
    assert list_runs(root)[-1].status == "stopped"


def test_folders_whose_names_are_no_text_are_runs_as_well_and_read_each_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = os.fsdecode(b"caf\xe9")
    make_run(root / name)
    settle(root)
    assert name in names(root)
    assert numbers_read(root, monkeypatch) == 1
    assert name in names(root)


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["a", "b.c", "é", "d"]), values),
            st.dictionaries(
                st.sampled_from(["loss", "step", "x/y"]), st.floats(allow_nan=False, allow_infinity=False)
            ),
            st.lists(st.text(max_size=3)),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_records_come_back_as_they_were_to_the_type(parts: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / INDEX_FILE
        entries = {
            f"run-{number}": run_index.IndexEntry(
                "1:2",
                ("metrics.jsonl",),
                RunRecord(f"run-{number}", tags=tuple(tags), params=params, metrics=metrics, trial=number),
            )
            for number, (params, metrics, tags) in enumerate(parts)
        }
        run_index.write_index(path, entries.values())
        restored = run_index.read_index(path)
        assert restored == entries
        assert repr(restored) == repr(entries)


def when_there(change: Callable[[RunDir], object]) -> Callable[[RunDir], object]:
    """Return a change that leaves out runs that are gone."""
    return lambda run: change(run) if run.params.exists() else None


def half_a_line(run: RunDir) -> None:
    with run.metrics.open("a") as file:
        file.write('{"step": 99, "loss": ')


def edited(run: RunDir) -> None:
    """Write labels as a person does: into the file that is there."""
    run.labels.write_text(json.dumps({"tags": [f"edited{run.labels.exists()}"]}))


def results_edited(run: RunDir) -> None:
    """Write results as a person does: into the file that is there, which then has another size."""
    file = run.result_file("retrieval")
    if file.exists():
        file.write_text(file.read_text().replace("0.5", "0.25"))


def job(run: RunDir) -> None:
    """Submit, start, fail or restart a run's job, whichever comes next."""
    if not run.job.exists():
        submit(run)
        return
    files = CallFiles(run.jobs / "1a2b3c4d", 0)
    requeues = len(files.attempts())
    if requeues == 1 and files.first_failure() is None:
        fail_job(files)
    else:
        start_job(files, requeues)


CHANGES: dict[str, Callable[[RunDir], object]] = {
    "begins": lambda run: make_run(run.path, epochs=1.0),
    "goes on": when_there(lambda run: train_to(run, 2.0, loss=1.5)),
    "finishes": when_there(lambda run: train_to(run, 3.0, loss=1.0)),
    "loses its checkpoint": lambda run: run.checkpoint(15).unlink(missing_ok=True),
    "is measured": when_there(lambda run: measure(run, 0.5)),
    "has its results edited": when_there(results_edited),
    "is labelled": when_there(lambda run: RunLabels("group", "pretrain", ("tag",)).write(run)),
    "is edited": when_there(edited),
    "is pruned": when_there(lambda run: take_part(run, "pruned")),
    "is taken": when_there(live),
    "breaks off": when_there(half_a_line),
    "loses its metrics": lambda run: run.metrics.unlink(missing_ok=True),
    "begins anew": when_there(lambda run: provenance(run, "2026-07-21T10:00:00+00:00")),
    "has a job": when_there(job),
    "is damaged": when_there(lambda run: run.trial.write_bytes(b"{")),
    "is deleted": when_there(remove),
    "is renamed": lambda run: run.path.exists() and run.path.rename(run.path.with_name("renamed")),
}


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(["one", "two", "sweep/trial-0000"]), st.sampled_from(list(CHANGES))),
        max_size=8,
    ),
    st.sampled_from(["", "deleted", "damaged"]),
)
def test_with_the_index_the_answer_is_always_the_one_without(
    changes: list[tuple[str, str]], fate: str
) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        make_run(root / "one", epochs=1.0)
        (root / "sweep").mkdir()
        for name, change in changes:
            try:
                CHANGES[change](RunDir(root / name))
            except OSError:  # renamed to where a run is, ...
                continue
            assert_same(root)
            settle(root)
            assert_same(root)
            assert_same(root)
        if fate == "deleted":
            (root / INDEX_FILE).unlink(missing_ok=True)
        if fate == "damaged":
            (root / INDEX_FILE).write_bytes(b"\x1f\x8b")
        assert_same(root)


def assert_same(root: Path) -> None:
    runs = {path.parent for glob in ("*/params.yaml", "*/*/params.yaml") for path in root.glob(glob)}
    expected = [read_run_record(RunDir(path), str(path.relative_to(root))) for path in runs]
    listed = list_runs(root)
    assert [seen(record) for record in listed] == sorted(map(seen, expected))


def seen(record: RunRecord) -> tuple[Any, ...]:
    """Return everything that a person sees of a record."""
    return (record.name, record.status, repr(record.with_silence(0.0)))


def test_a_folder_of_runs_that_cannot_be_listed_does_not_seem_to_be_empty(tmp_path: Path) -> None:
    runs_root = tmp_path / "runs"
    looks: list[Callable[[], object]] = [
        lambda: list_runs(runs_root),
        lambda: job_records(runs_root),
        lambda: sweeps_of_name("", runs_root),
    ]
    assert [look() for look in looks] == [[], [], []]
    runs_root.symlink_to("runs")  # leads to itself
    for look in looks:
        with pytest.raises(InputError, match=r"runs: cannot be listed \(Too many levels of symbolic links\)"):
            look()


def fail_to_list(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the listing of a folder raise an error of the operating system."""
    listdir = os.listdir

    def fail(path: Any) -> list[str]:
        if Path(path) == folder:
            raise OSError(number, os.strerror(number), str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", fail)


def test_a_folder_in_it_that_cannot_be_listed_is_named_in_a_line_of_the_list(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_runs(root)
    (root / "private").mkdir()
    fail_to_list(root / "private", errno.EACCES, monkeypatch)
    for _ in range(2):
        records = {record.name: record.problem for record in list_runs(root)}
        assert "private: cannot be listed (Permission denied)" in records.pop("private")
        assert set(records.values()) == {""}
    assert "private" not in run_index.read_index(root / INDEX_FILE)


@pytest.mark.parametrize(
    "look", [list_runs, run_names, lambda root: query_jobs(JobQuery(), Machine(runs_root=root))]
)
def test_runs_in_a_folder_that_a_failing_disk_does_not_list_are_not_left_out(
    look: Callable[[Path], object], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_list(root / "sweep", errno.EIO, monkeypatch)
    with pytest.raises(TransientError, match=r"sweep: cannot be listed \(Input/output error\)"):
        look(root)
