"""Beginning of a sweep with the best trials of an earlier one, where their values fit the space."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import BaseTrial, TrialState

from cosmos.config.identity import flatten_sections
from cosmos.config.search_space import split_values, study_params
from cosmos.config.sweep import Sweep
from cosmos.errors import DamagedDataError, InputError
from cosmos.registry.candidates import Candidate, rank_candidates
from cosmos.report.text import format_parameter
from cosmos.run.earlier_trials import EarlierTrial, EarlierTrials
from cosmos.run.sweep_directory import SweepDir, TrialRecord, find_sweep_dir, set_aside, sweeps_of_name

logger = logging.getLogger(__name__)

MAX_EARLIER_TRIALS = 5
"""Largest number of trials that are taken from an earlier sweep: half of those that are drawn at random."""

ORIGIN = "origin"
"""Attribute of an Optuna trial: the trial of an earlier sweep whose values it begins with."""


def read_earlier_trials(sweep: Sweep, folder: SweepDir, like: str) -> EarlierTrials:
    """Return the trials that a sweep begins with: those on record, and the best of `like`, asked once.

    `like`: id, name or path of an earlier sweep; "": none. InputError where there is none such, none of its
    trials finished within its constraints, or none of their values fits; errors of its files otherwise.
    """
    recorded = read_recorded_trials(sweep, folder)
    if not like or recorded.has_asked(like):
        return recorded
    earlier = find_earlier_sweep(like, folder)
    trials = [trial for trial in best_trials_of(earlier, sweep) if not is_repeated(trial, recorded.trials)]
    return EarlierTrials((*recorded.sweeps, earlier.path.name), (*recorded.trials, *trials))


def read_recorded_trials(sweep: Sweep, folder: SweepDir) -> EarlierTrials:
    """Return the trials on record in a sweep's directory; a damaged record is renamed, with a warning."""
    try:
        recorded = EarlierTrials.of(folder.like)
        refuse_other_values(recorded, sweep, folder.like)
        return recorded
    except DamagedDataError as error:
        logger.warning("%s; kept as %s", error, set_aside(folder.like).name)
        return EarlierTrials()


def refuse_other_values(recorded: EarlierTrials, sweep: Sweep, file: Path) -> None:
    """Raise DamagedDataError for a record in `file` with values that are not of the sweep's space."""
    try:
        for trial in recorded.trials:
            study_params(sweep.file.space, trial.values)
    except ValueError as error:
        raise DamagedDataError(f"{file}: {error}; delete it, and give `--like` again") from None


def find_earlier_sweep(name: str, folder: SweepDir) -> SweepDir:
    """Return the newest sweep of a name, the one of an id, or of a path, but for the sweep in `folder`.

    InputError where there is none, or it is that sweep.
    """
    runs_root = folder.path.parent
    others = [other for other in sweeps_of_name(name, runs_root) if other.path.name != folder.path.name]
    earlier = others[0] if others else find_sweep_dir(name, runs_root)
    if earlier.path.resolve() == folder.path.resolve():
        raise InputError(f"--like {name}: {folder.path} is the sweep itself; name another one")
    return earlier


def best_trials_of(earlier: SweepDir, sweep: Sweep) -> list[EarlierTrial]:
    """Return the best trials of an earlier sweep with those of their values that fit another one's space."""
    former = earlier.sweep()
    ranked = rank_candidates(former, earlier.trials)
    eligible = [candidate for candidate in ranked if not candidate.breaches]
    if not eligible:
        kept = " and keeps its constraints" if ranked else ""
        raise InputError(f"--like {earlier.path.name}: no trial of it has finished{kept}")
    base = flatten_sections(former.base.model_dump(mode="json"))
    taken: list[EarlierTrial] = []
    for candidate in eligible:
        trial = earlier_trial(former.id, candidate, base, sweep)
        if trial.values and not is_repeated(trial, taken):
            taken.append(trial)
    if not taken:
        raise InputError(f"--like {earlier.path.name}: no value of its trials is in the search space")
    return taken[:MAX_EARLIER_TRIALS]


def earlier_trial(sweep_id: str, candidate: Candidate, base: Mapping[str, Any], sweep: Sweep) -> EarlierTrial:
    """Return a trial of a sweep over `base` with those of its values that fit the space of another sweep.

    A parameter that the trial has not searched has the value of its base.
    """
    values = {**base, **candidate.asked}
    own_base = flatten_sections(sweep.base.model_dump(mode="json"))
    fitting, left_out = split_values(sweep.file.space, values, own_base)
    name = TrialRecord(sweep_id, candidate.number, 0, {}).name
    return EarlierTrial(f"{sweep_id}/{name}", fitting, left_out)


def is_repeated(trial: EarlierTrial, others: Sequence[EarlierTrial]) -> bool:
    """Return True for a trial whose values are those of another one."""
    return any(trial.values == other.values for other in others)


def describe_earlier(earlier: EarlierTrials) -> Iterator[str]:
    """Yield lines on the trials that a sweep begins with, and on values that do not fit."""
    if earlier.trials:
        yield f"begins with {', '.join(trial.origin for trial in earlier.trials)}"
    for trial in earlier.trials:
        if trial.left_out:
            values = ", ".join(f"{path} {format_parameter(value)}" for path, value in trial.left_out.items())
            yield f"{trial.origin}: not in the search space, and drawn anew: {values}"


def enqueue_earlier(study: optuna.Study, sweep: Sweep, folder: SweepDir) -> int:
    """Put the next earlier trial first in a study's queue, unless one is there; return the next number."""
    earlier = read_recorded_trials(sweep, folder)
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if earlier.trials and not waiting:
        trial = earlier.next_after({record.origin for record in folder.trials})
        if trial:
            params = study_params(sweep.file.space, trial.values)
            study.enqueue_trial(params, user_attrs={ORIGIN: trial.origin})
            waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return waiting[0].number if waiting else len(study.get_trials(deepcopy=False))


def origin_of(trial: BaseTrial) -> str:
    """Return the trial of an earlier sweep whose values a trial begins with; "" for none."""
    origin: str = trial.user_attrs.get(ORIGIN, "")
    return origin
