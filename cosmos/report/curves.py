"""Losses over the steps of a pretraining: charts, a CSV, and the figures that it ended with."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from statistics import median
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cosmos.config.figures import DISTILL_LOSSES, LOSS, SAMPLES, SAMPLES_PER_SECOND, STEP, TOTAL_LOSSES
from cosmos.config.printable_text import harmless_cell
from cosmos.errors import DamagedDataError

MetricsLine = Mapping[str, Any]
"""Line of metrics.jsonl."""

TOTALS = tuple(metric.name for metric in TOTAL_LOSSES)
TERMS = tuple(metric.name for metric in DISTILL_LOSSES)

ENDING = (STEP.name, SAMPLES.name, SAMPLES_PER_SECOND.name)
"""Values that the last line of a training has."""

_COLOURS = ("#3b82f6", "#d97706", "#16a34a", "#db2777")
"""Colours that can be distinguished, on white and on black."""

_FRAME = "#808080"

_STYLE = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": _FRAME,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _FRAME,
    "ytick.color": _FRAME,
    "grid.color": _FRAME,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
}

_OMITTED_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""Metadata left out of a drawing: dates, which would make equal drawings differ, and what nobody reads."""


@dataclass(frozen=True)
class LossChart:
    """Curves over the steps that share an axis, as SVG."""

    title: str
    svg: str


def training_lines(lines: Sequence[MetricsLine]) -> list[MetricsLine]:
    """Return the lines of training steps: not of evaluations, nor of steps that were skipped."""
    return [line for line in lines if line.get(LOSS.name) is not None]


def final_figures(lines: Sequence[MetricsLine]) -> dict[str, float]:
    """Return the losses of the last line, the steps and samples until then, and the median speed.

    Raises DamagedDataError for no line, and where the last one lacks one of them.
    """
    last = lines[-1] if lines else {}
    if lacking := [key for key in ENDING if last.get(key) is None]:
        raise DamagedDataError(f"the last line of training has no {', '.join(lacking)}")
    rates = [line[SAMPLES_PER_SECOND.name] for line in lines if line.get(SAMPLES_PER_SECOND.name) is not None]
    losses = {term: last[term] for term in (*TOTALS, *TERMS) if last.get(term) is not None}
    ended = {"steps": last[STEP.name], SAMPLES.name: last[SAMPLES.name]}
    return {**ended, **losses, SAMPLES_PER_SECOND.name: median(rates)}


def lines_as_csv(lines: Sequence[MetricsLine]) -> str:
    """Return the lines as CSV, with a column for every key. Missing values stay empty."""
    columns = dict.fromkeys(column for line in lines for column in line)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(harmless_cell, columns))
    writer.writerows([line.get(column) for column in columns] for line in lines)
    return text.getvalue()


def loss_charts(lines: Sequence[MetricsLine]) -> tuple[LossChart, ...]:
    """Return charts of the loss and its parts, and of the distillation's terms, without those always zero."""
    charts = ("Loss", TOTALS), ("Terms of the distillation", TERMS)
    present = [
        (title, [c for c in columns if any(line.get(c) for line in lines)]) for title, columns in charts
    ]
    return tuple(LossChart(title, _svg(title, lines, columns)) for title, columns in present if columns)


def _svg(title: str, lines: Sequence[MetricsLine], columns: Sequence[str]) -> str:
    """Return an <svg> element of these columns over the steps: the same curves are the same text.

    Elements with different titles share no id, so that a page can hold both.
    """
    with style.context(["default", _STYLE, {"svg.hashsalt": title}]):
        figure = Figure(figsize=(6, 3.4), layout="constrained")
        axes = figure.add_subplot(xlabel="step")
        for column, colour in zip(columns, _COLOURS, strict=False):
            points = [(line[STEP.name], line[column]) for line in lines if line.get(column) is not None]
            marker = "o" if len(points) == 1 else ""
            label = column.removeprefix("distill_").replace("_", " ")
            axes.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, linewidth=1.5)
        axes.grid()
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
        figure.legend(loc="outside upper left", ncols=len(columns))
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=_OMITTED_METADATA)
    return re.sub(r'<g id="[^"]*"', "<g", text.getvalue()[text.getvalue().index("<svg") :])
