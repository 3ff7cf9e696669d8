"""Learning curves of contenders over samples seen, as Plotly's JSON."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cosmos.compare.comparison import Contender, is_mixed, mark_of_data
from cosmos.config.figures import LOSS, TIME_SHARE, is_caveat
from cosmos.errors import DamagedDataError
from cosmos.report.plotly import PlotlyFigure, escape_for_plotly
from cosmos.report.training_plots import PLOTTED_METRICS
from cosmos.run.directory import RunDir
from cosmos.run.metrics import read_metrics

PALETTE = ("#3b82f6", "#d97706", "#16a34a", "#db2777", "#7c3aed", "#0891b2", "#a16207", "#64748b")
"""Colours that differ from each other and are visible on white and on black."""

MAX_POINTS = 400
"""Largest number of points of a curve: a plot has room for no more."""

TRAINING_CURVES = tuple(
    name for names in PLOTTED_METRICS.values() for name in names if not name.startswith(TIME_SHARE)
)
"""Metrics of training that have a plot: all that a run's own page draws, but for shares of its time."""

HEADLINE_METRIC = "R@1"
"""Ending of the metrics that are shown first."""


@dataclass(frozen=True)
class LearningCurve:
    """Values of a figure of one run, over samples seen."""

    samples: list[int]
    values: list[float]


RunCurves = dict[str, LearningCurve]
"""Learning curves of a run, by figure."""


def curve_colours(number: int) -> list[str]:
    """Return `number` colours; of many a scale from violet to orange, none of them faint."""
    if number <= len(PALETTE):
        return list(PALETTE[:number])
    return [
        f"hsl({265 - 225 * place:.0f}, 70%, {42 + 6 * place:.0f}%)"
        for place in (i / (number - 1) for i in range(number))
    ]


def learning_curves(contenders: Sequence[Contender]) -> list[PlotlyFigure]:
    """Return a plot of each metric and evaluation: a line per run, repetitions in one colour."""
    curves = [[read_curves(run, batch_size(c)) for run in c.runs] for c in contenders]
    names = drawn_names([run for runs in curves for run in runs], len(contenders))
    colours, labels = curve_colours(len(contenders)), curve_labels(contenders)
    return [
        curve_plot(
            name,
            [
                trace
                for label, runs, colour in zip(labels, curves, colours, strict=True)
                for trace in curve_traces(name, label, runs, colour)
            ],
            len(contenders),
        )
        for name in sorted(names, key=plot_order)
    ]


def drawn_names(curves: Sequence[RunCurves], num_contenders: int) -> list[str]:
    """Return the figures that have a plot: of training the loss alone where there are many contenders.

    Other metrics of training have none where they are always zero.
    """
    training = TRAINING_CURVES if num_contenders <= len(PALETTE) else (LOSS.name,)
    names = dict.fromkeys(name for run in curves for name in run)
    moving = {name for run in curves for name, curve in run.items() if any(curve.values)}
    return [name for name in names if name not in TRAINING_CURVES or (name in training and name in moving)]


def curve_labels(contenders: Sequence[Contender]) -> list[str]:
    """Return the contenders' labels, with the data that each was trained on where it differs."""
    if not is_mixed(LOSS.name, contenders):
        return [contender.label for contender in contenders]
    return [f"{contender.label} {mark_of_data(contender, LOSS.name)}" for contender in contenders]


def batch_size(contender: Contender) -> int:
    """Return the number of samples of a contender's optimisation step; 1 where its parameters are damaged."""
    size = contender.params.get("pretrain.batch_size")
    return size if isinstance(size, int) else 1


def plot_order(name: str) -> tuple[bool, bool, str]:
    """Return the sort key of a figure's plot: the loss comes first, then headline metrics, then others."""
    return name != "loss", not is_headline(name), name


def is_headline(name: str) -> bool:
    """Return True for the loss and the metrics that evaluations are judged by."""
    return name == "loss" or name.endswith(HEADLINE_METRIC)


def read_curves(run: RunDir, per_step: int) -> RunCurves:
    """Return the curves of a run; `per_step`: samples of a step.

    There are none where the file cannot be read, which the problem of the run's record names.
    """
    lines: list[dict[str, Any]] = []
    with suppress(OSError, DamagedDataError):
        lines = read_metrics(run.metrics)
    points: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in plotted_values(line):
            points.setdefault(name, []).append((line["step"] * per_step, value))
    return {
        name: LearningCurve([samples for samples, _ in kept], [value for _, value in kept])
        for name, kept in ((name, thin_points(curve)) for name, curve in points.items())
    }


def plotted_values(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the metrics of training that have a plot, and the figures of an evaluation, of a line."""
    figures = {name: line[name] for name in TRAINING_CURVES if name in line} | line.get("evaluation", {})
    for name, value in figures.items():
        if value is not None and not is_caveat(f"evaluation/{name}"):
            yield name, value


def thin_points(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most MAX_POINTS of the points, evenly spaced, the last one among them."""
    stride = -(-len(points) // MAX_POINTS)
    return list(points[::-1][:: max(stride, 1)][::-1])


def curve_traces(name: str, label: str, runs: Iterable[RunCurves], colour: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a contender's figure, one per seed; the legend has its label once."""
    curves = [run[name] for run in runs if name in run]
    for number, curve in enumerate(curves):
        yield {
            "type": "scatter",
            "mode": "lines+markers" if len(curve.values) < 30 else "lines",
            "name": escape_for_plotly(label),
            "legendgroup": escape_for_plotly(label),
            "showlegend": number == 0,
            "x": curve.samples,
            "y": curve.values,
            "line": {"color": colour, "width": 1.5, "dash": "dot" if number else "solid"},
            "marker": {"color": colour, "size": 4},
        }


def curve_plot(name: str, lines: list[dict[str, Any]], num_contenders: int) -> PlotlyFigure:
    """Return the plot of a figure; without a legend for more contenders than the palette has colours."""
    layout = {
        "xaxis": {"title": {"text": "samples"}, "rangemode": "tozero"},
        "showlegend": 1 < num_contenders <= len(PALETTE),
        "hovermode": "closest",
    }
    return PlotlyFigure(name, {"data": lines, "layout": layout}, is_headline=is_headline(name))
