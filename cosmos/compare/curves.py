"""Learning curves of contenders over the samples they have seen, as Plotly's JSON."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cosmos.compare.comparison import Contender
from cosmos.config.figures import is_caveat
from cosmos.report.plotly import PlotlyFigure, escape_for_plotly
from cosmos.run.directory import RunDir
from cosmos.run.metrics import read_metrics

PALETTE = ("#3b82f6", "#d97706", "#16a34a", "#db2777", "#7c3aed", "#0891b2", "#a16207", "#64748b")
"""Told apart, and seen, on white and on black."""

MAX_POINTS = 400
"""Points of a curve: more are not seen."""

HEADLINE = "R@1"
"""Evaluations that are shown first."""


@dataclass(frozen=True)
class Curve:
    """A figure of one run."""

    samples: list[int]
    values: list[float]


Curves = dict[str, Curve]
"""By figure."""


def colours(number: int) -> list[str]:
    """Colours for so many contenders; of many a scale from violet to yellow, the first (the best) darkest."""
    if number <= len(PALETTE):
        return list(PALETTE[:number])
    return [
        f"hsl({265 - 215 * place:.0f}, 65%, {38 + 22 * place:.0f}%)"
        for place in (i / (number - 1) for i in range(number))
    ]


def learning_curves(contenders: Sequence[Contender]) -> list[PlotlyFigure]:
    """A plot of the loss, and one of each evaluation: a line for each run, repetitions in the same colour."""
    read = [[run_curves(run, batch_size(one)) for run in one.runs] for one in contenders]
    names = dict.fromkeys(name for runs in read for run in runs for name in run)
    shades = colours(len(contenders))
    return [
        plot(
            name,
            [
                trace
                for one, runs, colour in zip(contenders, read, shades, strict=True)
                for trace in traces(name, one, runs, colour)
            ],
            len(contenders),
        )
        for name in sorted(names, key=precedence)
    ]


def batch_size(one: Contender) -> int:
    """Samples of a step."""
    return int(one.params.get("pretrain.batch_size", 1))


def precedence(name: str) -> tuple[bool, bool, str]:
    """The loss comes first, then what evaluations are judged by."""
    return name != "loss", not is_headline(name), name


def is_headline(name: str) -> bool:
    """Whether a figure is among those that are looked at first."""
    return name == "loss" or name.endswith(HEADLINE)


def run_curves(run: RunDir, per_step: int) -> Curves:
    """The curves that a run's metrics hold. Steps without a finite loss are left out, and so are ties."""
    points: dict[str, list[tuple[int, float]]] = {}
    for line in read_metrics(run.metrics):
        for name, value in evaluated(line):
            points.setdefault(name, []).append((line["step"] * per_step, value))
    return {
        name: Curve([samples for samples, _ in kept], [value for _, value in kept])
        for name, kept in ((name, thinned(found)) for name, found in points.items())
    }


def evaluated(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """What a line of metrics says of the loss, or of an evaluation."""
    figures = {"loss": line.get("loss")} | line.get("evaluation", {})
    for name, value in figures.items():
        if value is not None and not is_caveat(f"evaluation/{name}"):
            yield name, value


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MAX_POINTS of the points, evenly; the last is always among them."""
    stride = -(-len(points) // MAX_POINTS)
    return list(points[::-1][:: max(stride, 1)][::-1])


def traces(name: str, one: Contender, runs: Iterable[Curves], colour: str) -> Iterator[dict[str, Any]]:
    """A contender's lines, one a seed; the legend names it once."""
    shown = [run[name] for run in runs if name in run]
    for number, curve in enumerate(shown):
        yield {
            "type": "scatter",
            "mode": "lines+markers" if len(curve.values) < 30 else "lines",
            "name": escape_for_plotly(one.label),
            "legendgroup": escape_for_plotly(one.label),
            "showlegend": number == 0,
            "x": curve.samples,
            "y": curve.values,
            "line": {"color": colour, "width": 1.5},
            "marker": {"color": colour, "size": 4},
            "opacity": 1 if number == 0 else 0.5,
        }


def plot(name: str, lines: list[dict[str, Any]], num_contenders: int) -> PlotlyFigure:
    """Lines of a figure. Of more contenders than a legend has room for, the table says the colours."""
    layout = {
        "xaxis": {"title": {"text": "samples"}, "rangemode": "tozero"},
        "showlegend": 1 < num_contenders <= len(PALETTE),
        "hovermode": "closest",
    }
    return PlotlyFigure(name, {"data": lines, "layout": layout})
