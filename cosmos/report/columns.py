"""Columns of tables in a terminal: those that have room, and the remark on those that have none."""

from collections.abc import Sequence

from cosmos.config.printable_text import printable

COLUMN_GAP = 2
"""Characters between columns of plain text."""


def fitting_columns(widths: Sequence[int], width: int, kept: int) -> list[int]:
    """Return the numbers of the columns that have room beside those before them; the first `kept` stay."""
    fitting, used = list[int](), 0
    for number, column in enumerate(widths):
        if number < kept or used + column <= width:
            fitting.append(number)
            used += column + COLUMN_GAP
    return fitting


def no_room_remark(columns: Sequence[str]) -> str:
    """Return the line below a table about the columns that are left out of it."""
    return f"no room for {printable(', '.join(columns))}; a wider terminal, a pipe and --json have all"


def text_width(text: str) -> int:
    """Return the number of characters of a terminal that a text takes: letters of some scripts take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # late: a list of runs does without Rich

    return cell_len(text)


def gaps_to_widest(texts: Sequence[str]) -> list[str]:
    """Return the spaces by which each text is narrower than the widest one."""
    widths = list(map(text_width, texts))
    widest = max(widths)
    return [" " * (widest - width) for width in widths]
