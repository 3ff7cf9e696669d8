"""Studies: Optuna's view of a sweep. Only the process that leads a sweep talks to its study."""

import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import optuna
from optuna.importance import get_param_importances
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from cosmos.config.machine import Machine
from cosmos.config.sweep import PrunerSettings, SamplerSettings, Sweep
from cosmos.errors import InputError
from cosmos.registry.sweep_directory import SweepDir

ASKED = "asked"
"""Attribute of a trial: what it is to try. A trial without one was never begun."""


def open_study(sweep: Sweep, folder: SweepDir, machine: Machine) -> optuna.Study:
    """The study of a sweep, made if need be, with its sampler and pruner, which no storage keeps.

    ValueError where the storage does not answer or is damaged.
    """
    logging.getLogger("optuna").setLevel(logging.WARNING)
    study = guarded(
        folder,
        lambda: optuna.create_study(
            storage=storage(folder, machine),
            study_name=sweep.id,
            directions=[objective.direction for objective in sweep.file.objectives],
            load_if_exists=True,
        ),
    )
    study.sampler = sampler(sweep, len(study.trials))
    study.pruner = pruner(sweep.file.pruner)
    return study


def load_study(folder: SweepDir, machine: Machine) -> optuna.Study:
    """The study of a sweep that has begun, to look at. ValueError where there is none."""
    logging.getLogger("optuna").setLevel(logging.WARNING)
    name = folder.sweep().id
    return guarded(folder, lambda: optuna.load_study(study_name=name, storage=storage(folder, machine)))


def guarded(folder: SweepDir, make: Callable[[], optuna.Study]) -> optuna.Study:
    """A study, or what to do where the storage gives none."""
    try:
        return make()
    except KeyError:
        raise InputError(
            f"{folder.path}: its study is not in the storage; `cosmos sweep` begins it"
        ) from None
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"the study of {folder.path.name}: {error}; see COSMOS_STUDY_STORAGE") from None
    except Exception as error:
        if type(error).__module__.startswith(("sqlalchemy", "optuna")):
            raise InputError(f"the study of {folder.path.name}: {error}; see COSMOS_STUDY_STORAGE") from None
        raise


def storage(folder: SweepDir, machine: Machine) -> BaseStorage | str:
    """Where the study lies: in the machine's database, or in the sweep's folder."""
    url = machine.study_storage.get_secret_value()
    return url or JournalStorage(JournalFileBackend(str(folder.journal)))


def sampler(sweep: Sweep, num_trials: int) -> BaseSampler:
    """What proposes trials. Begun anew after `num_trials`, it does not draw again what it drew at first."""
    asked: SamplerSettings = sweep.file.sampler
    seed = (sweep.base.pretrain.seed + 1_000_003 * num_trials) % 2**32
    conditional = any(searched.when for searched in sweep.file.space.values())
    makers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(
            seed=seed, n_startup_trials=asked.startup_trials, multivariate=True, group=conditional
        ),
        "gp": lambda: GPSampler(seed=seed, n_startup_trials=asked.startup_trials),
        "nsga2": lambda: NSGAIISampler(seed=seed),
        "random": lambda: RandomSampler(seed=seed),
    }
    return makers[asked.name]()


def pruner(asked: PrunerSettings) -> BasePruner:
    """What stops trials."""
    makers: dict[str, Callable[[], BasePruner]] = {
        "none": NopPruner,
        "median": lambda: MedianPruner(n_startup_trials=asked.startup_trials, n_warmup_steps=asked.warmup),
        "hyperband": HyperbandPruner,
        "halving": SuccessiveHalvingPruner,
    }
    return makers[asked.name]()


def importances(study: optuna.Study, figures: Sequence[str]) -> dict[str, dict[str, float]]:
    """How much of an objective each parameter explains, by objective, where trials tell that."""
    found = {}
    for index, (figure, direction) in enumerate(zip(figures, study.directions, strict=True)):
        sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
        with suppress(ValueError, RuntimeError), warnings.catch_warnings(action="ignore"):
            found[figure] = get_param_importances(study, target=partial(loss_of, index, sign))
    return {figure: dict(shares) for figure, shares in found.items()}


def loss_of(index: int, sign: float, trial: optuna.trial.FrozenTrial) -> float:
    """An objective of a trial that finished, so that smaller is better: good trials are to be explained."""
    value: float = trial.values[index]
    return sign * value


def asked_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """What a trial is to try; {} where it was never begun."""
    asked: dict[str, Any] = trial.user_attrs.get(ASKED, {})
    return asked
