"""A comparison as a table of text, for the terminal and for the page.

A few contenders stand side by side, so that everything about them has room; of many, each is a line.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cosmos.compare.comparison import Comparison, Contender
from cosmos.config.figures import is_caveat
from cosmos.registry.candidates import SeedStatistics
from cosmos.report.text import format_parameter, parameter_label, printable

MAX_SIDE_BY_SIDE = 5

HEADLINES = ("image_to_text_R@1", "text_to_image_R@1", "top1", "csa_mIoU")
"""Metrics that lines of many runs have, where no sweep says what it goes by."""
MAX_HEADLINES = 6

STAR = " *"
"""After the best."""
MAX_LINES = 40
"""Lines of a block in the terminal."""
MAX_CELL = 24
"""Characters of a name or a value that are not folded in the terminal."""
MAX_HEADING = 10
"""Characters of a heading that are not."""
GAP = 1
"""Characters between columns."""


@dataclass(frozen=True)
class Cell:
    """A value, in words."""

    text: str
    is_best: bool = False


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    name: str
    cells: tuple[Cell, ...]
    is_winner: bool = False


@dataclass(frozen=True)
class Block:
    """Rows below a title."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Sheet:
    """The table; each line has a cell for each heading."""

    headings: tuple[str, ...]
    blocks: tuple[Block, ...]


def sheet(compared: Comparison) -> Sheet:
    """The table of a comparison."""
    return side_by_side(compared) if len(compared.contenders) <= MAX_SIDE_BY_SIDE else in_lines(compared)


def side_by_side(compared: Comparison) -> Sheet:
    """A column for each contender: parameters that differ, and all figures."""
    of_all = compared.contenders
    head = (
        Line("state", tuple(Cell(one.state) for one in of_all)),
        *seeds_line(compared),
    )
    params = tuple(Line(path, tuple(param_cell(one, path) for one in of_all)) for path in compared.params)
    figures = tuple(
        Line(name, tuple(figure_cell(compared, one, name) for one in of_all)) for name in told(compared)
    )
    blocks = Block("", head), Block("parameters that differ", params), Block("figures", figures)
    return Sheet(tuple(one.label for one in of_all), tuple(block for block in blocks if block.lines))


def seeds_line(compared: Comparison) -> Iterator[Line]:
    """How many seeds there are of each, where any was repeated."""
    if any(len(one.runs) > 1 for one in compared.contenders):
        yield Line("seeds", tuple(Cell(str(len(one.runs))) for one in compared.contenders))


def in_lines(compared: Comparison) -> Sheet:
    """A line for each contender: how it stands, parameters that differ, and the figures that matter most."""
    figures = headlines(compared)
    seeds = next(seeds_line(compared), None)
    lines = tuple(
        Line(
            one.label,
            (
                Cell(one.state),
                *([seeds.cells[number]] if seeds else []),
                *(figure_cell(compared, one, name) for name in figures),
                *(param_cell(one, path) for path in compared.params),
            ),
            one.is_winner,
        )
        for number, one in enumerate(compared.contenders)
    )
    headings = ("state", *(["seeds"] if seeds else []), *figures, *shortened(compared.params))
    return Sheet(headings, (Block("", lines),))


def told(compared: Comparison) -> list[str]:
    """Figures but for ties, and for evaluations while training of what was measured again after it."""
    return [name for name in compared.figures if not is_caveat(name) and again(name) not in compared.figures]


def again(name: str) -> str:
    """The result that says the same of the finished run as an evaluation while training; "" of others."""
    if not name.startswith("evaluation/") or name.count("/") < 3:
        return ""
    _, model, dataset, metric = name.split("/", 3)
    return f"retrieval/{dataset}/{model}/{metric}"


def headlines(compared: Comparison) -> list[str]:
    """What sweeps go by; of runs without one the loss, and a metric or two of each suite."""
    if compared.objectives:
        return [name for name in compared.objectives if name in compared.figures]
    results = [name for name in told(compared) if name.rpartition("/")[2] in HEADLINES]
    return [*(name for name in ("loss", "seconds") if name in compared.figures), *results[:MAX_HEADLINES]]


def shortened(paths: list[str]) -> list[str]:
    """Parameters without their section, where that leaves no doubt."""
    names = [parameter_label(path) for path in paths]
    return [one if names.count(one) == 1 else path for one, path in zip(names, paths, strict=True)]


def figure_cell(compared: Comparison, one: Contender, name: str) -> Cell:
    """A figure of a contender, marked where it is the best."""
    if name not in one.figures:
        return Cell("")
    return Cell(figure_in_words(one.figures[name]), one.name in compared.best[name])


def figure_in_words(figure: SeedStatistics) -> str:
    """A figure with its spread; large ones as whole numbers."""
    if abs(figure.mean) < 10_000:
        return str(figure)
    spread = f" ± {figure.deviation:,.0f}" if figure.is_repeated else ""
    return f"{figure.mean:,.0f}{spread}"


def param_cell(one: Contender, path: str) -> Cell:
    """A parameter of a contender, as a person would write it."""
    value = one.params.get(path)
    return Cell("" if value is None else format_parameter(value))


def print_comparison(compared: Comparison) -> None:
    """The table in the terminal, as far as there is room."""
    console, made = Console(), sheet(compared)
    columns = fitting(made, console.width)
    console.print(as_table(made, columns, console.width))
    for line in [*left_out(made, columns), *remarks(compared)]:
        console.print(Text(printable(line)))


def fitting(made: Sheet, width: int) -> int:
    """How many columns are shown: all of a few, folded if need be, or as many as there is room for."""
    total = len(made.headings)
    if total <= MAX_SIDE_BY_SIDE:
        return total
    return max(1, sum(taken(made, number + 1) <= width for number in range(total)))


def taken(made: Sheet, columns: int) -> int:
    """Characters that the first columns take, with the names of the lines."""
    return name_width(made) + sum(wanted(made, number) + GAP for number in range(columns))


def wanted(made: Sheet, column: int) -> int:
    """Characters that a column takes: its values have room, and so has a piece of its heading."""
    values = [line.cells[column].text for block in made.blocks for line in block.lines]
    widest = min(max(map(len, values)), MAX_CELL) + len(STAR)
    return max(widest, min(len(made.headings[column]), MAX_HEADING))


def name_width(made: Sheet) -> int:
    """Characters that the names of the lines get at least."""
    longest = max(len(line.name) for block in made.blocks for line in block.lines)
    return min(longest, MAX_CELL) + GAP


def as_table(made: Sheet, columns: int, width: int) -> Table:
    """The first columns of the table as rich draws them: the best values are starred, and green."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("", overflow="fold", min_width=name_width(made) - GAP)
    share = max(1, (width - name_width(made)) // columns - GAP)
    room = share if taken(made, columns) > width else width
    for number, heading in enumerate(made.headings[:columns]):
        fit = min(wanted(made, number), room)
        table.add_column(Text(printable(heading)), justify="right", overflow="fold", width=fit)
    for block in made.blocks:
        if block.title:
            table.add_row(Text(block.title, style="bold"))
        for line in block.lines[:MAX_LINES]:
            name = Text(printable(line.name), style="bold" if line.is_winner else "")
            table.add_row(name, *map(cell_text, line.cells[:columns]))
        table.add_section()
    return table


def left_out(made: Sheet, columns: int) -> Iterator[str]:
    """What the page shows beside the table in the terminal."""
    hidden = sum(len(block.lines[MAX_LINES:]) for block in made.blocks)
    if hidden:
        yield f"and {hidden} lines more, which the page has"
    if made.headings[columns:]:
        yield f"the page also has: {', '.join(made.headings[columns:])}"


def cell_text(cell: Cell) -> Text:
    """A cell; what is not the best has room where the best has its star."""
    if cell.is_best:
        return Text(f"{printable(cell.text)}{STAR}", style="green")
    return Text(f"{printable(cell.text)}{' ' * len(STAR)}")


def remarks(compared: Comparison) -> Iterator[str]:
    """What a reader of the table should know."""
    if any(compared.best.values()):
        yield "* the best"
    if any(figure.is_repeated for one in compared.contenders for figure in one.figures.values()):
        yield "± the standard deviation over seeds; the best are among those with the most seeds"
    yield from (f"{one.name}: {one.problem}" for one in compared.contenders if one.problem)
    if not compared.params and len(compared.contenders) > 1:
        yield "no parameter differs"
