"""Repetitions of a sweep's best trials with further seeds."""

from collections.abc import Collection, Sequence

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from cosmos.config.sweep import Sweep
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.search.dominance import number_fronts
from cosmos.search.study import trial_values


def remaining_repetitions(sweep: Sweep, study: optuna.Study, folder: SweepDir) -> list[TrialRecord]:
    """Return the records of the best trials with further seeds that have not ended."""
    return repetitions_of(sweep, best_trials(study), ended_runs(folder))


def due_repetitions(
    sweep: Sweep, study: optuna.Study, ended: Sequence[int], excluded: Collection[str]
) -> list[TrialRecord]:
    """Return the repetitions that are due while the search goes on, but for those of excluded names.

    `ended`: numbers of trials in the order of their ends. Each time that `repeats.every` more of them have
    finished or were pruned, the best of all until then are due; what was due before is so no longer.
    """
    every = sweep.file.repeats.every
    if not every:
        return []
    states = {trial.number: trial.state for trial in study.get_trials(deepcopy=False)}
    counted = [number for number in ended if states.get(number) in (TrialState.COMPLETE, TrialState.PRUNED)]
    until_then = set(counted[: len(counted) // every * every])
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = rank_trials([trial for trial in finished if trial.number in until_then], study.directions)
    return repetitions_of(sweep, best, excluded)


def repetitions_of(sweep: Sweep, best: Sequence[FrozenTrial], excluded: Collection[str]) -> list[TrialRecord]:
    """Return the records of the first trials with further seeds, but for those whose name is excluded."""
    repeats = sweep.file.repeats
    repetitions = (
        TrialRecord(sweep.id, trial.number, seed, trial_values(trial))
        for seed in range(1, repeats.seeds + 1)
        for trial in best[: repeats.best]
    )
    return [record for record in repetitions if record.name not in excluded]


def ended_runs(folder: SweepDir) -> Collection[str]:
    """Return the names of trials and repetitions that have ended, or whose record cannot be read."""
    trials = folder.read_trials()
    return {record.name for record in trials.records if record.has_ended} | trials.problems.keys()


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the finished trials, the best first; of several objectives the Pareto front, by the first.

    Trials that break a constraint are left out.
    """
    return rank_trials(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), study.directions)


def rank_trials(finished: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Return those of finished trials that `best_trials` has, in its order."""
    eligible = [trial for trial in finished if all(excess <= 0 for excess in trial.constraints.values())]
    signs = [-1 if way == StudyDirection.MAXIMIZE else 1 for way in directions]
    points = [[sign * value for sign, value in zip(signs, t.values, strict=True)] for t in eligible]
    fronts = number_fronts(points) if len(signs) > 1 else [0] * len(points)
    order = sorted(range(len(points)), key=lambda index: points[index][0])
    return [eligible[index] for index in order if not fronts[index]]
