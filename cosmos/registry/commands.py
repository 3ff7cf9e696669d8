"""Commands `cosmos runs list|show|best|export`, answered from the directories of runs."""

import os
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos.config.disk_reading import is_dir, list_folder
from cosmos.config.figures import SAMPLES_LISTED, SAMPLES_USED, describe_missing_data, direction_of
from cosmos.config.machine import Machine
from cosmos.config.near_names import close_names
from cosmos.config.params import Params
from cosmos.config.printable_text import UNLIMITED_WIDTH, is_terminal, output_width, print_text, printable
from cosmos.errors import InputError
from cosmos.registry.index import list_runs, run_names
from cosmos.registry.query import (
    RUN_KEYS,
    RowValue,
    RunRow,
    all_keys,
    data_key,
    data_mark,
    data_version,
    mixed_figures,
    parse_conditions,
    resolve_key,
    run_row,
    sort_rows,
    value_text,
    with_shared_names,
)
from cosmos.registry.record import (
    RunRecord,
    find_run_dir,
    flatten_params,
    read_run_record,
)
from cosmos.registry.table import ABSENT, table_lines
from cosmos.run.directory import RunDir
from cosmos.run.provenance import read_sessions
from cosmos.run.records import TolerantReader
from cosmos.run.session_history import describe_sessions
from cosmos.tracking.curves import SUITES

if TYPE_CHECKING:
    from cosmos.registry.run_leads import RunRanking

RECALL = "image_to_text_R@1"
HELD_OUT_METRICS = (
    [f"retrieval/heldout/{model}/{RECALL}" for model in ("teacher", "student")],
    [f"evaluation/{model}/heldout/{RECALL}" for model in ("teacher", "student")],
)
"""Results, and evaluations while training: tables show the first of each that a run has."""

MIXED_NOTE = "@: figures of different data, which do not compare; `cosmos runs show RUN` has the hashes"

NOTE_COLUMNS = ("tags", "started", "breaches", "problem")
"""Last of the columns that a table shows unless others are asked for."""

KEPT_COLUMNS = 2
"""Number of columns that a table has in any terminal: name and status."""

MAX_TERMINAL_RUNS = 50
"""Largest number of runs that a terminal shows, unless more are asked for."""


@dataclass(frozen=True)
class RunQuery:
    """Conditions that select runs, and the keys to show of them."""

    where: Sequence[str] = ()
    """conditions, all of which must hold"""
    columns: Sequence[str] = ()
    """keys to show; empty: the usual ones"""


@dataclass(frozen=True)
class QueriedRuns:
    """Answer to a query: the rows that it selects from all records."""

    query: RunQuery
    records: Sequence[RunRecord]

    @cached_property
    def keys(self) -> list[str]:
        """All keys that a query may name."""
        return all_keys(self.records)

    def resolve(self, text: str) -> str:
        """Return the key that `text` means. InputError where it means several, or none."""
        return text if text in RUN_KEYS else resolve_key(text, self.keys)

    @cached_property
    def rows(self) -> list[RunRow]:
        """Selected rows, by name. InputError for a condition that is none."""
        conditions = parse_conditions(self.query.where, self.resolve)
        rows = map(run_row, self.records)
        return [row for row in rows if all(condition.holds(row) for condition in conditions)]

    @cached_property
    def columns(self) -> list[str]:
        """Keys of the columns that the query names. InputError for one that no run has."""
        return [self.resolve(key.strip()) for key in self.query.columns if key.strip()]

    def as_json(self, rows: Sequence[RunRow]) -> list[dict[str, RowValue]]:
        """Return rows as values of JSON: with the columns that the query names, or else with all keys.

        A named figure comes with the hash of its data.
        """
        if not self.columns:
            return [dict(row) for row in rows]
        columns = dict.fromkeys([*self.columns, *map(data_key, self.columns)])
        return [{key: row[key] for key in columns if key in row} for row in rows]

    def print_table(self, rows: Sequence[RunRow], columns: Sequence[str], sorted_by: str = "name") -> None:
        """Print rows as a table with the query's columns, or else those of `columns` that have room."""
        if not rows:
            print_text(f"none of {len(self.records)} runs matches")
            return
        shown, width = (self.columns, UNLIMITED_WIDTH) if self.columns else (columns, output_width())
        mixed = mixed_figures(rows, [*shown, sorted_by])
        lines = table_lines(rows, shown, width, KEPT_COLUMNS)
        print_text("\n".join([*lines, *([MIXED_NOTE] if mixed else [])]))


def query_runs(query: RunQuery, machine: Machine) -> QueriedRuns:
    """Return the answer to a query of this machine's runs. InputError where there are no runs at all."""
    records = with_shared_names(list_runs(machine.runs_root))
    if not records:
        raise InputError(no_runs_message(machine))
    return QueriedRuns(query, records)


def no_runs_message(machine: Machine) -> str:
    """Return the message that there are no runs, and what to do."""
    return (
        f"no runs in {machine.runs_root}: `cosmos pretrain --run NAME` makes one, "
        "COSMOS_RUNS_ROOT names another folder"
    )


def print_runs(
    query: RunQuery, sort: str, limit: int, machine: Machine, quiet: bool
) -> list[dict[str, RowValue]]:
    """Print runs sorted by a key, or by -KEY from the largest down, and return them.

    At most `limit` runs are printed; 0: all, or in a terminal MAX_TERMINAL_RUNS. InputError for a key that no
    run has, or a condition that is none.
    """
    records = with_shared_names(list_runs(machine.runs_root))
    if not records:
        print_text(no_runs_message(machine), to_errors=True)
        return []
    answer = QueriedRuns(query, records)
    key = answer.resolve(sort.removeprefix("-"))
    rows = sort_rows(answer.rows, key, descending=sort.startswith("-"))
    in_terminal = not quiet and is_terminal(sys.stdout)
    shown = rows[: limit or (MAX_TERMINAL_RUNS if in_terminal else None)]
    if not quiet:
        answer.print_table(shown, usual_columns(shown), sorted_by=key)
        if len(shown) < len(rows):
            print_text(f"... and {len(rows) - len(shown)} more; `--limit {len(rows)}` shows all")
    return answer.as_json(shown)


def usual_columns(rows: Sequence[RunRow]) -> list[str]:
    """Return the columns that a table shows unless others are asked for; those that any row has."""
    held_out = (next((key for key in keys if has_key(rows, key)), "") for keys in HELD_OUT_METRICS)
    is_incomplete = any(map(describe_missing_data, rows))
    data = (SAMPLES_USED.name, SAMPLES_LISTED.name) if is_incomplete else ()
    columns = ("name", "status", "heartbeat", "step", "loss", *held_out, *data, *NOTE_COLUMNS)
    return [key for key in columns if has_key(rows, key)]


def has_key(rows: Sequence[RunRow], key: str) -> bool:
    """Return True when any row has a key."""
    return any(key in row for row in rows)


def print_best_runs(
    metric: str, query: RunQuery, limit: int, smallest: bool, machine: Machine, quiet: bool
) -> list[dict[str, RowValue]]:
    """Print the runs that have a metric, the best first, and return them; at most `limit`, unless that is 0.

    Figures of different data are ranked apart, each with this limit. `smallest`: the smallest is the best,
    whatever the metric. InputError for a metric that no run has.
    """
    from cosmos.registry.run_leads import RunRanking  # late: a list of runs does without numpy

    answer = query_runs(query, machine)
    measured = dict.fromkeys(key for record in answer.records for key in record.metrics)
    key = resolve_key(metric, list(measured))
    ascending = smallest or direction_of(key) == "min"
    rows = sort_rows((row for row in answer.rows if key in row), key, descending=not ascending)
    sign, by_data = -1 if ascending else 1, rows_by_data(rows, key)
    ranked = {data: RunRanking.of(part, key, sign, machine.runs_root) for data, part in by_data.items()}
    shown = {data: ranking.shown(limit) for data, ranking in ranked.items()}
    if not quiet:
        columns = usual_columns([row for part in shown.values() for row in part])
        ends = [end for end in ("low", "high") if any(has_key(part, end) for part in shown.values())]
        print_text(f"{key}, the {'smallest' if ascending else 'largest'} first")
        print_rankings(answer, ranked, shown, list(dict.fromkeys(["name", "status", key, *ends, *columns])))
    elif len(ranked) > 1:
        print_text(f"{key}: {describe_mixture(ranked)}", to_errors=True)
    return [
        {**value, **ranked[data].judgement(row)}
        for data, part in shown.items()
        for row, value in zip(part, answer.as_json(part), strict=True)
    ]


def rows_by_data(rows: Sequence[RunRow], key: str) -> dict[str, list[RunRow]]:
    """Return rows by the data that their figure is of, in their order; the data of most rows first."""
    versions = Counter(data_version(row, key) for row in rows)
    return {
        version: [row for row in rows if data_version(row, key) == version]
        for version, _ in versions.most_common()
    }


def print_rankings(
    answer: QueriedRuns,
    ranked: "Mapping[str, RunRanking]",
    shown: Mapping[str, Sequence[RunRow]],
    columns: Sequence[str],
) -> None:
    """Print a table and the verdict for each version of the data, below its hash where there are several."""
    if len(ranked) > 1:
        print_text(describe_mixture(ranked))
    for version, ranking in ranked.items():
        if len(ranked) > 1:
            print_text(f"\ndata {data_mark(version)}")
        answer.print_table(shown[version], columns)
        if verdict := ranking.verdict():
            print_text(verdict)


def describe_mixture(ranked: Collection[str]) -> str:
    """Return a line that says that figures are of different data."""
    names = ", ".join(map(data_mark, ranked))
    return f"of {len(ranked)} versions of the data, which do not compare and are ranked apart: {names}"


def export_runs(file: Path, query: RunQuery, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Write runs to a .csv or .parquet file, one per row; figures of different data with the hashes of it.

    InputError for another format, or where the query selects no run.
    """
    from cosmos.registry.export import row_writer

    write = row_writer(file)
    answer = query_runs(query, machine)
    if not answer.rows:
        raise InputError(f"none of {len(answer.records)} runs matches: there is nothing to export")
    mixed = map(data_key, mixed_figures(answer.rows, answer.columns))
    named = list(dict.fromkeys([*answer.columns, *mixed]))
    columns = named or [key for key in answer.keys if has_key(answer.rows, key)]
    write(file, answer.rows, columns)
    if not quiet:
        print_text(f"{file}: {len(answer.rows)} runs, {len(columns)} columns")
    return {"file": str(file), "runs": len(answer.rows), "columns": columns}


def print_run(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Print the record of a run, and return it. InputError lists names near one that is none."""
    run, full_name = find_run(name, machine)
    record = read_run_record(run, full_name)
    defaults = flatten_params(Params().model_dump(mode="json"))
    changed = {
        key: value for key, value in record.params.items() if key not in defaults or value != defaults[key]
    }
    sessions = read_session_descriptions(run)
    if not quiet:
        print_record(record, changed, defaults, sessions)
    row = run_row(record)
    return {
        **{key: row[key] for key in RUN_KEYS if key in row},
        "changed": changed,
        "params": dict(record.params),
        "dataset": dict(record.dataset),
        "metrics": dict(record.metrics),
        "sessions": sessions,
        "data": dict(record.data),
    }


def read_session_descriptions(run: RunDir) -> dict[str, str]:
    """Return a description of each session of a run by its start; {} where its provenance is damaged."""
    read = partial(read_sessions, run.provenance)
    return describe_sessions(TolerantReader().read(run.provenance, read, []))


def find_run(name: str, machine: Machine) -> tuple[RunDir, str]:
    """Return the run of a name or path, and its name. InputError lists names near one that is none.

    Raises as `list_folder` for a run that this user may not enter.
    """
    if run := find_run_dir(name, machine.runs_root):
        return run, os.path.relpath(run.path, machine.runs_root)
    if is_dir(folder := machine.runs_root / name):
        list_folder(folder)
    names = run_names(machine.runs_root)
    if not names:
        raise InputError(no_runs_message(machine))
    with_part = [other for other in names if name in other.split("/")]
    near = with_part[:5] or close_names(name, names)
    hint = f"near it: {', '.join(near)}" if near else "`cosmos runs list` lists the runs"
    raise InputError(f"{name}: no run in {machine.runs_root}; {hint}")


def print_record(
    record: RunRecord,
    changed: Mapping[str, RowValue],
    defaults: Mapping[str, RowValue],
    sessions: Mapping[str, RowValue],
) -> None:
    """Print a record in sections; `changed`: parameters that differ from the defaults."""
    row = run_row(record)
    width = max((len(value_text(value)) for value in changed.values()), default=0)
    results = {key: value for key, value in record.metrics.items() if key.startswith(SUITES)}
    sections: dict[str, Mapping[str, RowValue]] = {
        record.name: {key: row[key] for key in RUN_KEYS[1:] if key in row},
        "parameters that are not the defaults": {
            key: f"{value_text(value):{width}}  (default: {value_text(defaults.get(key, ABSENT))})"
            for key, value in changed.items()
        },
        "other parameters": {key: value for key, value in record.params.items() if key not in changed},
        "training data": record.dataset,
        "sessions": sessions,
        "training": {key: value for key, value in record.metrics.items() if key not in results},
        "results": results,
        "data of the figures": record.data,
    }
    parts = ("\n".join(section_lines(title, values)) for title, values in sections.items() if values)
    print_text("\n\n".join(parts))


def section_lines(title: str, values: Mapping[str, RowValue]) -> list[str]:
    """Return the lines of a title and the values below it."""
    width = max(map(len, values))
    return [
        printable(title),
        *(printable(f"  {key:{width}}  {value_text(value)}".rstrip()) for key, value in values.items()),
    ]
