"""Studies made from the records of a sweep's trials, which are the truth: a stored study follows them."""

import math
from itertools import zip_longest
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, FrozenTrial, Trial, TrialState, create_trial

from cosmos.config.search_space import SearchValue, TrialValues, study_params
from cosmos.config.sweep import Sweep
from cosmos.registry.candidates import is_measured
from cosmos.run.directory import RunDir
from cosmos.run.metrics import read_metrics
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.search.study import ASKED, make_pruner, make_sampler, report_metrics, trial_values


def study_of_records(sweep: Sweep, folder: SweepDir) -> optuna.Study:
    """Return a study in memory with the trials of a sweep as their records and metrics say.

    A failed trial without values stands for one whose record is missing or of no use, so that no other trial
    gets its number. Raises TransientError where the disk fails.
    """
    trials = folder.read_trials()
    study = optuna.create_study(
        study_name=sweep.id,
        directions=[objective.direction for objective in sweep.file.objectives],
        sampler=make_sampler(sweep, 0) if sweep.file.sampler.name == "nsga2" else RandomSampler(),
        pruner=make_pruner(sweep.file.pruner),
    )  # of the samplers nsga2 alone keeps something of its own in trials
    for number in range(trials.num_numbers):
        record = trials.firsts.get(number)
        if record is None or not replay_trial(study, sweep, record, folder.run(record)):
            study.add_trial(create_trial(state=TrialState.FAIL))
    return study


def replay_trial(study: optuna.Study, sweep: Sweep, record: TrialRecord, run: RunDir) -> bool:
    """Ask, report and tell a study what a trial's record says; return False for values of another space."""
    drawn = drawn_trial(sweep, record)
    if drawn is None:
        return False
    study.add_trial(copied_trial(drawn, TrialState.RUNNING, {ASKED: record.asked}))
    trial = Trial(study, study.get_trials(deepcopy=False)[-1]._trial_id)
    _ = trial.relative_params  # nsga2 keeps the generation in a trial that it draws for
    epochs = sweep.params(record.asked, 0).pretrain.epochs
    report_metrics(trial, sweep.file.objectives, read_metrics(run.metrics), epochs)
    if record.has_ended:
        tell_end(study, sweep, record)
    return True


def drawn_trial(sweep: Sweep, record: TrialRecord) -> FixedTrial | None:
    """Return the draw of a trial's values; None where the sweep cannot draw them."""
    try:
        drawn = FixedTrial(study_params(sweep.file.space, record.asked))
        sweep.params(record.asked, 0)
        return drawn if sweep.suggest(drawn) == record.asked else None
    except ValueError:
        return None


def ask_study(study: optuna.Study, sweep: Sweep) -> tuple[Trial, TrialValues]:
    """Return a new trial of a study, and the values that it tries.

    They are drawn in a copy of the study, which gets the trial and its values at once: of a trial that is
    asked for and never gets values, as where a process is killed between, nobody could draw those again.
    Enqueued trials have theirs already, and nsga2 keeps what it needs in the study itself.

    Samplers heed trials that have ended, which most trials of a sweep with rungs have not. The sampler is
    shown those as if they were pruned at their last report.
    """
    trials, has_rungs = study.get_trials(deepcopy=False), bool(sweep.file.pruner.rungs)
    is_enqueued = any(trial.state == TrialState.WAITING for trial in trials)
    if is_enqueued or (sweep.file.sampler.name == "nsga2" and not has_rungs):
        trial = study.ask()
        values = sweep.suggest(trial)
        trial.set_user_attr(ASKED, values)
        return trial, values
    copy = optuna.create_study(directions=study.directions, sampler=study.sampler)
    copy.add_trials(
        copied_trial(trial, TrialState.PRUNED, trial.user_attrs)
        if has_rungs and is_reported(trial)
        else trial
        for trial in trials
    )
    drawn = copy.ask()
    values = sweep.suggest(drawn)
    asked = copy.get_trials(deepcopy=False)[drawn.number]
    study.add_trial(copied_trial(asked, TrialState.RUNNING, {ASKED: values}))
    return Trial(study, study.get_trials(deepcopy=False)[drawn.number]._trial_id), values


def is_reported(trial: FrozenTrial) -> bool:
    """Return True for a trial that has reported values, and has not ended."""
    return trial.state == TrialState.RUNNING and bool(trial.intermediate_values)


def copied_trial(
    trial: FixedTrial | FrozenTrial, state: TrialState, attributes: dict[str, Any]
) -> FrozenTrial:
    """Return a trial in another state, with the parameters and what was reported of this one."""
    return create_trial(
        state=state,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=attributes,
        system_attrs=trial.system_attrs,
        intermediate_values=getattr(trial, "intermediate_values", {}),
    )


def tell_end(study: optuna.Study, sweep: Sweep, record: TrialRecord) -> None:
    """Tell a study the end of a trial, unless it knows one.

    One that finished without a value of each objective has failed, as far as the sampler is concerned.
    """
    frozen = study.get_trials(deepcopy=False)[record.number]
    if not frozen.state.is_finished():
        set_constraints(Trial(study, frozen._trial_id), sweep, record)
    if is_measured(sweep, record):
        values = [record.values[objective.figure] for objective in sweep.file.objectives]
        study.tell(record.number, values, skip_if_finished=True)
    else:
        state = TrialState.PRUNED if record.state == "pruned" else TrialState.FAIL
        study.tell(record.number, state=state, skip_if_finished=True)


def set_constraints(trial: Trial, sweep: Sweep, record: TrialRecord) -> None:
    """Set how far a trial is beyond each constraint: of one that was pruned, where it breaks it for good."""
    stated = trial.constraints
    for limit, excess in sweep.excesses(record.values).items():
        if (record.state == "finished" or limit in record.breaches) and limit not in stated:
            trial.set_constraint(limit, excess)


def add_missing_trials(study: optuna.Study, recorded: optuna.Study) -> None:
    """Add the trials to a study that come after its last one, as if they ran: their ends are told later."""
    for trial in recorded.get_trials(deepcopy=False)[len(study.get_trials(deepcopy=False)) :]:
        values = trial_values(trial)
        study.add_trial(copied_trial(trial, TrialState.RUNNING, {ASKED: values}) if values else trial)


def contradiction(study: optuna.Study, recorded: optuna.Study) -> str:
    """Return the first difference of a stored study from the records of the trials, in words; "" for none.

    That a trial runs is none where its record is missing, or has ended: that is told later.
    """
    if study.directions != recorded.directions:
        return "it has other objectives"
    pairs = zip_longest(study.get_trials(deepcopy=False), recorded.get_trials(deepcopy=False))
    for number, (stored, record) in enumerate(pairs):
        if stored is not None and not agrees(stored, record):
            return f"its trial {number} is another one than trial-{number:04d}"
    return ""


def agrees(stored: FrozenTrial, record: FrozenTrial | None) -> bool:
    """Return True where a trial of a stored study may have become that of the records, or None without."""
    if record is None or not trial_values(record):
        return stored.state in (TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL)
    is_same = trial_values(stored) == trial_values(record) and are_close(stored.params, record.params)
    if not is_same or not all(isinstance(value, float) for value in stored.intermediate_values.values()):
        return False
    if stored.state != TrialState.COMPLETE:
        return stored.state in (TrialState.RUNNING, record.state)
    return record.state == stored.state and are_close(ended_values(stored), ended_values(record))


def ended_values(trial: FrozenTrial) -> dict[Any, SearchValue]:
    """Return the objectives of a finished trial by their number, and its constraints."""
    return {**dict(enumerate(trial.values)), **trial.constraints}


def are_close(values: dict[Any, SearchValue], others: dict[Any, SearchValue]) -> bool:
    """Return True where values by name are the same, but for the rounding of numbers."""
    return values.keys() == others.keys() and all(
        is_close(value, others[key]) for key, value in values.items()
    )


def is_close(value: SearchValue, other: SearchValue) -> bool:
    """Return True where two values are the same, but for the rounding of numbers."""
    if isinstance(value, float) and isinstance(other, float | int):
        return math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-11)
    return value == other
