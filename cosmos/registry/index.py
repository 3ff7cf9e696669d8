"""Index of all runs in a folder: a run that has not changed since it was last listed is not read again.

The index is a JSON file that is read and replaced as a whole: it needs no locks, which shared file systems
may lack, and two commands at once do not disturb each other. Anyone may delete it at any time.

A run counts as changed when the time or size of its folder has changed, or that of a file or folder in it
from which its record is read. The heartbeat is read anew each time.
"""

import gzip
import json
import math
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cosmos.config import figures, identity, settings_file
from cosmos.config.disk_reading import is_broken_link, list_names, open_regular, path_status
from cosmos.config.printable_text import error_stream
from cosmos.errors import CosmosError, InputError
from cosmos.registry import record as run_records
from cosmos.registry.record import RunRecord, is_run_directory, read_run_record
from cosmos.run import directory, labels, metrics, provenance_record, records, results
from cosmos.run.directory import RunDir
from cosmos.run.files import replacing
from cosmos.run.lease import seconds_silent
from cosmos.run.records import parse_record

INDEX_FILE = ".index.json.gz"

LEASE_FILE = RunDir(Path()).lease.name

MIN_AGE_SECONDS = 2.0
"""Age of a change from which on a further one shows in file times; younger records are not kept."""

MAX_INDEX_BYTES = 1 << 30
"""Size, when decompressed, up to which an index is read: 10,000 runs have 30 MB."""

MIN_RUNS_WITH_BAR = 500
"""Number of runs to read from which on a progress bar is shown."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Record of a run, with the state of its files before they were read."""

    stamp: str
    """times and sizes of the folder and of `watched`"""
    watched: tuple[str, ...]
    """paths, within the run's folder, from which the record was read"""
    record: RunRecord


@dataclass(frozen=True, slots=True)
class IndexContent:
    """Content of an index's file."""

    version: int
    entries: list[tuple[str, tuple[str, ...], RunRecord]]
    """fields of each entry"""


def list_runs(root: Path) -> list[RunRecord]:
    """Return the records of all runs below `root`, by name; update the index there if it can be written."""
    index = read_index(root / INDEX_FILE)
    current = dict(find_runs(root, index))
    entries = {name: entry for name, entry in current.items() if entry}
    unchanged = entries.keys() & index.keys()
    entries |= read_entries(root, [name for name in current if name not in entries])
    kept = {name: entry for name, entry in entries.items() if name in unchanged or is_to_keep(entry)}
    if kept != index:
        with suppress(OSError):
            write_index(root / INDEX_FILE, kept.values())
    return [with_heartbeat(entries[name].record, f"{root}/{name}") for name in sorted(entries)]


def run_names(root: Path) -> list[str]:
    """Return the names of all runs below `root`, in order, without reading any."""
    return sorted(name for name, _ in find_runs(root, {}))


def with_heartbeat(record: RunRecord, path: str) -> RunRecord:
    """Return a record with the present heartbeat of its run, unless the run has ended."""
    return record if record.is_over else record.with_silence(seconds_silent(f"{path}/{LEASE_FILE}"))


def find_runs(root: Path, index: Mapping[str, IndexEntry]) -> Iterator[tuple[str, IndexEntry | None]]:
    """Yield the name of each run in `root` and in the folders there, with its entry if that is up to date.

    A folder that this user may not list has an entry that says so. Raises as `list_folder` for `root`, and
    TransientError when a disk fails: the runs in a folder would be left out.
    """

    def check(name: str) -> Iterator[tuple[str, IndexEntry | None]]:
        path, entry = f"{root}/{name}", index.get(name)
        if entry and run_stamp(path, entry.watched) == entry.stamp:
            yield name, entry
        elif is_run_directory(path):
            yield name, None

    for name in list_names(root):
        run = list(check(name))
        yield from run
        try:
            children = [] if run or is_broken_link(root / name) else list_names(root / name)
        except InputError as error:
            yield name, IndexEntry("", (), RunRecord(name, problem=str(error)))
        else:
            for child in children:
                yield from check(f"{name}/{child}")


def run_stamp(path: str, watched: Iterable[str]) -> str:
    """Return the times of change and the sizes of a run's folder and of the watched paths in it."""
    return " ".join([path_stamp(path), *(path_stamp(f"{path}/{name}") for name in watched)])


def path_stamp(path: str) -> str:
    """Return `<time of change in ns>:<size>` of a path; `-` where nothing is there, or to be seen."""
    with suppress(PermissionError):
        if status := path_status(path):
            return f"{status.st_mtime_ns}:{status.st_size}"
    return "-"


def read_entries(root: Path, names: Sequence[str]) -> Iterator[tuple[str, IndexEntry]]:
    """Read runs, and yield their entries by name, without those that were deleted meanwhile."""
    for name in with_progress_bar(names):
        entry = read_entry(f"{root}/{name}", name)
        if is_run_directory(f"{root}/{name}"):
            yield name, entry


def with_progress_bar(names: Sequence[str]) -> Iterable[str]:
    """Return names of runs to read, whose iteration shows a bar on a terminal where they are many."""
    if len(names) < MIN_RUNS_WITH_BAR or not sys.stderr.isatty():
        return names
    from rich.console import Console
    from rich.progress import track

    return track(names, "reading runs", console=Console(file=error_stream()), transient=True)


def read_entry(path: str, name: str) -> IndexEntry:
    """Read a run. The stamp is taken before, so that a change while it is read shows next time."""
    run = RunDir(Path(path))
    watched = tuple(watched_paths(run))
    stamp = run_stamp(path, watched)
    return IndexEntry(stamp, watched, read_run_record(run, name))


def watched_paths(run: RunDir) -> Iterator[str]:
    """Yield the existing paths from which a record is read; a new one changes the time of its folder."""
    files = (run.params, run.metrics, run.labels, run.trial, run.provenance, run.job)
    folders = (run.checkpoints, run.path / "results")
    yield from (path.name for path in (*files, *folders) if path_stamp(str(path)) != "-")
    with suppress(CosmosError):  # the record says so
        yield from (f"{path.parent.name}/{path.name}" for path in run.result_files)
    with suppress(Exception):  # no record of a job, or a damaged one
        with open_regular(run.job) as file:
            token = json.loads(file.read())["token"]
        if token.isalnum():
            yield from (f"{run.jobs.name}/{token}", f"{run.jobs.name}/{token}/attempts-0.jsonl")


def is_to_keep(entry: IndexEntry) -> bool:
    """Return True when whatever changes the record from now on would show in the times of a run's files.

    It would not for a file that could not be read: permission, or a disk that answers again, changes no time.
    A record with text that is no Unicode, such as a name of other bytes, is not kept, either.
    """
    if entry.record.problem or not is_encodable(entry):
        return False
    times = (float(stamp.partition(":")[0]) for stamp in entry.stamp.split() if stamp != "-")
    return max(times, default=math.inf) < (time.time() - MIN_AGE_SECONDS) * 1e9


def is_encodable(entry: IndexEntry) -> bool:
    """Return True where all text of an entry can be encoded in UTF-8."""
    try:
        json.dumps([entry.watched, kept_values(entry.record)], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@cache
def index_version() -> int:
    """Return a checksum of the code that makes records: an index of other code is not used."""
    readers = (
        run_records,
        results,
        metrics,
        labels,
        directory,
        identity,
        settings_file,
        figures,
        provenance_record,
        records,
    )
    files = (__file__, *(str(module.__file__) for module in readers))
    return zlib.crc32(b"".join(Path(file).read_bytes() for file in files))


def read_index(path: Path) -> dict[str, IndexEntry]:
    """Return the entries of an index by name; {} where it is missing, damaged or made by other code."""
    try:
        with open_regular(path) as compressed, gzip.open(compressed) as file:
            content = file.read(MAX_INDEX_BYTES)
        index = parse_record(content, IndexContent)
    except (OSError, EOFError, zlib.error, ValueError):
        return {}
    if index.version != index_version():
        return {}
    return {record.name: IndexEntry(stamp, watched, record) for stamp, watched, record in index.entries}


def write_index(path: Path, entries: Iterable[IndexEntry]) -> None:
    """Write an index with these entries, compressed to a tenth, since shared file systems may be slow."""
    rows = [[entry.stamp, entry.watched, kept_values(entry.record)] for entry in entries]
    text = json.dumps({"version": index_version(), "entries": rows}, separators=(",", ":"))
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode("ascii"), compresslevel=1))


def kept_values(record: RunRecord) -> dict[str, Any]:
    """Return the fields of a record without its heartbeat, which is read anew each time."""
    return {key: value for key, value in vars(record).items() if key != "seconds_silent"}
