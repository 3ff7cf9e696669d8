"""Export of runs to a file for other programs: CSV or Parquet."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from cosmos.config.printable_text import encodable_text, harmless_cell
from cosmos.errors import InputError
from cosmos.registry.query import RowValue, RunRow, value_text
from cosmos.registry.record import RecordValue
from cosmos.run.files import replacing

RowWriter = Callable[[Path, Sequence[RunRow], Sequence[str]], None]
"""Function that writes the given columns of rows to a file."""

MAX_INTEGER = 2**63 - 1
"""Largest value of a column of integers."""


def row_writer(file: Path) -> RowWriter:
    """Return the writer of a file's format. InputError where its suffix is neither .csv nor .parquet."""
    writers: dict[str, RowWriter] = {".csv": write_csv, ".parquet": write_parquet}
    if file.suffix.lower() not in writers:
        raise InputError(f"{file}: the name ends neither in .csv nor in .parquet; these are the formats")
    return writers[file.suffix.lower()]


def write_csv(file: Path, rows: Sequence[RunRow], columns: Sequence[str]) -> None:
    """Write a heading, and a line for each row; values that a run does not have are empty."""
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(map(csv_cell, columns))
        writer.writerows([csv_cell(row.get(key)) for key in columns] for row in rows)


def csv_cell(value: RowValue) -> str:
    """Return a value as a cell of CSV; see `harmless_cell` for texts."""
    if value is None:
        return ""
    return harmless_cell(value_text(value)) if isinstance(value, str | tuple) else value_text(value)


def write_parquet(file: Path, rows: Sequence[RunRow], columns: Sequence[str]) -> None:
    """Write a column of Booleans, integers, floats or text for each key; missing values are null."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(
        {encodable_text(key): column_values([row.get(key) for row in rows]) for key in columns}
    )
    with replacing(file) as temporary, temporary.open("wb") as stream:  # Arrow's own errors name no target
        parquet.write_table(table, stream)


def column_values(values: Sequence[RowValue]) -> list[RecordValue]:
    """Return the values of a column with one type for all; as text, where they have several."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in present):
        return list(values)  # type: ignore[arg-type]
    if all(is_number(value) for value in present):
        has_fraction = any(isinstance(value, float) for value in present)
        return [float(value) if has_fraction and value is not None else value for value in values]  # type: ignore
    return [None if value is None else encodable_text(value_text(value)) for value in values]


def is_number(value: RowValue) -> bool:
    """Return True when a column of numbers can hold a value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_INTEGER
