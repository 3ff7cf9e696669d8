from collections.abc import Sequence
from typing import Any, Literal

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from cosmos.report.plotly import PlotlyFigure
from cosmos.search.study_plots import study_plots

Direction = Literal["maximize", "minimize"]

HOSTILE = "<b>bold</b>\x1b"


def trial(number: int, values: list[float] | None, **changes: Any) -> FrozenTrial:
    return create_trial(
        params={
            "1 - pretrain.momentum": 10.0 ** -(1 + number / 5),
            "views.caption_mode": ["raw", HOSTILE][number % 2],
        },
        distributions={
            "1 - pretrain.momentum": FloatDistribution(1e-4, 0.1, log=True),
            "views.caption_mode": CategoricalDistribution(["raw", HOSTILE]),
        },
        values=values,
        **changes,
    )


def study(*trials: FrozenTrial, directions: Sequence[Direction] = ("maximize",)) -> optuna.Study:
    made = optuna.create_study(directions=directions)
    made.add_trials(trials)
    return made


def titles(plots: list[PlotlyFigure]) -> list[str]:
    return [plot.title.partition(":")[0] for plot in plots]


def test_what_is_drawn_of_one_objective() -> None:
    trials = [trial(n, [n / 10]) for n in range(12)]
    plots = study_plots(study(*trials), ["retrieval/heldout/student/R@1"])
    assert titles(plots) == [
        "Optimization history",
        "Parameter importances",
        "Parallel coordinates",
        "Slices",
    ]
    assert plots[0].title == "Optimization history: retrieval/heldout/student/R@1"
    assert plots[0].figure["layout"]["yaxis"]["title"]["text"] == "R@1"
    assert "template" not in plots[0].figure["layout"]
    first, *_, best, scale = plots[2].figure["data"]
    assert (first["line"]["color"], best["line"]["color"]) == ("rgb(245, 158, 11)", "rgb(79, 70, 229)")
    assert (first["opacity"], scale["marker"]["colorscale"][0]) == (1, [0.0, "#f59e0b"])
    assert "Parameter importances" not in titles(study_plots(study(*trials[:11]), ["x"]))
    assert "Parameter importances" not in titles(
        study_plots(study(*(trial(n, [0.5]) for n in range(12))), ["x"])
    )


def test_of_several_objectives_the_front_is_drawn_as_well() -> None:
    trials = (trial(n, [n / 10, float(n % 3)]) for n in range(8))
    plots = study_plots(study(*trials, directions=("maximize", "minimize")), ["a/R@1", "b/R@1"])
    assert titles(plots).count("Pareto front") == 1
    assert titles(plots).count("Slices") == 2
    assert plots[0].figure["layout"]["xaxis"]["title"]["text"] == "a/R@1"


def test_values_on_the_way_are_drawn_where_any_were_reported() -> None:
    reported = trial(1, [0.2], intermediate_values={1: 0.1, 2: 0.2})
    pruned = trial(2, [0.1], state=TrialState.PRUNED, intermediate_values={1: 0.1})
    assert "Intermediate values" in titles(study_plots(study(reported, pruned, trial(3, [0.4])), ["x"]))


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.RUNNING])
def test_before_a_trial_has_finished_there_is_nothing_to_draw(state: TrialState) -> None:
    assert study_plots(study(), ["x"]) == []
    assert study_plots(study(trial(1, None, state=state)), ["x"]) == []


def test_trials_that_tell_nothing_about_parameters_are_drawn_all_the_same() -> None:
    bare = create_trial(value=0.5)
    assert "Optimization history" in titles(study_plots(study(bare), ["x"]))
    assert "Optimization history" in titles(study_plots(study(bare, trial(1, [0.5])), ["x"]))


def test_words_are_shown_literally() -> None:
    plots = study_plots(study(*(trial(n, [n / 10]) for n in range(8))), [f"x/{HOSTILE}"])
    plotted = str([plot.figure for plot in plots])
    assert "<b>bold" not in plotted
    assert "&lt;b&gt;bold" in plotted
    assert "\x1b" not in plotted
