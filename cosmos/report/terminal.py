"""Terminal for tables and coloured lines, which takes every text literally and cuts none."""

from bisect import bisect_right
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cosmos.config.printable_text import (
    UNLIMITED_WIDTH,
    error_stream,
    output_text,
    output_width,
    printable_lines,
)
from cosmos.report.columns import no_room_remark

FOLDED_WIDTH = 16
"""Characters of a line of a cell below which it is not read well; columns may state others (`min_width`)."""


class Terminal(Console):
    """Console of Rich in which no text is markup, and control characters are shown as escapes.

    That holds for texts that it is given, and for those in tables; a `Text` is made by `plain_text`. In a
    pipe or a file, no line is folded.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(
            file=error_stream() if stderr else None,
            width=None if stderr else output_width(),
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` as Rich's, with the style and alignment among `options`."""
        literal = {**options, "markup": False, "emoji": False, "highlight": False}
        return super().render_str(output_text(printable_lines(text)), **literal)

    def print_table(self, table: Table, kept: int = 1) -> None:
        """Print a table, and below it the headings of columns that are left out for lack of room.

        The first `kept` columns stay, and so does every character of a cell: lines may be longer than the
        terminal is wide. Only columns whose overflow is `fold` have cells of several lines.
        """
        for column in table.columns:
            column.no_wrap = column.overflow != "fold"
        left_out = leave_out_columns(self, table, kept)
        widths = (
            range(self.width + 1) if width_folded_at(self, table, self.width) > self.width else (self.width,)
        )
        fold_at = bisect_right(widths, self.width, key=lambda width: width_folded_at(self, table, width))
        table.width = width_folded_at(self, table, widths[max(0, fold_at - 1)])
        self.print(table, crop=False)
        if left_out:
            self.print(no_room_remark(left_out), style="dim")


def leave_out_columns(console: Console, table: Table, kept: int) -> list[str]:
    """Take columns out of a table that have no room beside those before them, and return their headings."""
    columns, left_out = table.columns, list[str]()
    table.columns = columns[:kept]
    for column in columns[kept:]:
        table.columns.append(column)
        if width_folded_at(console, table, 0) > console.width:
            left_out.append(" ".join(str(table.columns.pop().header).split()))
    return left_out


def width_folded_at(console: Console, table: Table, width: int) -> int:
    """Have the foldable columns of a table folded at a width; return the characters of a line."""
    for column in table.columns:
        if column.overflow == "fold":
            column.max_width = max(width, column.min_width or FOLDED_WIDTH)
    return Measurement.get(console, console.options.update(max_width=UNLIMITED_WIDTH), table).maximum


def plain_text(text: str, style: str = "", **options: Any) -> Text:
    """Return lines as Rich's text, in which control characters are escapes; `options` are those of Rich."""
    return Text(output_text(printable_lines(text)), style, **options)
