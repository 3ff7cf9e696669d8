"""Plots of a training for a page: every curve of metrics.jsonl, of a run or of two on the same axes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cosmos.config.figures import (
    DEVICE_MEMORY,
    EVALUATION,
    SAMPLES_PER_SECOND,
    STEP,
    TIME_SHARES,
    is_caveat,
    repeated_result,
)
from cosmos.report.curves import TERMS, TOTALS, MetricsLine
from cosmos.report.plotly import PlotlyFigure, escape_for_plotly

LINE_COLOURS = ("#3b82f6", "#d97706", "#16a34a", "#db2777", "#7c3aed", "#0891b2")
"""Colours of curves that can be told apart, on white and on black."""

RESUME_COLOUR = "#808080"

MAX_CURVE_POINTS = 1000
"""Largest number of points of a curve: a plot has room for no more."""

MAX_MARKED_POINTS = 30
"""Largest number of points of a curve that are marked."""

PLOTTED_METRICS: Mapping[str, tuple[str, ...]] = {
    "Loss": TOTALS,
    "Terms of the distillation": TERMS,
    "Logit scales": ("logit_scale", "distill_logit_scale"),
    "Learning rate": ("learning_rate",),
    "Momentum of the teacher": ("momentum",),
    "Norm of the gradient": ("grad_norm",),
    "Distance of the teacher from the student": ("teacher_distance",),
    "Samples per second": (SAMPLES_PER_SECOND.name,),
    "Share of time that waits for data": ("data_wait",),
    "Shares of time by part": tuple(metric.name for metric in TIME_SHARES.values()),
    "Share of the device's peak that is used": ("mfu",),
    "Largest memory of a process, bytes": (DEVICE_MEMORY.name,),
    "Samples and steps left out": ("damaged_samples", "replaced_samples", "skipped_steps"),
}
"""Metrics of training by the title of the plot that they share."""


@dataclass(frozen=True)
class ResumeMark:
    """Step from which a later session of a run went on."""

    step: int
    words: str
    """`requeued` or `resumed`"""


@dataclass(frozen=True)
class RunTraining:
    """Training of a run, as its curves are drawn."""

    label: str
    lines: Sequence[MetricsLine]
    """lines of metrics.jsonl in order of their steps"""
    batch_size: int
    resumes: Sequence[ResumeMark] = ()


@dataclass(frozen=True)
class TrainingAxis:
    """Axis of the curves: steps, or samples where runs take batches of different sizes."""

    title: str
    per_step: Sequence[int]
    """units of the axis in a step, by run"""

    @classmethod
    def of(cls, runs: Sequence[RunTraining]) -> "TrainingAxis":
        """Return the axis that curves of these runs share."""
        sizes = [run.batch_size for run in runs]
        return cls("samples", sizes) if len(set(sizes)) > 1 else cls("step", [1] * len(runs))


def training_plots(runs: Sequence[RunTraining]) -> list[PlotlyFigure]:
    """Return the plots of a run's training and evaluations; a second run is drawn with broken lines.

    Curves that are always zero are left out, and so are plots without a curve.
    """
    axis = TrainingAxis.of(runs)
    curves = [dict(training_curves(run.lines)) for run in runs]
    titles = {**PLOTTED_METRICS, **evaluated_metrics(curves)}
    present = {name for run in curves for name in run}
    groups = {title: [name for name in names if name in present] for title, names in titles.items()}
    return [training_plot(title, names, runs, curves, axis) for title, names in groups.items() if names]


def training_curves(lines: Iterable[MetricsLine]) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    """Yield each figure that is not always zero, with its values by step; evaluations as evaluation/..."""
    points: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in {**line, **prefixed(line.get(EVALUATION) or {})}.items():
            if isinstance(value, int | float):
                points.setdefault(name, []).append((line[STEP.name], value))
    yield from ((name, curve) for name, curve in points.items() if any(value for _, value in curve))


def prefixed(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of an evaluation by their names among all figures."""
    return {f"{EVALUATION}/{name}": value for name, value in evaluation.items()}


def evaluated_metrics(curves: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the evaluations of curves by dataset and metric; student and teacher share a plot."""
    groups: dict[str, dict[str, None]] = {}
    names = (name for run in curves for name in run if name.startswith(f"{EVALUATION}/"))
    for name in names:
        if not is_caveat(name):
            groups.setdefault(evaluation_title(name), {})[name] = None
    return {title: tuple(group) for title, group in sorted(groups.items())}


def evaluation_title(name: str) -> str:
    """Return suite, dataset and metric of an evaluation: `retrieval/heldout: image_to_text_R@1`."""
    suite, dataset, _, metric = split_evaluation(name)
    return f"{suite}/{dataset}: {metric}" if metric else name


def split_evaluation(name: str) -> tuple[str, str, str, str]:
    """Return suite, dataset, model and metric of an evaluation; empty parts of a name of another form."""
    parts = repeated_result(name).split("/", 3)
    return (parts[0], parts[1], parts[2], parts[3]) if len(parts) == 4 else ("", "", name, "")


def training_plot(
    title: str,
    names: Sequence[str],
    runs: Sequence[RunTraining],
    curves: Sequence[Mapping[str, list[tuple[int, float]]]],
    axis: TrainingAxis,
) -> PlotlyFigure:
    """Return the plot of figures that share an axis, of each run."""
    traces = [
        {
            "name": escape_for_plotly(trace_name(name, run.label, len(names), len(runs))),
            **curve_trace(curves[place][name], axis.per_step[place], colour, is_second=place > 0),
        }
        for place, run in enumerate(runs)
        for name, colour in zip(names, cycle_colours(len(names)), strict=True)
        if name in curves[place]
    ]
    marks, per_step = runs[0].resumes, axis.per_step[0]
    layout = {
        "xaxis": {"title": {"text": axis.title}, "rangemode": "tozero"},
        "showlegend": len(traces) > 1,
        "hovermode": "x unified",
        "shapes": [resume_line(mark.step * per_step) for mark in marks],
        "annotations": [resume_label(mark.step * per_step, mark.words) for mark in marks],
    }
    return PlotlyFigure(title, {"data": traces, "layout": layout})


def cycle_colours(number: int) -> list[str]:
    """Return `number` colours, which repeat where there are more than LINE_COLOURS."""
    return [LINE_COLOURS[place % len(LINE_COLOURS)] for place in range(number)]


def trace_name(name: str, run: str, num_names: int, num_runs: int) -> str:
    """Return the name of a curve in a legend: its figure, its run, or both where there are several."""
    parts = [curve_label(name)] * (num_names > 1 or num_runs == 1) + [run] * (num_runs > 1)
    return ", ".join(parts)


def curve_trace(
    points: Sequence[tuple[int, float]], per_step: int, colour: str, *, is_second: bool
) -> dict[str, Any]:
    """Return a curve; that of a second run is broken."""
    shown = thin_curve(points)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(shown) <= MAX_MARKED_POINTS else "lines",
        "x": [step * per_step for step, _ in shown],
        "y": [float(f"{value:.6g}") for _, value in shown],
        "line": {"color": colour, "width": 1.75, "dash": "dash" if is_second else "solid"},
        "marker": {"color": colour, "size": 4},
    }


def curve_label(name: str) -> str:
    """Return the name of a curve in a legend: the model of an evaluation, or the metric in words."""
    if name.startswith(f"{EVALUATION}/"):
        return split_evaluation(name)[2]
    return (name.removeprefix("distill_") if name in TERMS else name).replace("_", " ")


def thin_curve(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most MAX_CURVE_POINTS of a curve: of each stretch its lowest and its highest point.

    So spikes stay. The first and the last point are among them.
    """
    if len(points) <= MAX_CURVE_POINTS:
        return list(points)
    stride = -(-2 * len(points) // (MAX_CURVE_POINTS - 2))
    stretches = (points[start : start + stride] for start in range(0, len(points), stride))
    extremes = (point for part in stretches for point in {min(part, key=value_of), max(part, key=value_of)})
    return sorted({points[0], points[-1], *extremes})


def value_of(point: tuple[int, float]) -> float:
    """Return the value of a point of a curve."""
    return point[1]


def resume_line(place: int) -> dict[str, Any]:
    """Return the line across a plot where a session went on."""
    return {
        **{"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "yref": "paper"},
        "line": {"color": RESUME_COLOUR, "width": 1, "dash": "dot"},
    }


def resume_label(place: int, words: str) -> dict[str, Any]:
    """Return the word at the line of a session."""
    anchor = {"x": place, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top"}
    return {**anchor, "text": words, "showarrow": False, "font": {"size": 10, "color": RESUME_COLOUR}}
