"""Storage of a study: a journal in the sweep's directory, or a database. Only a controller writes to it.

The records of the trials are the truth, and the study follows them: one that is missing, damaged or says
otherwise is kept beside a new one.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, get_storage
from sqlalchemy.exc import ArgumentError, DatabaseError, SQLAlchemyError

from cosmos.config.disk_reading import is_file
from cosmos.config.machine import Machine
from cosmos.config.sweep import Sweep
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError, short_reason
from cosmos.run.sweep_directory import SweepDir, set_aside
from cosmos.search.journal import check_journal, open_journal
from cosmos.search.study import make_pruner, make_sampler
from cosmos.search.study_of_records import add_missing_trials, contradiction, study_of_records

logger = logging.getLogger(__name__)


def open_study(sweep: Sweep, folder: SweepDir, machine: Machine) -> optuna.Study:
    """Return the study of a sweep with its sampler and pruner, which no storage keeps.

    It has every trial that has a record. InputError where the machine's storage is none, TransientError where
    it does not answer or the disk fails.
    """
    with storage_errors_explained(folder.path.name):
        study = matching_study(sweep, folder, open_sound_storage(folder, machine))
        study.sampler = make_sampler(sweep, len(study.trials))
    study.pruner = make_pruner(sweep.file.pruner)
    return study


def matching_study(sweep: Sweep, folder: SweepDir, storage: BaseStorage) -> optuna.Study:
    """Return the newest study of a sweep in a storage, or one after it where that contradicts the records."""
    recorded = study_of_records(sweep, folder)
    create = partial(optuna.create_study, storage=storage, directions=recorded.directions)
    name = newest_study_name(sweep.id, optuna.get_all_study_names(storage))
    study = create(study_name=name, load_if_exists=True)
    if problem := problem_of_study(study, recorded):
        later = next_study_name(sweep.id, name)
        logger.warning("study %s: %s; %s is made from the records of the trials", name, problem, later)
        study = create(study_name=later)
    add_missing_trials(study, recorded)
    return study


def problem_of_study(study: optuna.Study, recorded: optuna.Study) -> str:
    """Return why a study is not the one that the records tell of; "" where it is."""
    try:
        return contradiction(study, recorded)
    except (SQLAlchemyError, StorageInternalError, CosmosError):
        raise
    except Exception as error:  # Optuna checks no row of a database: a wrong one may raise anything
        return f"cannot be read ({short_reason(error)})"


def newest_study_name(sweep_id: str, names: Iterable[str]) -> str:
    """Return the newest name of a sweep's studies: of <id>, <id>-2 and so on; <id> where there is none."""
    later = (name for name in names if name.startswith(f"{sweep_id}-"))
    return max(later, key=lambda name: study_number(sweep_id, name), default=sweep_id)


def next_study_name(sweep_id: str, name: str) -> str:
    """Return the name of the study of a sweep that comes after the one of this name."""
    return f"{sweep_id}-{study_number(sweep_id, name) + 1}"


def study_number(sweep_id: str, name: str) -> int:
    """Return the number at the end of a study's name, 1 where there is none."""
    number = name.removeprefix(f"{sweep_id}-")
    return int(number) if number.isdecimal() else 1


def load_study(folder: SweepDir, machine: Machine) -> optuna.Study:
    """Return the study of a sweep. InputError where there is none; other errors as of `open_storage`."""
    sweep_id = folder.sweep().id
    problem = f"{folder.path}: its study is not in the storage; `cosmos sweep` makes it"
    if not machine.study_storage.get_secret_value() and not is_file(folder.journal):
        raise InputError(problem)  # opened, the journal would be created
    with storage_errors_explained(folder.path.name):
        storage = open_storage(folder, machine)
        try:
            name = newest_study_name(sweep_id, optuna.get_all_study_names(storage))
            return optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            raise InputError(problem) from None


def open_sound_storage(folder: SweepDir, machine: Machine) -> BaseStorage:
    """Return the storage of a sweep's study for a controller; a damaged journal is renamed."""
    try:
        if not machine.study_storage.get_secret_value():
            check_journal(folder.journal)
        return open_storage(folder, machine)
    except DamagedDataError as error:
        problem = str(error).partition(";")[0]
        kept = set_aside(folder.journal)
        logger.warning("%s; kept as %s, and made anew from the records of the trials", problem, kept.name)
        return open_storage(folder, machine)


def open_storage(folder: SweepDir, machine: Machine) -> BaseStorage:
    """Return the storage of a sweep's study: the machine's database, or a journal in the sweep's directory.

    InputError where the database's address is wrong, sqlalchemy's or Optuna's errors where it does not
    answer, and the errors of `open_journal`.
    """
    url = machine.study_storage.get_secret_value()
    return open_database(folder.path.name, url) if url else open_journal(folder.journal)


WRONG_ADDRESS = (ImportError, ValueError, TypeError, RuntimeError, ArgumentError)
"""Errors for an address of no database, of one without a driver here, or with wrong options (TypeError)."""


def open_database(name: str, url: str) -> BaseStorage:
    """Return the storage at a database's address; `name`: the sweep, for messages.

    An address with a second `@`, of a password most likely, is refused: drivers would take what follows the
    first one for the host, and quote it.
    """
    if not url.startswith("sqlite") and url.partition("?")[0].count("@") > 1:
        raise InputError(
            "COSMOS_STUDY_STORAGE: has more than one '@'; write that of a user or password as %40"
        )
    try:
        return get_storage(url)
    except WRONG_ADDRESS as error:
        raise InputError(f"the study of {name}: {short_reason(error)}; see COSMOS_STUDY_STORAGE") from None


@contextmanager
def storage_errors_explained(name: str) -> Iterator[None]:
    """Raise TransientError where a study's database does not answer, InputError where it is none.

    `name`: the sweep.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = (isinstance(error, StorageInternalError) and error.__cause__) or error
        reason = str(cause).partition("\n")[0]  # without the statement of SQL
        # this class alone is of a file that is no database; its children are of one that does not answer
        kind = InputError if type(cause) is DatabaseError else TransientError
        raise kind(f"the study of {name}: {reason}; see COSMOS_STUDY_STORAGE") from None
