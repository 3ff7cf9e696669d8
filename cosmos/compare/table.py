"""Comparison as a table of text, for the terminal and for the page.

A few contenders are columns, so that everything about them has room; of many, each is a row.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from cosmos.compare.comparison import Comparison, Contender, mark_of_data
from cosmos.config.figures import is_caveat, is_cost, repeated_result
from cosmos.config.printable_text import UNLIMITED_WIDTH, printable
from cosmos.registry.sweep_difference import describe_origin
from cosmos.report.columns import text_width
from cosmos.report.terminal import Terminal, plain_text
from cosmos.report.text import format_parameter, parameter_label
from cosmos.run.statistics.intervals import LEVEL_TEXT
from cosmos.run.statistics.seed_statistics import SeedStatistics, format_deviation

MAX_COLUMN_CONTENDERS = 5
"""Largest number of contenders that are columns."""

HEADLINE_METRICS = ("image_to_text_R@1", "text_to_image_R@1", "top1", "csa_mIoU")
"""Metrics that a table of many runs shows, where no sweep has objectives."""
MAX_HEADLINES = 6

BEST_MARK = " *"
"""Mark after the best value."""
MAX_TERMINAL_ROWS = 40
"""Largest number of rows of a block in the terminal."""
MAX_CELL_WIDTH = 24
"""Characters of a name or a value that are not folded in the terminal."""
MAX_HEADING_WIDTH = 10
"""Characters of a heading that are not folded in the terminal."""
COLUMN_GAP = 1
"""Characters between columns."""


@dataclass(frozen=True)
class ComparisonCell:
    """Value as text, with a mark where it is the best."""

    text: str
    is_best: bool = False


@dataclass(frozen=True)
class ComparisonRow:
    """Named row of cells."""

    name: str
    cells: tuple[ComparisonCell, ...]
    is_winner: bool = False


@dataclass(frozen=True)
class RowBlock:
    """Rows below a title, which may be empty."""

    title: str
    rows: tuple[ComparisonRow, ...]


@dataclass(frozen=True)
class ComparisonTable:
    """Table of a comparison; each row has a cell for each heading."""

    headings: tuple[str, ...]
    blocks: tuple[RowBlock, ...]
    has_contender_rows: bool = False
    """rows are contenders; otherwise the columns are"""


def comparison_table(comparison: Comparison) -> ComparisonTable:
    """Return the table of a comparison."""
    is_wide = len(comparison.contenders) <= MAX_COLUMN_CONTENDERS
    return contenders_as_columns(comparison) if is_wide else contenders_as_rows(comparison)


def state_cell(contender: Contender) -> ComparisonCell:
    """Return the cell of a contender's state, with a mark where it breaks a constraint."""
    return ComparisonCell(f"{contender.state} !" if contender.breaches else contender.state)


def contenders_as_columns(comparison: Comparison) -> ComparisonTable:
    """Return a table with a column for each contender: parameters that differ, and all figures."""
    contenders = comparison.contenders
    states = ComparisonRow("state", tuple(map(state_cell, contenders)))
    params = tuple(
        ComparisonRow(path, tuple(parameter_cell(contender, path) for contender in contenders))
        for path in comparison.params
    )
    figures = tuple(
        ComparisonRow(name, tuple(figure_cell(comparison, contender, name) for contender in contenders))
        for name in shown_figures(comparison)
    )
    blocks = (
        RowBlock("", (states, *seeds_row(comparison))),
        RowBlock("parameters that differ", params),
        RowBlock("figures", figures),
    )
    labels = tuple(contender.label for contender in contenders)
    return ComparisonTable(labels, tuple(block for block in blocks if block.rows))


def seeds_row(comparison: Comparison) -> Iterator[ComparisonRow]:
    """Yield a row with each contender's number of seeds, where any was repeated."""
    numbers = [len(contender.runs) for contender in comparison.contenders]
    if max(numbers) > 1:
        yield ComparisonRow("seeds", tuple(ComparisonCell(str(number)) for number in numbers))


def contenders_as_rows(comparison: Comparison) -> ComparisonTable:
    """Return a table with a row for each contender: state, headline figures, parameters that differ."""
    figures = headline_columns(comparison)
    seeds = next(seeds_row(comparison), None)
    rows = tuple(
        ComparisonRow(
            contender.label,
            (
                state_cell(contender),
                *([seeds.cells[number]] if seeds else []),
                *(figure_cell(comparison, contender, name) for name in figures),
                *(parameter_cell(contender, path) for path in comparison.params),
            ),
            contender.is_winner,
        )
        for number, contender in enumerate(comparison.contenders)
    )
    labels = unique_parameter_labels(comparison.params)
    headings = ("state", *(["seeds"] if seeds else []), *figures, *labels)
    return ComparisonTable(headings, (RowBlock("", rows),), has_contender_rows=True)


def shown_figures(comparison: Comparison) -> list[str]:
    """Return the figures without caveats, and without evaluations that were repeated after training."""
    return [
        name
        for name in comparison.figures
        if not is_caveat(name) and repeated_result(name) not in comparison.figures
    ]


def headline_columns(comparison: Comparison) -> list[str]:
    """Return the objectives of sweeps; without any the loss, and a metric or two of each suite."""
    if comparison.objectives:
        return [name for name in comparison.objectives if name in comparison.figures]
    results = [name for name in shown_figures(comparison) if name.rpartition("/")[2] in HEADLINE_METRICS]
    return [*(name for name in ("loss", "seconds") if name in comparison.figures), *results[:MAX_HEADLINES]]


def unique_parameter_labels(paths: list[str]) -> list[str]:
    """Return parameters without their section, except those that only the section tells apart."""
    labels = [parameter_label(path) for path in paths]
    return [label if labels.count(label) == 1 else path for label, path in zip(labels, paths, strict=True)]


def figure_cell(comparison: Comparison, contender: Contender, name: str) -> ComparisonCell:
    """Return the cell of a contender's figure, marked where it is the best."""
    if name not in contender.figures:
        return ComparisonCell("")
    text = format_statistics(contender.figures[name])
    if name in comparison.mixed:
        text = f"{text} {mark_of_data(contender, name)}"
    return ComparisonCell(text, contender.name in comparison.best[name])


def format_statistics(figure: SeedStatistics) -> str:
    """Return a figure with its deviation; large ones as whole numbers."""
    if abs(figure.mean) < 10_000:
        return str(figure)
    deviation = figure.deviation
    shown = f"{deviation:,.0f}" if deviation >= 10 else format_deviation(deviation)
    return f"{figure.mean:,.0f}{f' ± {shown}' if figure.is_repeated else ''}"


def parameter_cell(contender: Contender, path: str) -> ComparisonCell:
    """Return the cell of a contender's parameter."""
    value = contender.params.get(path)
    return ComparisonCell("" if value is None else format_parameter(value))


def print_comparison(comparison: Comparison) -> None:
    """Print the table as far as there is room in the terminal, and remarks below it."""
    console, table = Terminal(), comparison_table(comparison)
    num_columns = count_fitting_columns(table, console.width)
    max_rows = MAX_TERMINAL_ROWS if console.width < UNLIMITED_WIDTH else None
    console.print(rich_table(table, num_columns, console.width, max_rows), crop=False)
    for line in [*omission_remarks(table, num_columns, max_rows), *comparison_remarks(comparison)]:
        console.print(plain_text(printable(line)))


def count_fitting_columns(table: ComparisonTable, width: int) -> int:
    """Return the number of columns to show: all contenders, or as many as fit into `width` beside them."""
    total = len(table.headings)
    if not table.has_contender_rows:
        return total
    return max(1, sum(table_width(table, number + 1) <= width for number in range(total)))


def table_width(table: ComparisonTable, num_columns: int) -> int:
    """Return the characters that the names of the rows and the first columns take."""
    columns = sum(column_width(table, number) + COLUMN_GAP for number in range(num_columns))
    return name_width(table) + columns


def column_width(table: ComparisonTable, column: int) -> int:
    """Return the characters of a column that has room for its values and for a part of its heading."""
    values = [row.cells[column].text for block in table.blocks for row in block.rows]
    widest = min(max(map(text_width, values)), MAX_CELL_WIDTH) + len(BEST_MARK)
    return max(widest, min(text_width(table.headings[column]), MAX_HEADING_WIDTH))


def natural_column_width(table: ComparisonTable, column: int) -> int:
    """Return the characters of a column in which nothing is folded."""
    values = [row.cells[column].text for block in table.blocks for row in block.rows]
    return max(max(map(text_width, values)) + len(BEST_MARK), text_width(table.headings[column]))


def name_width(table: ComparisonTable) -> int:
    """Return the characters that the names of the rows take at least, with the gap after them.

    Those of contenders are not folded.
    """
    longest = max(text_width(row.name) for block in table.blocks for row in block.rows)
    return (longest if table.has_contender_rows else min(longest, MAX_CELL_WIDTH)) + COLUMN_GAP


def column_widths(table: ComparisonTable, num_columns: int, width: int) -> list[int]:
    """Return the characters of the first columns, which are folded where lines of `width` have no room."""
    natural = [natural_column_width(table, number) for number in range(num_columns)]
    if name_width(table) + sum(fit + COLUMN_GAP for fit in natural) <= width:
        return natural
    share = max(1, (width - name_width(table)) // num_columns - COLUMN_GAP)
    room = share if table_width(table, num_columns) > width else width
    return [min(column_width(table, number), room) for number in range(num_columns)]


def rich_table(table: ComparisonTable, num_columns: int, width: int, max_rows: int | None) -> Table:
    """Return the first columns as a table of Rich; the best values are marked, and green."""
    rich = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    rich.add_column("", overflow="fold", min_width=name_width(table) - COLUMN_GAP)
    widths = column_widths(table, num_columns, width)
    for heading, fit in zip(table.headings, widths, strict=False):
        rich.add_column(plain_text(printable(heading)), justify="right", overflow="fold", width=fit)
    left = width - sum(fit + COLUMN_GAP for fit in widths)
    for block in table.blocks:
        if block.title:
            rich.add_row(plain_text(block.title, style="bold"))
        for row in block.rows[:max_rows]:
            name = plain_text(fold_name(printable(row.name), left), style="bold" if row.is_winner else "")
            rich.add_row(name, *map(rich_cell, row.cells[:num_columns]))
        rich.add_section()
    return rich


def fold_name(name: str, width: int) -> str:
    """Return the name of a row, folded after slashes into lines of at most `width` characters."""
    lines = [""]
    for part in re.split("(?<=/)", name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("  ")
        lines[-1] += part
    return "\n".join(lines)


def rich_cell(cell: ComparisonCell) -> Text:
    """Return a cell as Rich's text; others than the best have spaces in place of its mark."""
    if cell.is_best:
        return plain_text(f"{printable(cell.text)}{BEST_MARK}", style="green")
    return plain_text(f"{printable(cell.text)}{' ' * len(BEST_MARK)}")


def omission_remarks(table: ComparisonTable, num_columns: int, max_rows: int | None) -> Iterator[str]:
    """Yield lines on the rows and columns that only the page shows."""
    hidden = sum(len(block.rows) - len(block.rows[:max_rows]) for block in table.blocks)
    if hidden:
        yield f"and {hidden} more rows, which the page has"
    if table.headings[num_columns:]:
        yield f"the page also has: {', '.join(table.headings[num_columns:])}"


def lead_remarks(comparison: Comparison) -> Iterator[str]:
    """Yield lines that explain intervals, deviations and marks, and the verdicts by the headline figures."""
    figures = [figure for contender in comparison.contenders for figure in contender.figures.values()]
    if any(figure.is_repeated for figure in figures):
        yield "± the standard deviation over seeds"
    if any(figure.interval and not figure.is_repeated for figure in figures):
        yield f"in brackets: the {LEVEL_TEXT} interval over images"
    marked = [comparison.leads[name] for name, names in comparison.best.items() if names]
    if any(lead.is_won for lead in marked):
        yield f"* wins at {LEVEL_TEXT}: no other may be as good by chance of images or seeds"
    if not all(lead.is_won for lead in marked):
        yield "* of figures by one seed that are no mean over images: the best value, by luck or not"
    headlines = [name for name in headline_columns(comparison) if name in comparison.leads]
    sampled = [name for name in headlines if not comparison.leads[name].is_blind]
    yield from (comparison.describe_lead(name) for name in sampled if not is_cost(name))


def comparison_remarks(comparison: Comparison) -> Iterator[str]:
    """Yield lines that explain the marks, name unreadable files, and say where no parameter differs."""
    contenders = comparison.contenders
    yield from (f"{folder.path.name}: {describe_origin(folder.sweep())}" for folder in comparison.sweeps)
    yield from lead_remarks(comparison)
    if comparison.mixed:
        yield "@ the data that a figure is of; figures of different data do not compare, and none is the best"
    yield from (f"! {c.name} breaks {', '.join(c.breaches)}" for c in contenders if c.breaches)
    yield from (f"{contender.name}: {contender.problem}" for contender in contenders if contender.problem)
    yield from (problem for sweep in comparison.sweeps for problem in sweep.read_trials().problems.values())
    if not comparison.params and len(contenders) > 1:
        yield "no parameter differs"
