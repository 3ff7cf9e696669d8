"""Controller of a sweep, which asks the study for trials, runs them, and tells it their outcomes.

All state is in the study, the jobs' records and the run directories, so that a controller may be killed at
any moment, and the next one continues. A trial's values are in the study before its job is submitted, and its
end is told to the study before it is written to trial.json.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from cosmos.config.sweep import Sweep
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    DivergedError,
    InputError,
    OutOfMemoryError,
    TransientError,
)
from cosmos.registry.sweep_directory import SweepDir, TrialRecord
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsTail, MetricsWriter, read_metrics
from cosmos.search.objectives import (
    check_same_data,
    intermediate_value,
    read_objective_data,
    read_trial_figures,
    select_objectives,
)
from cosmos.search.study import ASKED, trial_values
from cosmos.search.trial_jobs import TrialJobState, TrialRunner
from cosmos.search.trial_retries import TrialRetries

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Seconds between polls of the trials that run; the runner limits how often the scheduler is asked."""

MIN_FAILURES_TO_STOP = 3
"""Failed trials after which a sweep stops: most of all, or in a row by a cause that they share."""

END_STATES: Mapping[TrialState, Literal["finished", "pruned", "failed"]] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
"""State in trial.json, by the study's state."""


@dataclass(frozen=True)
class RunningTrial:
    """Trial that runs, in its run directory."""

    record: TrialRecord
    run: RunDir
    trial: Trial | None
    """trial of the study; None for a repetition, which the study does not contain"""
    metrics: MetricsTail
    """reader of its metrics"""


NextTrial = Callable[[], tuple[TrialRecord, Trial | None] | None]
"""Function that returns the next trial to begin, or None where there is none for now."""


class Controller:
    """Runner of a sweep's trials, in the only process that does so until another one takes over."""

    def __init__(
        self, sweep: Sweep, folder: SweepDir, study: optuna.Study, runner: TrialRunner, parallel: int
    ) -> None:
        self.sweep, self.folder, self.study = sweep, folder, study
        self.runner, self.parallel = runner, parallel
        self.lease = Lease.take(folder.own)
        self.num_ended = len(read_metrics(folder.own.metrics))
        self.metrics = MetricsWriter(folder.own.metrics, self.num_ended)
        self.running: dict[str, RunningTrial] = {}
        self.num_ended_here = self.num_failed_here = 0
        self.failures: list[type[CosmosError]] = []
        self.retries = TrialRetries(runner.max_requeues)
        self.parked: dict[str, str] = {}

    def search(self, num_trials: int) -> Iterator[TrialRecord]:
        """Run trials until `num_trials` are finished or pruned; yield each as it begins and as it ends.

        Trials that run already are taken over. Raises SupersededError when another controller takes over,
        InputError where trials cannot begin or fail by what they share, CosmosError where most of them fail,
        and TransientError where the others have ended, or three in a row were ended too often; trials that
        run go on.
        """
        yield from self.take_over()

        def next_trial() -> tuple[TrialRecord, Trial | None] | None:
            return self.ask() if self.count_spent() < num_trials else None

        yield from self.run_trials(next_trial)

    def has_trials_left(self, num_trials: int) -> bool:
        """Return True unless `num_trials` trials have ended, and so have their repetitions."""
        is_running = any(trial.state == "running" for trial in self.folder.trials)
        return is_running or self.count_spent() < num_trials or bool(self.remaining_repetitions())

    def remaining_repetitions(self) -> list[TrialRecord]:
        """Return the records of the best trials with further seeds that have not ended."""
        repetitions = [
            TrialRecord(self.sweep.id, trial.number, seed, trial_values(trial))
            for seed in range(1, self.sweep.file.repeats.seeds + 1)
            for trial in best_trials(self.study)[: self.sweep.file.repeats.best]
        ]
        return [record for record in repetitions if not self.has_ended(record)]

    def repeat(self) -> Iterator[TrialRecord]:
        """Train the best trials again with further seeds; yield each as it begins and as it ends."""
        remaining = iter(self.remaining_repetitions())

        def next_trial() -> tuple[TrialRecord, Trial | None] | None:
            record = next(remaining, None)
            return None if record is None else (record, None)

        yield from self.run_trials(next_trial)

    def run_trials(self, next_trial: NextTrial) -> Iterator[TrialRecord]:
        """Run the trials that `next_trial` returns, `parallel` at a time, until all have ended."""
        while True:
            self.lease.check()
            for running in list(self.running.values()):
                yield from self.poll(running)
            while len(self.running) < self.parallel and (new := next_trial()):
                yield self.begin(*new)
            if not self.running:
                self.check_parked(1)
                return
            time.sleep(POLL_SECONDS)

    def count_spent(self) -> int:
        """Return the number of trials that count towards the number asked for: begun, and not failed."""
        trials = self.study.get_trials(deepcopy=False)
        return sum(1 for trial in trials if trial_values(trial) and trial.state != TrialState.FAIL)

    def has_ended(self, record: TrialRecord) -> bool:
        """Return True when a trial's record says that it has ended."""
        run = self.folder.run(record)
        return run.trial.exists() and TrialRecord.of(run).state != "running"

    def ask(self) -> tuple[TrialRecord, Trial]:
        """Return a new trial, whose values are in the study."""
        trial = self.study.ask()
        values = self.sweep.suggest(trial)
        trial.set_user_attr(ASKED, values)
        return TrialRecord(self.sweep.id, trial.number, 0, values), trial

    def begin(self, record: TrialRecord, trial: Trial | None) -> TrialRecord:
        """Start a trial, unless its job runs already, and watch it from now on."""
        run = self.folder.run(record)
        record = replace(record, interruptions=count_interruptions(run))
        RunLabels(self.sweep.id, "pretrain", (self.sweep.name, "trial")).write(run)
        record.write(run)
        state = self.runner.start(run, self.sweep.params(record.asked, record.seed))
        record = replace(record, attempts=state.attempts, job=state.job)
        record.write(run)
        self.running[record.name] = RunningTrial(record, run, trial, MetricsTail(run.metrics))
        return record

    def take_over(self) -> Iterator[TrialRecord]:
        """Continue after the last controller: begin trials that run, record ends that only the study has."""
        for frozen in self.study.get_trials(deepcopy=False):
            values = trial_values(frozen)
            record = TrialRecord(self.sweep.id, frozen.number, 0, values)
            if frozen.state == TrialState.RUNNING and not values:
                self.study.tell(frozen.number, state=TrialState.FAIL)  # killed while it was asked for
            elif frozen.state == TrialState.RUNNING:
                yield self.begin(record, Trial(self.study, frozen._trial_id))
            elif self.folder.run(record).trial.exists() and not self.has_ended(record):
                self.record_end(self.folder.run(record), frozen)

    def record_end(self, run: RunDir, frozen: FrozenTrial) -> None:
        """Write trial.json of a trial that has ended in the study; end the job of a pruned one."""
        if frozen.state == TrialState.PRUNED:
            self.runner.stop(run)
        state = END_STATES[frozen.state]
        replace(TrialRecord.of(run), state=state, values=self.by_figure(frozen.values)).write(run)

    def by_figure(self, values: Sequence[float] | None) -> dict[str, float]:
        """Return the objective values of a study's trial by figure; {} where it has none."""
        names = [objective.figure for objective in self.sweep.file.objectives]
        return dict(zip(names, values, strict=True)) if values else {}

    def poll(self, running: RunningTrial) -> Iterator[TrialRecord]:
        """Report a running trial's new values; finish, prune, restart or fail it where that is due."""
        state = self.runner.state(running.run)
        falls_behind = self.report(running)
        if state.state == "finished":
            yield self.finish(running)
        elif falls_behind:
            yield self.prune(running)
        elif state.state == "dead":
            yield from self.revive_or_fail(running, state)

    def report(self, running: RunningTrial) -> bool:
        """Report a trial's new values to the study; return True if the trial should be pruned."""
        if (
            running.trial is None
            or len(self.sweep.file.objectives) > 1
            or not (lines := running.metrics.new_lines())
        ):
            return False
        (objective,) = self.sweep.file.objectives
        epochs = self.sweep.params(running.record.asked, 0).pretrain.epochs
        reported = self.study.get_trials(deepcopy=False)[running.record.number].intermediate_values
        falls_behind = False
        for line in lines:
            report = intermediate_value(objective, line)
            if report and report[0] not in reported:
                running.trial.report(report[1], report[0])
                falls_behind |= line["epoch"] < epochs and running.trial.should_prune()
        return falls_behind

    def prune(self, running: RunningTrial) -> TrialRecord:
        """End a trial that has fallen behind, and its job."""
        assert running.trial
        frozen = self.study.tell(running.trial, state=TrialState.PRUNED, skip_if_finished=True)
        self.runner.stop(running.run)
        return self.close(
            running, replace(running.record, state="pruned", values=self.by_figure(frozen.values))
        )

    def finish(self, running: RunningTrial) -> TrialRecord:
        """Tell the study a finished trial's objectives; fail the trial where one is not finite.

        InputError where its run has no such figure, or was measured on other data than other trials.
        """
        objectives = self.sweep.file.objectives
        figures = read_trial_figures(running.run, self.runner.num_ranks)
        values = select_objectives(objectives, figures)
        record = replace(running.record, data=read_objective_data(running.run, objectives))
        check_same_data(record, self.folder.trials, running.run)
        if not all(map(math.isfinite, values.values())):
            return self.fail(running, f"an objective is not finite: {values}")
        if running.trial:
            self.study.tell(running.trial, list(values.values()), skip_if_finished=True)
        return self.close(running, replace(record, state="finished", values=values))

    def revive_or_fail(self, running: RunningTrial, state: TrialJobState) -> Iterator[TrialRecord]:
        """Submit a trial whose job died once more, to continue from its last save; or fail it.

        One that died of a TransientError is never failed: it is submitted again after a while, and that being
        done often enough, it waits for the next controller.
        """
        record = running.record
        if state.is_transient:
            yield from self.retry(running, state)
        elif state.is_hopeless or state.attempts - record.interruptions >= self.sweep.file.attempts:
            yield self.fail(running, state.reason, state.error)
        else:
            logger.warning("%s: %s; submitted again", record.name, state.reason)
            yield self.begin(record, running.trial)

    def retry(self, running: RunningTrial, state: TrialJobState) -> Iterator[TrialRecord]:
        """Submit a trial again whose job a disk, the network or the scheduler ended, once that is due."""
        record = running.record
        if not self.retries.waits(record.name):
            record = replace(record, interruptions=record.interruptions + 1)
            record.write(running.run)
            self.running[record.name] = replace(running, record=record)
            if not self.retries.schedule(record.name, state.reason, state.error):
                self.park(record.name, state.reason)
        elif self.retries.take_due(record.name):
            yield self.begin(record, running.trial)

    def park(self, name: str, reason: str) -> None:
        """Leave a trial to the next controller. Raises TransientError where that happens to all."""
        logger.warning("%s: %s; it waits until this command is given again", name, reason)
        del self.running[name]
        self.parked[name] = reason
        self.failures.append(TransientError)
        newest = self.failures[-MIN_FAILURES_TO_STOP:]
        if newest == [TransientError] * MIN_FAILURES_TO_STOP:
            self.check_parked(MIN_FAILURES_TO_STOP)

    def check_parked(self, limit: int) -> None:
        """Raise TransientError where at least `limit` trials wait for the next controller."""
        if len(self.parked) >= limit:
            name, reason = list(self.parked.items())[-1]
            raise TransientError(
                f"{name}: {reason}\nended again and again: {', '.join(self.parked)}; the same command "
                "goes on from what is saved, and jobs of other trials go on meanwhile"
            )

    def fail(
        self, running: RunningTrial, reason: str, error: type[CosmosError] = DivergedError
    ) -> TrialRecord:
        """Tell the study that a trial failed. Raises the errors of `check_failures`."""
        if running.trial:
            self.study.tell(running.trial, state=TrialState.FAIL, skip_if_finished=True)
        record = self.close(running, replace(running.record, state="failed", problem=reason))
        self.failures.append(error)
        self.num_failed_here += 1
        self.check_failures(reason)
        return record

    def check_failures(self, reason: str) -> None:
        """Raise an error where it would be no use to begin further trials.

        InputError where the last few trials all failed by what is no parameter of theirs: a file that is
        missing or damaged. CosmosError where most trials of this controller failed.
        """
        newest = self.failures[-MIN_FAILURES_TO_STOP:]
        remedy = "once the cause is mended, the same command goes on with others in their place"
        if len(newest) == MIN_FAILURES_TO_STOP and all(map(is_common_cause, newest)):
            raise InputError(f"the last {len(newest)} trials failed, the last one so: {reason}\n{remedy}")
        if self.num_failed_here >= MIN_FAILURES_TO_STOP and 2 * self.num_failed_here > self.num_ended_here:
            counts = f"{self.num_failed_here} of {self.num_ended_here} trials failed"
            raise CosmosError(f"{counts}, the last one so: {reason}\n{remedy}")

    def close(self, running: RunningTrial, record: TrialRecord) -> TrialRecord:
        """Write the record of a trial that ended, and log it as a line of the sweep's metrics."""
        record.write(running.run)
        if record.state != "failed":
            self.failures.clear()
        del self.running[record.name]
        self.num_ended, self.num_ended_here = self.num_ended + 1, self.num_ended_here + 1
        self.metrics.log(
            {"step": self.num_ended, "trial": record.number, "seed": record.seed, **record.values}
        )
        return record


def count_interruptions(run: RunDir) -> int:
    """Return the interruptions in the record of a trial that was begun before; 0 without a record."""
    return TrialRecord.of(run).interruptions if run.trial.exists() else 0


def is_common_cause(error: type[CosmosError]) -> bool:
    """Return True for an error of what trials share, rather than of the values that one of them tries."""
    return issubclass(error, (InputError, DamagedDataError)) and not issubclass(error, OutOfMemoryError)


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the finished trials, the best first; of several objectives the Pareto front, by the first."""
    several = len(study.directions) > 1
    ended = study.best_trials if several else study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    larger_is_better = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
    return sorted(ended, key=lambda trial: trial.values[0], reverse=larger_is_better)
