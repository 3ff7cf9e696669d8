"""Runs as a table of plain text: ten thousand lines take no longer than a person waits for ten."""

from collections.abc import Callable, Mapping, Sequence

from cosmos.registry.query import Row, Value, words
from cosmos.report.text import printable

ABSENT = "-"
GAP = "  "

WHOLE = 1e15
"""Below this, a float without a fraction is shown as the whole number that it is."""


def table(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Lines of a table: headings, of which a path has a line for each part, and rows."""
    headings = [folded(column) for column in columns]
    height = max(map(len, headings), default=0)
    sides = [
        aligned([""] * (height - len(heading)) + heading, column, rows)
        for column, heading in zip(columns, headings, strict=True)
    ]
    return [GAP.join(line).rstrip() for line in zip(*sides, strict=True)]


def folded(key: str) -> list[str]:
    """A key in parts, as a heading."""
    *folders, last = printable(key).split("/")
    return [*(f"{folder}/" for folder in folders), last]


def aligned(heading: Sequence[str], column: str, rows: Sequence[Row]) -> list[str]:
    """A column with its heading, all of one width; of numbers, on the right."""
    form = FORMS.get(column, short)
    texts = [*heading, *(form(row[column]) if column in row else ABSENT for row in rows)]
    width = max(map(len, texts))
    is_text = any(isinstance(row.get(column), str | tuple | bool) for row in rows)
    return [text.ljust(width) if is_text else text.rjust(width) for text in texts]


def short(value: Value) -> str:
    """A value to read: of a number that is not whole, four digits that count."""
    if not isinstance(value, float):
        return printable(words(value))
    if value.is_integer() and abs(value) < WHOLE:
        return str(int(value))
    return f"{value:.0f}" if 1000 <= abs(value) < WHOLE else f"{value:.4g}"


FORMS: Mapping[str, Callable[[Value], str]] = {
    "started": lambda value: short(value)[: len("2026-07-20T10:00")].replace("T", " "),
    "heartbeat": lambda value: f"{short(value)} s ago",
    "commit": lambda value: short(value)[:8],
}
"""How columns are shown that say more than a table has room for."""
