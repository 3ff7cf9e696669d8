"""Plots of a study by Optuna, as Plotly's JSON."""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import optuna
from optuna import visualization
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState
from plotly.colors import sample_colorscale

from cosmos.report.plotly import PlotlyFigure, escape_for_plotly
from cosmos.run.sweep_directory import SweepDir
from cosmos.search.study import objective_importances
from cosmos.search.study_of_records import study_of_records

COLUMN_WIDTH = 150
"""Pixels per parameter in a plot that shows them side by side."""

VISIBLE_COLOURS = [[0.0, "#f59e0b"], [0.5, "#db2777"], [1.0, "#4f46e5"]]
"""Scale of colours, all of which are visible on white and on black."""

OWN_LAYOUT = ("title", "template", "width", "height", "plot_bgcolor")
"""Parts of a plot's layout that the page decides."""

StudyPlot = Callable[..., Any]
"""Function of Optuna that draws a plot of a study."""

MAX_FRONT_OBJECTIVES = 3
"""Largest number of objectives of which a Pareto front is drawn."""


def plot_study(folder: SweepDir) -> list[PlotlyFigure]:
    """Return Optuna's plots of a sweep. InputError and DamagedDataError for a definition that is none."""
    sweep = folder.sweep()
    objectives = [objective.figure for objective in sweep.file.objectives]
    return study_plots(study_of_records(sweep, folder), objectives)


def study_plots(study: optuna.Study, objectives: Sequence[str]) -> list[PlotlyFigure]:
    """Return Optuna's plots of a study, without those for which its trials are too few or too alike."""
    escaped = escaped_study(study)
    if not any(trial.state == TrialState.COMPLETE for trial in escaped.trials):
        return []
    return [
        *pareto_front_plot(escaped, objectives),
        *plots_of_objectives(escaped, objectives),
        *intermediate_values_plot(escaped),
    ]


def escaped_study(study: optuna.Study) -> optuna.Study:
    """Return a copy of a study in memory whose texts Plotly shows literally."""
    copy = optuna.create_study(directions=study.directions)
    copy.add_trials([escaped_trial(trial) for trial in study.get_trials(deepcopy=False)])
    return copy


def escaped_trial(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy of a trial whose texts Plotly shows literally."""
    return optuna.trial.create_trial(
        state=trial.state,
        values=trial.values,
        params={escape_for_plotly(name): escaped_value(value) for name, value in trial.params.items()},
        distributions={
            escape_for_plotly(name): escaped_distribution(distribution)
            for name, distribution in trial.distributions.items()
        },
        intermediate_values=trial.intermediate_values,
    )


def escaped_value(value: Any) -> Any:
    """Return a value, escaped for Plotly where it is text."""
    return escape_for_plotly(value) if isinstance(value, str) else value


def escaped_distribution(distribution: BaseDistribution) -> BaseDistribution:
    """Return a distribution with its choices escaped for Plotly."""
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution([escaped_value(choice) for choice in distribution.choices])
    return distribution


def pareto_front_plot(study: optuna.Study, objectives: Sequence[str]) -> Iterator[PlotlyFigure]:
    """Yield the Pareto front of two or three objectives."""
    if 1 < len(objectives) <= MAX_FRONT_OBJECTIVES:
        draw = partial(visualization.plot_pareto_front, study, target_names=axis_titles(objectives))
        yield from plotly_figure("Pareto front", draw, COLUMN_WIDTH * (len(objectives) + 1))


def plots_of_objectives(study: optuna.Study, objectives: Sequence[str]) -> Iterator[PlotlyFigure]:
    """Yield the plots of each objective."""
    for index, (objective, title) in enumerate(zip(objectives, axis_titles(objectives), strict=True)):
        yield from plots_of_objective(single_objective_study(study, index), objective, title)


def single_objective_study(study: optuna.Study, index: int) -> optuna.Study:
    """Return a copy of a study with one of its objectives: Optuna's plots then mark its best values."""
    single = optuna.create_study(direction=study.directions[index])
    single.add_trials([single_objective_trial(trial, index) for trial in study.get_trials(deepcopy=False)])
    return single


def single_objective_trial(trial: FrozenTrial, index: int) -> FrozenTrial:
    """Return a copy of a trial with one of its objectives."""
    return optuna.trial.create_trial(
        state=trial.state,
        value=trial.values[index] if trial.values else None,
        params=trial.params,
        distributions=trial.distributions,
    )


def axis_titles(objectives: Sequence[str]) -> list[str]:
    """Return short titles of objectives: the metrics alone, unless two are the same."""
    short = [objective.rpartition("/")[2] for objective in objectives]
    return [escape_for_plotly(name) for name in (short if len(set(short)) == len(short) else objectives)]


def plots_of_objective(study: optuna.Study, objective: str, axis_title: str) -> Iterator[PlotlyFigure]:
    """Yield history, importances, parallel coordinates and slices of a study's only objective.

    Importances are left out where they are withheld.
    """
    searched = dict.fromkeys(param for trial in study.get_trials(deepcopy=False) for param in trial.params)
    width = COLUMN_WIDTH * (len(searched) + 1)
    plots: dict[str, tuple[StudyPlot, int]] = {
        "Optimization history": (visualization.plot_optimization_history, 0),
        "Parameter importances": (visualization.plot_param_importances, 0),
        "Parallel coordinates": (visualization.plot_parallel_coordinate, width),
        "Slices": (visualization.plot_slice, width),
    }
    if objective_importances(study, 0).withheld:
        del plots["Parameter importances"]
    for title, (draw, min_width) in plots.items():
        drawn = partial(draw, study, target_name=axis_title)
        yield from plotly_figure(f"{title}: {objective}", drawn, min_width)


def intermediate_values_plot(study: optuna.Study) -> Iterator[PlotlyFigure]:
    """Yield the values that trials reported while they trained, where any did."""
    if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        yield from plotly_figure("Intermediate values", lambda: visualization.plot_intermediate_values(study))


def plotly_figure(title: str, draw: Callable[[], Any], min_width: int = 0) -> Iterator[PlotlyFigure]:
    """Yield the plot that `draw` makes, unless Optuna finds nothing to draw."""
    with suppress(ValueError, RuntimeError), warnings.catch_warnings(action="ignore"):
        figure = json.loads(draw().to_json())
        if figure["data"]:
            layout = {key: value for key, value in figure["layout"].items() if key not in OWN_LAYOUT}
            notes = [without_colour(note) for note in layout.get("annotations", [])]
            traces = [with_visible_colours(trace) for trace in figure["data"]]
            yield PlotlyFigure(title, {"data": traces, "layout": layout | {"annotations": notes}}, min_width)


def with_visible_colours(trace: dict[str, Any]) -> dict[str, Any]:
    """Return a trace in colours that are visible on white and on black, where Optuna's begin with white.

    The line of a trial through parallel coordinates has the colour of its objective, where it begins.
    """
    if "colorscale" in trace.get("marker", {}):
        return trace | {"marker": {**trace["marker"], "colorscale": VISIBLE_COLOURS, "reversescale": False}}
    if trace.get("mode") == "lines" and "customdata" in trace:
        (colour,) = sample_colorscale(VISIBLE_COLOURS, [min(max(trace["y"][0], 0), 1)])
        return trace | {"opacity": 1, "line": {**trace["line"], "color": colour, "width": 1.75}}
    return trace


def without_colour(note: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation in the colour of the page's text, light or dark."""
    return note | {"font": {key: value for key, value in note.get("font", {}).items() if key != "color"}}
