"""Results as tables: for the terminal, and in Markdown.

Names of datasets, checkpoints and models may come from strangers: they are never read as markup, and control
characters in them are shown, not sent to the terminal.
"""

import re
from collections.abc import Mapping

from rich import box
from rich.table import Table
from rich.text import Text

Figures = Mapping[str, float]

_DIRECTIONS = {"image_to_text": "I2T", "text_to_image": "T2I"}
_FIGURES = {
    "R@1": ("R@1", "{:.1%}"),
    "R@5": ("R@5", "{:.1%}"),
    "R@10": ("R@10", "{:.1%}"),
    "mean_rank": ("mean rank", "{:.1f}"),
    "median_rank": ("median rank", "{:.0f}"),
}
"""Heading and format of what a table shows of each direction."""

_ABSENT = "-"

_TOLD_TIES = 0.0005
"""Smallest share of tied queries that is told: among many candidates, a few floats are equal by accident."""


def results_table(title: str, rows: Mapping[str, Figures], chance: Figures) -> Table:
    """Retrieval metrics as a table for the terminal: a row for each model, then one for guessing.

    Recalls are in percent; ranks count from 1. Metrics that a row lacks are shown as `-`.
    """
    shown = {_printable(name): figures for name, figures in rows.items()}
    table = Table(
        title=Text(_printable(title)),
        title_justify="left",
        caption=Text("\n".join(_tie_notes(shown))),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", overflow="fold")
    for heading in _headings():
        table.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    for name, figures in shown.items():
        table.add_row(Text(name), *_cells(figures))
    table.add_row("chance", *_cells(chance), style="dim")
    return table


def results_markdown(title: str, rows: Mapping[str, Figures], chance: Figures) -> str:
    """The same table in Markdown, with the title above it and notes on ties below."""
    shown = {_escaped(name): figures for name, figures in rows.items()}
    lines = [
        ("model", *_headings()),
        (":--", *["--:"] * len(_headings())),
        *((name, *_cells(figures)) for name, figures in shown.items()),
        ("chance", *_cells(chance)),
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([f"**{_escaped(title)}**", table, *_tie_notes(shown)]) + "\n"


def _headings() -> list[str]:
    return [f"{short} {heading}" for short in _DIRECTIONS.values() for heading, _ in _FIGURES.values()]


def _cells(figures: Figures) -> list[str]:
    """The figures of a row, in the order of the headings."""
    return [
        form.format(figures[key]).removesuffix("%") if (key := f"{direction}_{name}") in figures else _ABSENT
        for direction in _DIRECTIONS
        for name, (_, form) in _FIGURES.items()
    ]


def _tie_notes(rows: Mapping[str, Figures]) -> list[str]:
    """A line for each row and direction in which ties make ranks look better than they are."""
    return [
        f"{name} {short}: {figures[key]:.1%} of queries tie with a wrong candidate; ties count as won"
        for name, figures in rows.items()
        for direction, short in _DIRECTIONS.items()
        if figures.get(key := f"{direction}_ties", 0) >= _TOLD_TIES
    ]


def _printable(text: str) -> str:
    """`text` with its control characters, line breaks and direction marks as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _escaped(text: str) -> str:
    """`text` as Markdown that shows it literally, on one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", _printable(text))
