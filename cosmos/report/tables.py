"""Results as tables: for the terminal, and in Markdown.

Names of datasets, checkpoints, models and metrics may come from strangers: they are never read as markup, and
control characters in them are shown, not sent to the terminal.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cosmos.report.published import Figures, differences_to_published
from cosmos.report.text import printable
from cosmos.run.results import overall_figures


@dataclass(frozen=True)
class DatasetScores:
    """What a checkpoint's models score on a dataset, and what there is to compare it with."""

    dataset: str
    checkpoint: str
    models: Mapping[str, Figures]
    """figures of the student, the teacher or the baseline"""
    chance: Figures
    """what guessing scores; empty where nothing is known of it"""
    published: Figures
    """what is published of the checkpoint's teacher; empty where nothing is"""
    note: str = ""
    """what a reader should know of the dataset, such as that a part of it is missing"""


@dataclass(frozen=True)
class MetricColumn:
    """A metric as tables show it."""

    metric: str
    heading: str
    form: str = ".1%"
    """format of its values; of percentages the sign is left out"""

    def cell(self, figures: Figures, sign: str = "") -> str:
        """The metric's value, or `-` where there is none. `sign`: how a format says which signs are shown."""
        if self.metric not in figures:
            return _ABSENT
        return format(figures[self.metric], sign + self.form).removesuffix("%")


@dataclass(frozen=True)
class ScoreRow:
    """A line below a dataset's name."""

    name: str
    cells: tuple[str, ...]
    style: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """Datasets that were measured by the same metrics on the same checkpoint, as text."""

    checkpoint: str
    headings: tuple[str, ...]
    blocks: tuple[tuple[str, list[ScoreRow]], ...]
    """datasets with their rows, which have a cell for each heading"""
    notes: list[str]


_ABSENT = "-"

_NAMES_WIDTH = 15
"""Characters of a line of names in the terminal: as many as retrieval's figures leave of eighty."""

_SIGNED = "+z"
"""A plus or minus sign always, and no minus before what rounds to zero."""

_COMPARED = ("teacher", "baseline")
"""Models that published figures are compared with, the first that was measured: those are a teacher's."""

_COLUMNS = {
    "retrieval": tuple(
        MetricColumn(f"{direction}_{metric}", f"{short} {heading}", form)
        for direction, short in (("image_to_text", "I2T"), ("text_to_image", "T2I"))
        for metric, heading, form in (
            ("R@1", "R@1", ".1%"),
            ("R@5", "R@5", ".1%"),
            ("R@10", "R@10", ".1%"),
            ("mean_rank", "mean rank", ".1f"),
            ("median_rank", "median rank", ".0f"),
        )
    ),
    "classification": (
        MetricColumn("top1", "top-1"),
        MetricColumn("top5", "top-5"),
        MetricColumn("mean_per_class", "mean per class"),
    ),
    "segmentation": (
        MetricColumn("csa_mIoU", "CSA mIoU"),
        MetricColumn("csa_accuracy", "CSA accuracy"),
        MetricColumn("plain_mIoU", "plain mIoU"),
        MetricColumn("plain_accuracy", "plain accuracy"),
    ),
}
"""What tables show of the suites whose datasets all have the same metrics."""

_TIES = {
    "image_to_text_ties": "I2T: {:.1%} of queries tie with a wrong candidate; ties count as won",
    "text_to_image_ties": "T2I: {:.1%} of queries tie with a wrong candidate; ties count as won",
    "ties": "top-1: {:.1%} of images tie with a wrong class; a tie counts as its chance of being won",
}
"""Notes on metrics that say how far ties make others look better than they are."""

_TOLD_TIES = 0.0005
"""Smallest share of ties that is told: among many candidates, a few floats are equal by accident."""


def results_table(title: str, suite: str, measured: Sequence[DatasetScores]) -> Group:
    """Results of a suite as tables for the terminal, one for each checkpoint and set of metrics.

    Below each dataset's name stand its models, what is published, by how much the teacher (or baseline)
    exceeds that, and guessing. Shares are in percent; ranks count from 1. What is not known is shown as `-`.
    """
    parts: list[Text | Table] = []
    for (checkpoint, columns), part in _grouped(suite, measured).items():
        notes = map(Text, _notes(part, printable))
        parts += [Text(printable(f"{title}: {checkpoint}")), _table(columns, part), *notes, Text()]
    return Group(*parts)


def results_markdown(title: str, suite: str, measured: Sequence[DatasetScores]) -> str:
    """The same tables in Markdown, each with the title above it and its notes below."""
    tables = _grouped(suite, measured).items()
    return "\n".join(_markdown(f"{title}: {name}", columns, part) for (name, columns), part in tables)


def score_tables(suite: str, measured: Sequence[DatasetScores]) -> list[ScoreTable]:
    """The same tables as plain text, in which names are as they were given."""
    return [
        ScoreTable(
            checkpoint=checkpoint,
            headings=tuple(column.heading for column in columns),
            blocks=tuple((one.dataset, _rows(one, columns)) for one in part),
            notes=_notes(part, str),
        )
        for (checkpoint, columns), part in _grouped(suite, measured).items()
    ]


def _grouped(
    suite: str, measured: Sequence[DatasetScores]
) -> dict[tuple[str, tuple[MetricColumn, ...]], list[DatasetScores]]:
    """What belongs in a table together: what has the same checkpoint and columns."""
    groups: dict[tuple[str, tuple[MetricColumn, ...]], list[DatasetScores]] = {}
    for one in measured:
        columns = _COLUMNS[suite] if suite in _COLUMNS else _own_columns(one)
        groups.setdefault((one.checkpoint, columns), []).append(one)
    return groups


def _own_columns(one: DatasetScores) -> tuple[MetricColumn, ...]:
    """The metrics that models were measured by, but not those of single classes."""
    metrics = dict.fromkeys(metric for figures in one.models.values() for metric in overall_figures(figures))
    return tuple(MetricColumn(metric, metric) for metric in metrics)


def _table(columns: Sequence[MetricColumn], measured: Sequence[DatasetScores]) -> Table:
    """A table in which headings and names are folded where there is no room for them, but no figure is."""
    blocks = [(Text(printable(one.dataset), style="bold"), _rows(one, columns)) for one in measured]
    rows = [row for _, block in blocks for row in block]
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("", overflow="fold", width=_NAMES_WIDTH)
    for number, column in enumerate(columns):
        heading = Text(re.sub("[ _]", "\n", printable(column.heading)))
        widest = max(len(row.cells[number]) for row in rows)
        table.add_column(heading, justify="right", overflow="fold", min_width=widest)
    for dataset, block in blocks:
        table.add_row(dataset)
        for row in block:
            table.add_row(Text(f"  {printable(row.name)}"), *row.cells, style=row.style)
    return table


def _markdown(title: str, columns: Sequence[MetricColumn], measured: Sequence[DatasetScores]) -> str:
    lines = [
        ("dataset", "model", *(_escaped(column.heading) for column in columns)),
        (":--", ":--", *["--:"] * len(columns)),
        *(
            (_escaped(one.dataset), _escaped(row.name), *row.cells)
            for one in measured
            for row in _rows(one, columns)
        ),
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([f"**{_escaped(title)}**", table, *_notes(measured, _escaped)]) + "\n"


def _rows(one: DatasetScores, columns: Sequence[MetricColumn]) -> list[ScoreRow]:
    """A dataset's models, then what they are compared with, as far as there is something."""
    rows = [ScoreRow(name, _cells(figures, columns)) for name, figures in one.models.items()]
    if one.published:
        compared: Figures = next((one.models[name] for name in _COMPARED if name in one.models), {})
        rows += [
            ScoreRow("published", _cells(one.published, columns)),
            ScoreRow(
                "difference", _cells(differences_to_published(compared, one.published), columns, _SIGNED)
            ),
        ]
    if one.chance:
        rows.append(ScoreRow("chance", _cells(one.chance, columns), style="dim"))
    return rows


def _cells(figures: Figures, columns: Sequence[MetricColumn], sign: str = "") -> tuple[str, ...]:
    return tuple(column.cell(figures, sign) for column in columns)


def _notes(measured: Sequence[DatasetScores], literal: Callable[[str], str]) -> list[str]:
    """A line for each dataset's note, and for all that ties make look better. Names are made `literal`."""
    notes = [f"{literal(one.dataset)}: {literal(one.note)}" for one in measured if one.note]
    ties = [
        f"{literal(one.dataset)}, {literal(name)} {note.format(figures[metric])}"
        for one in measured
        for name, figures in one.models.items()
        for metric, note in _TIES.items()
        if figures.get(metric, 0) >= _TOLD_TIES
    ]
    return notes + ties


def _escaped(text: str) -> str:
    """`text` as Markdown that shows it literally, on one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", printable(text))
