"""Runs: list, show, rank and export them, straight from their directories."""

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cosmos.config.figures import direction_of
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import InputError
from cosmos.registry.index import list_runs, run_names
from cosmos.registry.query import KEYS, Row, Value, conditions, known_keys, ordered, resolve, row, words
from cosmos.registry.record import RunRecord, read_record, run_named, scalars
from cosmos.registry.table import ABSENT, table
from cosmos.report.text import printable
from cosmos.run.directory import RunDir
from cosmos.tracking.curves import SUITES

RECALL = "image_to_text_R@1"
HELD_OUT = (
    [f"retrieval/heldout/{model}/{RECALL}" for model in ("teacher", "student")],
    [f"evaluation/{model}/heldout/{RECALL}" for model in ("teacher", "student")],
)
"""Measured at the end, and while training: tables show the first that is there of each."""

MAX_IN_TERMINAL = 50
"""Runs that a terminal gets, unless more are asked for."""


@dataclass(frozen=True)
class Question:
    """Which runs are meant, and what is to be told of them."""

    where: Sequence[str] = ()
    """conditions, all of which must hold"""
    columns: Sequence[str] = ()
    """keys to tell; without one: what suits"""


@dataclass(frozen=True)
class Answer:
    """Runs, and which of them are meant."""

    question: Question
    records: Sequence[RunRecord]
    """all that there are"""

    @cached_property
    def known(self) -> list[str]:
        """Keys that a person can ask for."""
        return known_keys(self.records)

    def resolve(self, text: str) -> str:
        """The key that a person means. ValueError where that is not clear, or no run has it."""
        return text if text in KEYS else resolve(text, self.known)

    @cached_property
    def rows(self) -> list[Row]:
        """Those that are meant, by name. ValueError for a condition that is none."""
        asked = conditions(self.question.where, self.resolve)
        return [one for one in map(row, self.records) if all(condition.holds(one) for condition in asked)]

    @cached_property
    def columns(self) -> list[str]:
        """Those that were asked for. ValueError for a key that no run has."""
        return [self.resolve(key.strip()) for key in self.question.columns if key.strip()]

    def told(self, rows: Sequence[Row]) -> list[dict[str, Value]]:
        """Rows for programs: the columns that were asked for, or else all that is known."""
        if not self.columns:
            return [dict(one) for one in rows]
        return [{key: one[key] for key in self.columns if key in one} for one in rows]

    def print_table(self, rows: Sequence[Row], columns: Sequence[str]) -> None:
        """Prints a table of rows, or what there is in place of them."""
        if not rows:
            print(f"none of {len(self.records)} runs matches")
            return
        sys.stdout.write("\n".join([*table(rows, self.columns or columns), ""]))


def ask(question: Question, machine: Machine) -> Answer:
    """The runs of this machine that are meant. ValueError where there are none at all."""
    records = list_runs(machine.runs_root)
    if not records:
        raise InputError(nothing_in(machine))
    return Answer(question, records)


def nothing_in(machine: Machine) -> str:
    """That there are no runs, and what to do."""
    return (
        f"no runs in {machine.runs_root}: `cosmos pretrain --run NAME` makes one, "
        "COSMOS_RUNS_ROOT names another folder"
    )


def list_in_order(
    question: Question, sort: str, limit: int, machine: Machine, quiet: bool
) -> list[dict[str, Value]]:
    """Lists runs, sorted by a key, or by -KEY from the largest down; at most `limit`, unless that is 0.

    ValueError for a key that no run has, or a condition that is none.
    """
    records = list_runs(machine.runs_root)
    if not records:
        print(nothing_in(machine), file=sys.stderr)
        return []
    answer = Answer(question, records)
    key = answer.resolve(sort.removeprefix("-"))
    rows = ordered(answer.rows, key, descending=sort.startswith("-"))
    in_terminal = not quiet and sys.stdout.isatty()
    shown = rows[: limit or (MAX_IN_TERMINAL if in_terminal else None)]
    if not quiet:
        answer.print_table(shown, usual_columns(shown))
        if len(shown) < len(rows):
            print(f"... and {len(rows) - len(shown)} more; `--limit {len(rows)}` shows all")
    return answer.told(shown)


def usual_columns(rows: Sequence[Row]) -> list[str]:
    """What a table shows where nothing else is asked for: of this, what any of the runs has."""
    held_out = (next((key for key in keys if is_in(rows, key)), "") for keys in HELD_OUT)
    columns = ("name", "status", "heartbeat", "step", "loss", *held_out, "tags", "started", "problem")
    return [key for key in columns if is_in(rows, key)]


def is_in(rows: Sequence[Row], key: str) -> bool:
    """Whether any has a key."""
    return any(key in one for one in rows)


def best(
    metric: str, question: Question, limit: int, smallest: bool, machine: Machine, quiet: bool
) -> list[dict[str, Value]]:
    """Lists the runs that have a metric, the best first; at most `limit`, unless that is 0.

    `smallest`: the least is best, whatever the metric. ValueError for a metric that no run has.
    """
    answer = ask(question, machine)
    measured = dict.fromkeys(key for record in answer.records for key in record.metrics)
    key = resolve(metric, list(measured))
    ascending = smallest or is_cost(key)
    rows = ordered((one for one in answer.rows if key in one), key, descending=not ascending)
    shown = rows[: limit or None]
    told = answer.told(shown)
    if not quiet:
        print(f"{printable(key)}, the {'smallest' if ascending else 'largest'} first")
        answer.print_table(shown, list(dict.fromkeys(["name", "status", key, *usual_columns(shown)])))
    return told


def is_cost(metric: str) -> bool:
    """Whether less of a metric is better."""
    return direction_of(metric) == "min"


def export(file: Path, question: Question, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Writes runs to a .csv or .parquet file, one a row.

    ValueError for another file, or where no run is meant.
    """
    from cosmos.registry.export import writer_of

    write = writer_of(file)
    answer = ask(question, machine)
    if not answer.rows:
        raise InputError(f"none of {len(answer.records)} runs matches: there is nothing to export")
    columns = answer.columns or [key for key in answer.known if is_in(answer.rows, key)]
    write(file, answer.rows, columns)
    if not quiet:
        print(f"{file}: {len(answer.rows)} runs, {len(columns)} columns")
    return {"file": str(file), "runs": len(answer.rows), "columns": columns}


def show(name: str, machine: Machine, quiet: bool) -> dict[str, Any]:
    """Shows all that is known of a run. ValueError lists names near one that is none."""
    record = read_record(*found(name, machine))
    defaults = scalars(Params().model_dump(mode="json"))
    changed = {
        key: value for key, value in record.params.items() if key not in defaults or value != defaults[key]
    }
    if not quiet:
        print_record(record, changed, defaults)
    known = row(record)
    return {
        **{key: known[key] for key in KEYS if key in known},
        "changed": changed,
        "params": dict(record.params),
        "metrics": dict(record.metrics),
    }


def found(name: str, machine: Machine) -> tuple[RunDir, str]:
    """The run that a person means, and its name. ValueError lists names near it."""
    if run := run_named(name, machine.runs_root):
        return run, os.path.relpath(run.path, machine.runs_root)
    names = run_names(machine.runs_root)
    if not names:
        raise InputError(nothing_in(machine))
    parts = [one for one in names if name in one.split("/")] or difflib.get_close_matches(name, names, 5, 0.4)
    there = f"near it: {', '.join(parts[:5])}" if parts else "`cosmos runs list` lists the runs"
    raise InputError(f"{name}: no run in {machine.runs_root}; {there}")


def print_record(record: RunRecord, changed: Mapping[str, Value], defaults: Mapping[str, Value]) -> None:
    """Prints what is known of a run, in sections."""
    known = row(record)
    width = max((len(words(value)) for value in changed.values()), default=0)
    results = {key: value for key, value in record.metrics.items() if key.startswith(SUITES)}
    sections: dict[str, Mapping[str, Value]] = {
        record.name: {key: known[key] for key in KEYS[1:] if key in known},
        "parameters that are not the defaults": {
            key: f"{words(value):{width}}  (default: {words(defaults.get(key, ABSENT))})"
            for key, value in changed.items()
        },
        "other parameters": {key: value for key, value in record.params.items() if key not in changed},
        "training": {key: value for key, value in record.metrics.items() if key not in results},
        "results": results,
    }
    parts = ("\n".join(section(title, values)) for title, values in sections.items() if values)
    print("\n\n".join(parts))


def section(title: str, values: Mapping[str, Value]) -> list[str]:
    """Lines of a title and values below it."""
    width = max(map(len, values))
    return [
        printable(title),
        *(printable(f"  {key:{width}}  {words(value)}".rstrip()) for key, value in values.items()),
    ]
