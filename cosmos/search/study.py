"""Studies of Optuna: storage, sampler, pruner, importances. Only a sweep's controller writes to its study."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.importance import get_param_importances
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from cosmos.config.machine import Machine
from cosmos.config.sweep import PrunerSettings, SamplerSettings, Sweep
from cosmos.errors import DamagedDataError, InputError, TransientError, convert_os_error
from cosmos.registry.sweep_directory import SweepDir

ASKED = "asked"
"""Attribute of an Optuna trial: the values that it tries. A trial without it was never begun."""

MIN_TRIALS_OF_IMPORTANCES = 12
"""Number of finished trials below which importances say little, and are withheld."""


def open_study(sweep: Sweep, folder: SweepDir, machine: Machine) -> optuna.Study:
    """Return the study of a sweep, created if need be, with its sampler and pruner, which no storage keeps.

    InputError where the machine's storage is none, TransientError where it does not answer,
    DamagedDataError where the journal is damaged.
    """
    logging.getLogger("optuna").setLevel(logging.WARNING)
    with storage_errors_explained(folder.path.name):
        study = optuna.create_study(
            storage=open_storage(folder, machine),
            study_name=sweep.id,
            directions=[objective.direction for objective in sweep.file.objectives],
            load_if_exists=True,
        )
        study.sampler = make_sampler(sweep, len(study.trials))
    study.pruner = make_pruner(sweep.file.pruner)
    return study


def load_study(folder: SweepDir, machine: Machine) -> optuna.Study:
    """Return the study of a sweep. InputError where there is none; other errors as of `open_study`."""
    logging.getLogger("optuna").setLevel(logging.WARNING)
    name = folder.sweep().id
    problem = f"{folder.path}: its study is not in the storage; `cosmos sweep` begins it"
    if not machine.study_storage.get_secret_value() and not folder.journal.exists():
        raise InputError(problem)  # opened, the journal would be created
    with storage_errors_explained(folder.path.name):
        storage = open_storage(folder, machine)
        try:
            return optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            raise InputError(problem) from None


def open_storage(folder: SweepDir, machine: Machine) -> BaseStorage:
    """Return the storage of a sweep's study: the machine's database, or a journal in the sweep's directory.

    InputError where the database's address is wrong, sqlalchemy's or Optuna's errors where it does not
    answer, TransientError where the journal cannot be read, DamagedDataError where it is damaged.
    """
    url = machine.study_storage.get_secret_value()
    return open_database(folder.path.name, url) if url else open_journal(folder.journal)


def open_database(name: str, url: str) -> BaseStorage:
    """Return the storage at a database's address; `name`: the sweep, for messages."""
    try:
        return get_storage(url)
    except (ImportError, ValueError, RuntimeError, ArgumentError) as error:
        raise InputError(f"the study of {name}: {error}; see COSMOS_STUDY_STORAGE") from None


def open_journal(path: Path) -> BaseStorage:
    """Return the storage in a journal file, created if need be."""
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        message = f"the study of {path.parent.name}: {error}; see COSMOS_STUDY_STORAGE"
        raise convert_os_error(error, message) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedDataError(f"{path}: not the journal of a study ({error!r})") from None


@contextmanager
def storage_errors_explained(name: str) -> Iterator[None]:
    """Raise TransientError where a study's database does not answer; `name`: the sweep."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise TransientError(f"the study of {name}: {error}; see COSMOS_STUDY_STORAGE") from None


def make_sampler(sweep: Sweep, num_trials: int) -> BaseSampler:
    """Return the sampler of a sweep, seeded anew after `num_trials` trials, so that it repeats no draws."""
    settings: SamplerSettings = sweep.file.sampler
    seed = (sweep.base.pretrain.seed + 1_000_003 * num_trials) % 2**32
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


def make_pruner(settings: PrunerSettings) -> BasePruner:
    """Return the pruner of a sweep."""
    makers: dict[str, Callable[[], BasePruner]] = {
        "none": NopPruner,
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
