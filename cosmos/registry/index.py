"""All runs of a folder, quickly: what has not changed since it was last listed is not read again.

What was read is kept in an SQLite file that is only ever read or replaced as a whole: no locks, which shared
file systems may lack, and two commands at once do not meet. Anyone may delete it at any time.

A run is taken to have changed when its folder has, or a file or folder in it that its record is read from. Of
results, the folder's time is enough: they are always written whole, and then take their names in it. The
heartbeat is felt anew each time.
"""

import json
import math
import os
import shutil
import sqlite3
import sys
import time
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cosmos.registry import record as run_records
from cosmos.registry.record import RunRecord, Scalar, is_run, read_record, seconds_silent
from cosmos.run import metrics, results
from cosmos.run.directory import RunDir
from cosmos.run.files import replacing

INDEX = ".index.sqlite"

LEASE = RunDir(Path()).lease.name

UNSETTLED = 2.0
"""Seconds after a change within which another one may leave the same times: what is younger is not kept."""

MANY = 500
"""Runs to read from which on a bar shows how far it is."""

TABLES = """
CREATE TABLE IF NOT EXISTS bases (id INTEGER PRIMARY KEY, keys TEXT UNIQUE, params TEXT);
CREATE TABLE IF NOT EXISTS figures (id INTEGER PRIMARY KEY, keys TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS runs (
    name BLOB PRIMARY KEY, stamp TEXT, watched TEXT, head TEXT,
    base INTEGER, changes TEXT, figures INTEGER, metrics BLOB
);
"""
"""Parameters are kept as changes from those of another run with the same keys: that is little to read."""

HEAD = (
    "at_rest", "started", "group", "job_type", "tags", "trial", "trial_seed", "commit", "job", "problem"
)  # fmt: skip
"""Fields of a record that are kept as they are."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A run as it was when it was last read."""

    stamp: str
    watched: tuple[str, ...]
    record: RunRecord


def list_runs(root: Path) -> list[RunRecord]:
    """The records of all runs below `root`, by name; what was read is kept there, where that can be."""
    known = read_index(root / INDEX)
    found = dict(survey(root, known))
    read = dict(read_entries(root, [name for name, entry in found.items() if entry is None]))
    settled = {name: entry for name, entry in read.items() if is_settled(entry)}
    gone = known.keys() - found.keys()
    if settled or gone:
        with suppress(OSError, sqlite3.Error):
            write_index(root / INDEX, settled, gone, is_new=not known)
    entries = ((name, entry or read.get(name)) for name, entry in sorted(found.items()))
    return [felt(entry.record, f"{root}/{name}") for name, entry in entries if entry]


def run_names(root: Path) -> list[str]:
    """The names of all runs below `root`, in order; none of them is read."""
    return sorted(name for name, _ in survey(root, {}))


def felt(record: RunRecord, path: str) -> RunRecord:
    """A record with the heartbeat as it is now, where that says anything."""
    return record if record.is_over else record.silent(seconds_silent(f"{path}/{LEASE}"))


def survey(root: Path, known: Mapping[str, Entry]) -> Iterator[tuple[str, Entry | None]]:
    """The runs in `root`, and in the folders there that are none, with what is known of them as they are."""

    def look(name: str) -> Iterator[tuple[str, Entry | None]]:
        path, entry = f"{root}/{name}", known.get(name)
        if entry and stamp(path, entry.watched) == entry.stamp:
            yield name, entry
        elif is_run(path):
            yield name, None

    for name in names_in(f"{root}"):
        run = list(look(name))
        yield from run or (one for child in names_in(f"{root}/{name}") for one in look(f"{name}/{child}"))


def names_in(path: str) -> list[str]:
    """What is not hidden in a folder; [] where it is none, is gone or may not be read."""
    try:
        return [name for name in os.listdir(path) if not name.startswith(".")]  # noqa: PTH208 - names do
    except OSError:
        return []


def stamp(path: str, watched: Iterable[str]) -> str:
    """When a run's folder and what is watched in it last changed, and the sizes of these."""
    return " ".join([moment(path), *(moment(f"{path}/{name}") for name in watched)])


def moment(path: str) -> str:
    """When a file or folder last changed, and its size; - where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the time of pathlib's
    except (OSError, ValueError):
        return "-"
    return f"{found.st_mtime_ns}:{found.st_size}"


def read_entries(root: Path, names: Sequence[str]) -> Iterator[tuple[str, Entry]]:
    """Reads runs, without those that went away meanwhile."""
    for name in noted(names):
        entry = read_entry(f"{root}/{name}", name)
        if is_run(f"{root}/{name}"):
            yield name, entry


def noted(names: Sequence[str]) -> Iterable[str]:
    """Runs to read, of which a bar tells on a terminal where they are many."""
    if len(names) < MANY or not sys.stderr.isatty():
        return names
    from rich.console import Console
    from rich.progress import track

    return track(names, "reading runs", console=Console(stderr=True), transient=True)


def read_entry(path: str, name: str) -> Entry:
    """Reads a run. The stamp is older than what was read: a change in between shows next time."""
    run = RunDir(Path(path))
    watched = tuple(watchable(run))
    before = stamp(path, watched)
    return Entry(before, watched, read_record(run, name))


def watchable(run: RunDir) -> Iterator[str]:
    """What a record is read from, as far as it is there: what appears later changes the folder's time."""
    files = (run.params, run.metrics, run.labels, run.trial, run.provenance, run.job)
    folders = (run.checkpoints, run.path / "results")
    yield from (path.name for path in (*files, *folders) if moment(str(path)) != "-")
    with suppress(Exception):  # no record of a job, or a damaged one
        token = json.loads(run.job.read_text(encoding="utf-8"))["token"]
        if token.isalnum():
            yield from (f"{run.jobs.name}/{token}", f"{run.jobs.name}/{token}/attempts-0.jsonl")


def is_settled(entry: Entry) -> bool:
    """Whether a change from now on would show in the times of a run's files."""
    moments = (float(part.partition(":")[0]) for part in entry.stamp.split() if part != "-")
    return max(moments, default=math.inf) < (time.time() - UNSETTLED) * 1e9


@cache
def version() -> int:
    """Differs once records are made by other code: then nothing that was kept is of use."""
    modules = (__file__, *(str(one.__file__) for one in (run_records, results, metrics)))
    code = (Path(module).read_bytes() for module in modules)
    return zlib.crc32(b"".join(code)) >> 1


def read_index(path: Path) -> dict[str, Entry]:
    """What is kept, by name; nothing where there is no index, or one that is damaged or of other code."""
    if not path.is_file():
        return {}
    try:
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as database:
            if database.execute("PRAGMA user_version").fetchone() != (version(),):
                return {}
            bases = dict(database.execute("SELECT id, params FROM bases"))
            figures = dict(database.execute("SELECT id, keys FROM figures"))
            rows = database.execute("SELECT * FROM runs").fetchall()
        return decoded(rows, parsed(bases), parsed(figures))
    except (sqlite3.Error, OSError, ValueError, KeyError, TypeError):
        return {}


def parsed(texts: Mapping[int, str]) -> dict[int, Any]:
    """JSON by number."""
    return {number: json.loads(text) for number, text in texts.items()}


def decoded(
    rows: list[tuple[Any, ...]], bases: Mapping[int, dict[str, Scalar]], figures: Mapping[int, list[str]]
) -> dict[str, Entry]:
    """Entries of rows. JSON is parsed in one go: ten thousand calls would cost more than the parsing."""
    heads, changes = (json.loads(f"[{','.join(row[column] for row in rows)}]") for column in (3, 5))
    entries = {}
    for row, head, changed in zip(rows, heads, changes, strict=True):
        encoded_name, before, watched, _, base, _, keys, values = row
        fields = dict(zip(HEAD, head, strict=True))
        fields["tags"] = tuple(fields["tags"])
        params, metrics = (
            {**bases[base], **changed},
            dict(zip(figures[keys], array("d", values), strict=True)),
        )
        name = os.fsdecode(encoded_name)
        record = RunRecord(name=name, **fields, params=params, metrics=metrics)
        entries[name] = Entry(before, tuple(watched.split("\n")) if watched else (), record)
    return entries


def write_index(path: Path, kept: Mapping[str, Entry], gone: Iterable[str], is_new: bool) -> None:
    """Replaces the index by one with these entries, and without those that are gone."""
    with replacing(path) as temporary:
        if not is_new:
            shutil.copyfile(path, temporary)
        with closing(sqlite3.connect(temporary)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute(f"PRAGMA user_version = {version()}")
            database.executescript(TABLES)
            database.executemany("DELETE FROM runs WHERE name = ?", [(os.fsencode(name),) for name in gone])
            database.executemany(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [encoded(name, entry, database) for name, entry in kept.items()],
            )
            database.commit()


def encoded(name: str, entry: Entry, database: sqlite3.Connection) -> tuple[Any, ...]:
    """The row of an entry."""
    record = entry.record
    base, params = base_of(record.params, database)
    return (
        os.fsencode(name),  # names of folders need not be text
        entry.stamp,
        "\n".join(entry.watched),
        json.dumps([getattr(record, key) for key in HEAD]),
        base,
        json.dumps({key: value for key, value in record.params.items() if not is_same(value, params[key])}),
        figures_of(record.metrics, database),
        array("d", record.metrics.values()).tobytes(),
    )


def base_of(params: Mapping[str, Scalar], database: sqlite3.Connection) -> tuple[int, dict[str, Scalar]]:
    """Number and values of the parameters that others with these keys are kept as changes from."""
    keys = json.dumps(list(params))
    database.execute("INSERT OR IGNORE INTO bases (keys, params) VALUES (?, ?)", (keys, json.dumps(params)))
    number, text = database.execute("SELECT id, params FROM bases WHERE keys = ?", (keys,)).fetchone()
    return number, json.loads(text)


def figures_of(metrics: Mapping[str, float], database: sqlite3.Connection) -> int:
    """The number under which the names of these figures are kept."""
    keys = json.dumps(list(metrics))
    database.execute("INSERT OR IGNORE INTO figures (keys) VALUES (?)", (keys,))
    number: int = database.execute("SELECT id FROM figures WHERE keys = ?", (keys,)).fetchone()[0]
    return number


def is_same(one: Scalar, other: Scalar) -> bool:
    """Whether two values are the same one: 1, 1.0 and true are three."""
    return type(one) is type(other) and one == other
