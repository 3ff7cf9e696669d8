"""Table of runs as plain text; without Rich, which takes far longer for ten thousand rows."""

from collections.abc import Callable, Mapping, Sequence

from cosmos.config.number_text import format_number
from cosmos.config.printable_text import UNLIMITED_WIDTH, output_text, printable
from cosmos.registry.query import RowValue, RunRow, data_mark, data_version, mixed_figures, value_text
from cosmos.report.columns import COLUMN_GAP, fitting_columns, gaps_to_widest, no_room_remark, text_width

ABSENT = "-"
MAX_CELL = 400
"""Characters of a cell; `cosmos runs show` has all of them."""
COLUMN_SEPARATOR = " " * COLUMN_GAP


def table_lines(
    rows: Sequence[RunRow], columns: Sequence[str], width: int = UNLIMITED_WIDTH, kept: int = 0
) -> list[str]:
    """Return the lines of a table: headings, with a line for each part of a path, then rows.

    Figures of a column that are of different data are marked with it. A column, but of the first `kept`, for
    which lines of `width` characters have no room is left out, and named in a last line.
    """
    mixed = mixed_figures(rows, columns)
    headings = [heading_parts(column) for column in columns]
    height = max(map(len, headings), default=0)
    texts = [
        column_texts([""] * (height - len(heading)) + heading, column, rows, is_mixed=column in mixed)
        for column, heading in zip(columns, headings, strict=True)
    ]
    fitting = fitting_columns([text_width(column[0]) for column in texts], width, kept)
    left_out = [columns[number] for number in range(len(columns)) if number not in fitting]
    lines = zip(*(texts[number] for number in fitting), strict=True)
    remark = [no_room_remark(left_out)] if left_out else []
    return [*(COLUMN_SEPARATOR.join(line).rstrip() for line in lines), *remark]


def heading_parts(key: str) -> list[str]:
    """Return the parts of a key, of which a heading has a line each."""
    *folders, last = map(shorten, printable(key).split("/"))
    return [*(f"{folder}/" for folder in folders), last]


def column_texts(heading: Sequence[str], column: str, rows: Sequence[RunRow], *, is_mixed: bool) -> list[str]:
    """Return a column with its heading, padded to one width; numbers are aligned on the right."""
    format_cell = COLUMN_FORMATS.get(column, format_cell_value)
    cells = [format_cell(row[column]) if column in row else ABSENT for row in rows]
    if is_mixed:
        marks = [data_mark(data_version(row, column)) if column in row else "" for row in rows]
        width = max(map(len, marks))
        cells = [f"{cell} {mark:{width}}" for cell, mark in zip(cells, marks, strict=True)]
    texts = [*heading, *map(output_text, cells)]
    gaps = gaps_to_widest(texts)
    is_text = any(isinstance(row.get(column), str | tuple | bool) for row in rows)
    return [text + gap if is_text else gap + text for text, gap in zip(texts, gaps, strict=True)]


def format_cell_value(value: RowValue) -> str:
    """Return a value for people: a number that is not whole with four significant digits."""
    return format_number(value) if isinstance(value, float) else shorten(printable(value_text(value)))


def shorten(text: str) -> str:
    """Return a text, cut where it is longer than a column has room for."""
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 3]}..."


COLUMN_FORMATS: Mapping[str, Callable[[RowValue], str]] = {
    "started": lambda value: format_cell_value(value)[: len("2026-07-20T10:00")].replace("T", " "),
    "heartbeat": lambda value: f"{format_cell_value(value)} s ago",
    "commit": lambda value: format_cell_value(value)[:8],
}
"""Formats of columns whose values are longer than a table has room for."""
