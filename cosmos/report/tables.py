"""Results as tables: for the terminal, and in Markdown.

Names of datasets, checkpoints, models and metrics may come from strangers: they are never read as markup, and
control characters in them are shown, not sent to the terminal.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from rich import box
from rich.table import Table

from cosmos.config.figures import (
    IMAGE_TO_TEXT,
    MEAN_IOU,
    MEAN_PER_CLASS,
    PIXEL_ACCURACY,
    RECALLS,
    TEXT_TO_IMAGE,
    TIES,
    TOP1,
    TOP5,
    Figures,
    Metric,
    RetrievalMetrics,
    Unit,
    with_attention,
)
from cosmos.config.number_text import format_share
from cosmos.config.printable_text import printable
from cosmos.report.markdown import markdown_text
from cosmos.report.published import differences_to_published
from cosmos.report.terminal import Terminal, plain_text
from cosmos.run.results import overall_figures
from cosmos.run.statistics.intervals import LEVEL_TEXT, interval_of


@dataclass(frozen=True)
class DatasetScores:
    """Figures of a checkpoint's models on a dataset, and those to compare them with."""

    dataset: str
    checkpoint: str
    models: Mapping[str, Figures]
    """figures of the student, the teacher or the baseline"""
    chance: Figures
    """expected scores of guessing; empty where they are not known"""
    published: Figures
    """published figures of the checkpoint's teacher; empty where there are none"""
    note: str = ""
    """remark on the dataset, such as that a part of it is missing"""
    intervals: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    """ends of the intervals that the models' figures have, by metric"""


FORMATS: dict[Unit, str] = {"share": ".1%", "rank": ".1f"}
"""Formats of values by unit; of percentages the sign is left out."""


@dataclass(frozen=True)
class MetricColumn:
    """Column of a table: a metric, its heading and the format of its values."""

    metric: str
    heading: str
    form: str

    @classmethod
    def of(cls, metric: Metric, heading: str, form: str = "") -> Self:
        """Return the column of a declared metric, in its unit's format or another."""
        return cls(metric.name, heading, form or FORMATS[metric.unit])

    def cell(self, figures: Figures, sign: str = "") -> str:
        """Return the metric's value, or `-` where there is none. `sign`: option of a format for signs."""
        if self.metric not in figures:
            return _ABSENT
        value = figures[self.metric]
        if self.form == FORMATS["share"] and not sign:
            return format_share(value).removesuffix("%")
        return format(value, sign + self.form).removesuffix("%")


@dataclass(frozen=True)
class ScoreRow:
    """Row of a table, below a dataset's name."""

    name: str
    cells: tuple[str, ...]
    style: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """Table, as text, of datasets that were measured by the same metrics on the same checkpoint."""

    checkpoint: str
    headings: tuple[str, ...]
    blocks: tuple[tuple[str, list[ScoreRow]], ...]
    """datasets with their rows, which have a cell for each heading"""
    notes: list[str]


_ABSENT = "-"

_HEADING_WIDTH = 4
"""Characters of a line of a heading in the terminal, at least."""

_SIGNED = "+z"
"""Sign of a format: always a plus or minus, and no minus before what rounds to zero."""

_COMPARED = ("teacher", "baseline")
"""Models that published figures, which are a teacher's, are compared with: the first that was measured."""


def _retrieval_columns(metrics: RetrievalMetrics, direction: str) -> tuple[MetricColumn, ...]:
    """Return the columns of one direction of retrieval."""
    return (
        *(MetricColumn.of(metrics.recall(k), f"{direction} R@{k}") for k in RECALLS),
        MetricColumn.of(metrics.mean_rank, f"{direction} mean rank"),
        MetricColumn.of(metrics.median_rank, f"{direction} median rank", ".0f"),
    )


_COLUMNS = {
    "retrieval": (*_retrieval_columns(IMAGE_TO_TEXT, "I2T"), *_retrieval_columns(TEXT_TO_IMAGE, "T2I")),
    "classification": (
        MetricColumn.of(TOP1, "top-1"),
        MetricColumn.of(TOP5, "top-5"),
        MetricColumn.of(MEAN_PER_CLASS, "mean per class"),
    ),
    "segmentation": (
        MetricColumn.of(with_attention(MEAN_IOU, "csa"), "CSA mIoU"),
        MetricColumn.of(with_attention(PIXEL_ACCURACY, "csa"), "CSA accuracy"),
        MetricColumn.of(with_attention(MEAN_IOU, "plain"), "plain mIoU"),
        MetricColumn.of(with_attention(PIXEL_ACCURACY, "plain"), "plain accuracy"),
    ),
}
"""Columns of the suites whose datasets all have the same metrics."""

_TIES = {
    IMAGE_TO_TEXT.ties.name: "I2T: {:.1%} of queries tie with a wrong candidate; ties count as won",
    TEXT_TO_IMAGE.ties.name: "T2I: {:.1%} of queries tie with a wrong candidate; ties count as won",
    TIES.name: "top-1: {:.1%} of images tie with a wrong class; a tie counts as its chance of being won",
}
"""Notes by metric: shares of ties, which may make other figures better than they are."""

_MIN_SHARE_OF_TIES = 0.0005
"""Smallest share of ties that is noted: among many candidates, a few floats are equal by accident."""


def print_results(title: str, suite: str, measured: Sequence[DatasetScores], terminal: Terminal) -> None:
    """Print results of a suite as tables, one for each checkpoint and set of metrics.

    A dataset has a row for each model and one for the margins of its intervals, one for published figures,
    one for the difference of the teacher (or baseline) to them, and one for guessing. Shares are in percent;
    ranks count from 1; `-`: no value.
    """
    for (checkpoint, columns), part in _group_by_table(suite, measured).items():
        terminal.print(plain_text(printable(f"{title}: {checkpoint}")), soft_wrap=True)
        terminal.print_table(_table(columns, part))
        for note in _notes(part, printable):
            terminal.print(plain_text(note))
        terminal.print()


def results_markdown(title: str, suite: str, measured: Sequence[DatasetScores]) -> str:
    """Return the tables of `print_results` in Markdown, each with the title above it and its notes below."""
    tables = _group_by_table(suite, measured).items()
    return "\n".join(_markdown(f"{title}: {name}", columns, part) for (name, columns), part in tables)


def score_tables(suite: str, measured: Sequence[DatasetScores]) -> list[ScoreTable]:
    """Return the tables of `print_results` as plain text, in which names are as they were given."""
    return [
        ScoreTable(
            checkpoint=checkpoint,
            headings=tuple(column.heading for column in columns),
            blocks=tuple((scores.dataset, _rows(scores, columns)) for scores in part),
            notes=_notes(part, str),
        )
        for (checkpoint, columns), part in _group_by_table(suite, measured).items()
    ]


def _group_by_table(
    suite: str, measured: Sequence[DatasetScores]
) -> dict[tuple[str, tuple[MetricColumn, ...]], list[DatasetScores]]:
    """Return the datasets of each table: those with the same checkpoint and columns."""
    groups: dict[tuple[str, tuple[MetricColumn, ...]], list[DatasetScores]] = {}
    for scores in measured:
        columns = _COLUMNS[suite] if suite in _COLUMNS else _own_columns(scores)
        groups.setdefault((scores.checkpoint, columns), []).append(scores)
    return groups


def _own_columns(scores: DatasetScores) -> tuple[MetricColumn, ...]:
    """Return a column for each metric that models were measured by, without those of single classes."""
    metrics = dict.fromkeys(
        metric for figures in scores.models.values() for metric in overall_figures(figures)
    )
    return tuple(MetricColumn(metric, metric, FORMATS["share"]) for metric in metrics)


def _table(columns: Sequence[MetricColumn], measured: Sequence[DatasetScores]) -> Table:
    """Return a table that folds headings where there is no room for them, but no name and no figure."""
    blocks = [(scores.dataset, _rows(scores, columns)) for scores in measured]
    rows = [row for _, block in blocks for row in block]
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("")
    for number, column in enumerate(columns):
        heading = plain_text(re.sub("[ _]", "\n", printable(column.heading)))
        widest = max(len(row.cells[number]) for row in rows)
        table.add_column(heading, justify="right", overflow="fold", min_width=max(widest, _HEADING_WIDTH))
    for dataset, block in blocks:
        table.add_row(plain_text(printable(dataset), style="bold"))
        for row in block:
            table.add_row(plain_text(f"  {printable(row.name)}"), *row.cells, style=row.style)
    return table


def _markdown(title: str, columns: Sequence[MetricColumn], measured: Sequence[DatasetScores]) -> str:
    lines = [
        ("dataset", "model", *(markdown_text(column.heading) for column in columns)),
        (":--", ":--", *["--:"] * len(columns)),
        *(
            (markdown_text(scores.dataset), markdown_text(row.name), *row.cells)
            for scores in measured
            for row in _rows(scores, columns)
        ),
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([f"**{markdown_text(title)}**", table, *_notes(measured, markdown_text)]) + "\n"


def _rows(scores: DatasetScores, columns: Sequence[MetricColumn]) -> list[ScoreRow]:
    """Return a row for each of a dataset's models, and for what they are compared with."""
    rows: list[ScoreRow] = []
    for model, figures in scores.models.items():
        margins = _margins(scores, model, columns)
        rows += [ScoreRow(model, _cells(figures, columns))]
        rows += [ScoreRow(f"± {LEVEL_TEXT}", margins, style="dim")] if any(margins) else []
    if scores.published:
        compared: Figures = next((scores.models[model] for model in _COMPARED if model in scores.models), {})
        differences = differences_to_published(compared, scores.published)
        rows += [
            ScoreRow("published", _cells(scores.published, columns)),
            ScoreRow("difference", _cells(differences, columns, _SIGNED)),
        ]
    if scores.chance:
        rows.append(ScoreRow("chance", _cells(scores.chance, columns), style="dim"))
    return rows


def _margins(scores: DatasetScores, model: str, columns: Sequence[MetricColumn]) -> tuple[str, ...]:
    """Return the distance of a model's figures to the farther end of their intervals; "" where none is."""
    intervals = [interval_of(scores.intervals, model, column.metric) for column in columns]
    figures = [scores.models[model].get(column.metric, math.nan) for column in columns]
    return tuple(
        format_share(interval.margin(figure)).removesuffix("%") if interval else ""
        for interval, figure in zip(intervals, figures, strict=True)
    )


def _cells(figures: Figures, columns: Sequence[MetricColumn], sign: str = "") -> tuple[str, ...]:
    return tuple(column.cell(figures, sign) for column in columns)


def _notes(measured: Sequence[DatasetScores], escape: Callable[[str], str]) -> list[str]:
    """Return a line for each dataset's note and each model's share of ties that matters; escape names."""
    notes = [f"{escape(scores.dataset)}: {escape(scores.note)}" for scores in measured if scores.note]
    ties = [
        f"{escape(scores.dataset)}, {escape(model)} {note.format(figures[metric])}"
        for scores in measured
        for model, figures in scores.models.items()
        for metric, note in _TIES.items()
        if figures.get(metric, 0) >= _MIN_SHARE_OF_TIES
    ]
    return notes + ties
