"""Repetitions of a sweep's best trials with further seeds."""

from collections.abc import Collection

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from cosmos.config.sweep import Sweep
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.search.study import trial_values


def remaining_repetitions(sweep: Sweep, study: optuna.Study, folder: SweepDir) -> list[TrialRecord]:
    """Return the records of the best trials with further seeds that have not ended."""
    repeats, ended = sweep.file.repeats, ended_runs(folder)
    repetitions = (
        TrialRecord(sweep.id, trial.number, seed, trial_values(trial))
        for seed in range(1, repeats.seeds + 1)
        for trial in best_trials(study)[: repeats.best]
    )
    return [record for record in repetitions if record.name not in ended]


def ended_runs(folder: SweepDir) -> Collection[str]:
    """Return the names of trials and repetitions that have ended, or whose record cannot be read."""
    trials = folder.read_trials()
    return {record.name for record in trials.records if record.has_ended} | trials.problems.keys()


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the finished trials, the best first; of several objectives the Pareto front, by the first."""
    several = len(study.directions) > 1
    ended = study.best_trials if several else study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    larger_is_better = study.directions[0] == StudyDirection.MAXIMIZE
    return sorted(ended, key=lambda trial: trial.values[0], reverse=larger_is_better)
