"""Studies of Optuna: sampler, pruner, the values of trials, importances of the parameters."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import optuna
from optuna.importance import get_param_importances
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from cosmos.config.params import Params
from cosmos.config.sweep import Objective, PrunerSettings, SamplerSettings, Sweep
from cosmos.search.objectives import intermediate_value

optuna.logging.set_verbosity(optuna.logging.WARNING)

ASKED = "asked"
"""Attribute of an Optuna trial: the values that it tries. A trial without it was never begun."""

MIN_TRIALS_OF_IMPORTANCES = 12
"""Number of finished trials below which importances say little, and are withheld."""


def make_sampler(sweep: Sweep, number: int) -> BaseSampler:
    """Return the sampler of a sweep, seeded for the trial with this number."""
    settings: SamplerSettings = sweep.file.sampler
    seed = (sweep.base.pretrain.seed + 1_000_003 * number) % 2**32
    conditional = any(distribution.when for distribution in sweep.file.space.values())
    makers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(
            seed=seed, n_startup_trials=settings.startup_trials, multivariate=True, group=conditional
        ),
        "gp": lambda: GPSampler(seed=seed, n_startup_trials=settings.startup_trials),
        "nsga2": lambda: NSGAIISampler(seed=seed),
        "random": lambda: RandomSampler(seed=seed),
    }
    return makers[settings.name]()


def draw_params(sweep: Sweep, number: int) -> Iterator[Params]:
    """Yield the parameters of trials drawn at random, the same each time, without impossible ones."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    for _ in range(number):
        with suppress(ValueError):
            yield sweep.params(sweep.suggest(study.ask()), 0)


def make_pruner(settings: PrunerSettings) -> BasePruner:
    """Return Optuna's pruner of a sweep."""
    makers: dict[str, Callable[[], BasePruner]] = {
        "none": NopPruner,
        "promote": NopPruner,  # it pauses trials, which the controller does
        "median": lambda: MedianPruner(
            n_startup_trials=settings.startup_trials, n_warmup_steps=settings.warmup
        ),
        "hyperband": HyperbandPruner,
        "halving": SuccessiveHalvingPruner,
    }
    return makers[settings.name]()


@dataclass(frozen=True)
class Importances:
    """Importances of the parameters for one objective, or the reason for which they are withheld."""

    shares: dict[str, float] = field(default_factory=dict)
    """by parameter: share of the objective's variance that it explains"""
    withheld: str = ""
    """reason for which there are none; "" where there are"""


def parameter_importances(study: optuna.Study, figures: Sequence[str]) -> dict[str, Importances]:
    """Return the importances of the parameters by objective."""
    return {figure: objective_importances(study, index) for index, figure in enumerate(figures)}


def objective_importances(study: optuna.Study, index: int) -> Importances:
    """Return the importances for an objective: none where trials are too few, or too alike."""
    values = [trial.values[index] for trial in study.get_trials(False, (TrialState.COMPLETE,))]
    if len(values) < MIN_TRIALS_OF_IMPORTANCES:
        return Importances(withheld=f"{len(values)} of at least {MIN_TRIALS_OF_IMPORTANCES} trials finished")
    if len(set(values)) == 1:
        return Importances(withheld=f"all {len(values)} trials are equal")
    sign = -1.0 if study.directions[index] == StudyDirection.MAXIMIZE else 1.0
    try:
        with warnings.catch_warnings(action="ignore"):
            shares = get_param_importances(study, target=partial(signed_objective, index, sign))
    except (ValueError, RuntimeError) as error:
        return Importances(withheld=str(error))
    if len(shares) < 2:
        return Importances(withheld="fewer than two parameters are searched in every trial")
    return Importances(dict(shares))


def signed_objective(index: int, sign: float, trial: optuna.trial.FrozenTrial) -> float:
    """Return an objective of a finished trial times `sign`, by which smaller is made better.

    Importances then explain the good trials.
    """
    value: float = trial.values[index]
    return sign * value


def trial_values(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the values that a trial tries, by parameter; {} where it was never begun."""
    values: dict[str, Any] = trial.user_attrs.get(ASKED, {})
    return values


def report_metrics(
    trial: optuna.Trial, objectives: Sequence[Objective], lines: Iterable[Mapping[str, Any]], epochs: int
) -> bool:
    """Report the values in lines of a trial's metrics; return True if it falls behind before its last epoch.

    Values are of a single objective: pruners know no others.
    """
    falls_behind = False
    reported = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    for line in lines if len(objectives) == 1 else ():
        if report := intermediate_value(objectives[0], line):
            step, value = report
            if step not in reported:
                trial.report(value, step)
                reported.add(step)
            falls_behind |= is_before(epochs, line) and trial.should_prune()
    return falls_behind


def is_before(epochs: int, line: Mapping[str, Any]) -> bool:
    """Return True for a line of metrics.jsonl that was logged before this number of epochs was done."""
    epoch = line.get("epoch")
    return isinstance(epoch, int | float) and epoch < epochs
