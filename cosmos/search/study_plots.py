"""Optuna's plots of a study, as Plotly's JSON."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import optuna
from optuna import visualization
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from cosmos.config.machine import Machine
from cosmos.errors import CosmosError
from cosmos.registry.sweep_directory import SweepDir
from cosmos.report.plotly import PlotlyFigure, escape_for_plotly
from cosmos.search.study import load_study

logger = logging.getLogger(__name__)

COLUMN_WIDTH = 150
"""Pixels that a parameter needs in a plot of them side by side."""

MAX_PLANE = 3
"""Objectives that a Pareto front is drawn of."""


def plot_study(folder: SweepDir, machine: Machine) -> list[PlotlyFigure]:
    """Return Optuna's plots of a sweep; none where its study cannot be read, which is logged."""
    objectives = [objective.figure for objective in folder.sweep().file.objectives]
    try:
        return study_plots(load_study(folder, machine), objectives)
    except CosmosError as error:
        logger.warning("no plots of %s: %s", folder.path.name, error)
        return []


def study_plots(study: optuna.Study, objectives: Sequence[str]) -> list[PlotlyFigure]:
    """What Optuna draws of a study. Plots that its trials are too few or too alike for are left out."""
    legible = readable(study)
    if not any(trial.state == TrialState.COMPLETE for trial in legible.trials):
        return []
    return [*front(legible, objectives), *of_objectives(legible, objectives), *intermediate(legible)]


def readable(study: optuna.Study) -> optuna.Study:
    """A copy in memory, whose words Plotly shows literally."""
    copy = optuna.create_study(directions=study.directions)
    copy.add_trials([readable_trial(trial) for trial in study.get_trials(deepcopy=False)])
    return copy


def readable_trial(trial: FrozenTrial) -> FrozenTrial:
    """A trial whose words Plotly shows literally."""
    return optuna.trial.create_trial(
        state=trial.state,
        values=trial.values,
        params={escape_for_plotly(name): literal_value(value) for name, value in trial.params.items()},
        distributions={
            escape_for_plotly(name): literal_choices(distribution)
            for name, distribution in trial.distributions.items()
        },
        intermediate_values=trial.intermediate_values,
    )


def literal_value(value: Any) -> Any:
    """The same for a value, which may be no text."""
    return escape_for_plotly(value) if isinstance(value, str) else value


def literal_choices(distribution: BaseDistribution) -> BaseDistribution:
    """The same for a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution([literal_value(choice) for choice in distribution.choices])
    return distribution


def front(study: optuna.Study, objectives: Sequence[str]) -> Iterator[PlotlyFigure]:
    """The Pareto front of several objectives."""
    if 1 < len(objectives) <= MAX_PLANE:
        draw = partial(visualization.plot_pareto_front, study, target_names=named(objectives))
        yield from drawn("Pareto front", draw, COLUMN_WIDTH * (len(objectives) + 1))


def of_objectives(study: optuna.Study, objectives: Sequence[str]) -> Iterator[PlotlyFigure]:
    """What there is to see of each objective."""
    for index, (objective, name) in enumerate(zip(objectives, named(objectives), strict=True)):
        yield from of_objective(alone(study, index), objective, name)


def alone(study: optuna.Study, index: int) -> optuna.Study:
    """The study of one objective: Optuna then knows what is better, and marks it."""
    single = optuna.create_study(direction=study.directions[index])
    single.add_trials([trial_alone(trial, index) for trial in study.get_trials(deepcopy=False)])
    return single


def trial_alone(trial: FrozenTrial, index: int) -> FrozenTrial:
    """A trial with one of its objectives."""
    return optuna.trial.create_trial(
        state=trial.state,
        value=trial.values[index] if trial.values else None,
        params=trial.params,
        distributions=trial.distributions,
    )


def named(objectives: Sequence[str]) -> list[str]:
    """Objectives as axes have room for them: the metric alone, where that leaves no doubt."""
    short = [objective.rpartition("/")[2] for objective in objectives]
    return [escape_for_plotly(name) for name in (short if len(set(short)) == len(short) else objectives)]


def of_objective(study: optuna.Study, objective: str, name: str) -> Iterator[PlotlyFigure]:
    """What there is to see of an objective, which axes call `name`."""
    searched = dict.fromkeys(param for trial in study.get_trials(deepcopy=False) for param in trial.params)
    width = COLUMN_WIDTH * (len(searched) + 1)
    for title, draw, min_width in (
        ("Optimization history", visualization.plot_optimization_history, 0),
        ("Parameter importances", visualization.plot_param_importances, 0),
        ("Parallel coordinates", visualization.plot_parallel_coordinate, width),
        ("Slices", visualization.plot_slice, width),
    ):
        yield from drawn(f"{title}: {objective}", partial(draw, study, target_name=name), min_width)


def intermediate(study: optuna.Study) -> Iterator[PlotlyFigure]:
    """Values that trials reported on their way, where any did."""
    if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        yield from drawn("Intermediate values", lambda: visualization.plot_intermediate_values(study))


def drawn(title: str, draw: Callable[[], Any], min_width: int = 0) -> Iterator[PlotlyFigure]:
    """A plot, unless Optuna finds nothing to draw."""
    with suppress(ValueError, RuntimeError), warnings.catch_warnings(action="ignore"):
        figure = json.loads(draw().to_json())
        if figure["data"]:
            kept = {
                key: value
                for key, value in figure["layout"].items()
                if key not in ("title", "template", "width", "height")
            }
            yield PlotlyFigure(title, {"data": figure["data"], "layout": kept}, min_width)
