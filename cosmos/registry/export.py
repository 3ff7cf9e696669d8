"""Runs as a file for other programs: CSV or Parquet."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from cosmos.errors import InputError
from cosmos.registry.query import Row, Value, words
from cosmos.registry.record import Scalar
from cosmos.run.files import replacing

Write = Callable[[Path, Sequence[Row], Sequence[str]], None]

MAX_INTEGER = 2**63 - 1
"""The largest that a column of integers holds."""


def writer_of(file: Path) -> Write:
    """What writes a file of this name. ValueError where its suffix says no form."""
    writers: dict[str, Write] = {".csv": write_csv, ".parquet": write_parquet}
    if file.suffix.lower() not in writers:
        raise InputError(f"{file}: the name ends neither in .csv nor in .parquet, which say what to write")
    return writers[file.suffix.lower()]


def write_csv(file: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Writes a heading and a line a row; what a run does not have is empty."""
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(map(encodable, columns))
        cells = (
            ["" if row.get(key) is None else encodable(words(row[key])) for key in columns] for row in rows
        )
        writer.writerows(cells)


def write_parquet(file: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Writes a column a key: of truths, integers, numbers or text; what a run does not have is null."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({encodable(key): alike([row.get(key) for row in rows]) for key in columns})
    with replacing(file) as temporary:
        parquet.write_table(table, temporary)


def alike(values: Sequence[Value]) -> list[Scalar]:
    """Values of a column, all of one type: as text, where they have several."""
    there = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in there):
        return list(values)  # type: ignore[arg-type]
    if all(is_number(value) for value in there):
        has_fraction = any(isinstance(value, float) for value in there)
        return [float(value) if has_fraction and value is not None else value for value in values]  # type: ignore
    return [None if value is None else encodable(words(value)) for value in values]


def is_number(value: Value) -> bool:
    """Whether a column of numbers can hold it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_INTEGER


def encodable(text: str) -> str:
    """Text without what UTF-8 cannot hold: names of folders need not be text."""
    return text.encode("utf-8", "backslashreplace").decode()
