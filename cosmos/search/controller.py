"""Controller of a sweep, which asks the study for trials, runs them, and tells it their outcomes.

All state is in the records of trials and jobs and in the run directories, so that a controller may be killed
at any moment, and the next one continues. A trial's record is written before its job is submitted, and its
end before the study is told: the study can be made again from the records. A trial that is paused at a rung
has not ended: the study, as Optuna knows no pause, takes it to run.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from cosmos.config.search_space import TrialValues
from cosmos.config.sweep import Sweep
from cosmos.errors import CosmosError, DamagedDataError, DivergedError, InputError
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsTail, read_metrics
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.search.dominance_pruning import DominancePruner
from cosmos.search.earlier_sweep import enqueue_earlier, origin_of
from cosmos.search.ended_trials import EndedTrialsLog
from cosmos.search.objectives import (
    check_same_data,
    read_evaluated_data,
    read_measured_data,
    read_trial_figures,
    select_figures,
)
from cosmos.search.repetitions import due_repetitions, ended_runs, remaining_repetitions
from cosmos.search.rungs import RungReader, Rungs
from cosmos.search.study import make_sampler, report_metrics, trial_values
from cosmos.search.study_of_records import ask_study, tell_end
from cosmos.search.trial_failures import TrialFailures
from cosmos.search.trial_jobs import TrialJobState, TrialRunner
from cosmos.search.trial_retries import TrialRetries

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Seconds between polls of the trials that run; the runner limits how often the scheduler is asked."""


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
        self,
        sweep: Sweep,
        folder: SweepDir,
        study: optuna.Study,
        runner: TrialRunner,
        parallel: int,
        lease: Lease,
    ) -> None:
        self.sweep, self.folder, self.study = sweep, folder, study
        self.runner, self.parallel, self.lease = runner, parallel, lease
        self.ended = EndedTrialsLog(folder.own.metrics)
        self.dominance = DominancePruner(sweep)
        self.running: dict[str, RunningTrial] = {}
        self.failures = TrialFailures()
        self.retries = TrialRetries()
        self.rungs, self.rung_reader = Rungs(sweep, folder.trials), RungReader(sweep)
        self.is_closing = False

    def search(self, num_trials: int) -> Iterator[TrialRecord]:
        """Run trials until `num_trials` have begun and all that may go on have ended or failed.

        Yields each as it begins or goes on, and as it pauses or ends. Trials that run already are taken over.
        Raises SupersededError when another controller takes over,
        InputError where trials cannot begin or fail by what they share, CosmosError where most of them fail,
        and TransientError where the others have ended, or three in a row were ended too often; trials that
        run go on.
        """
        yield from self.take_over()
        self.is_closing = False
        yield from self.run_trials(lambda: self.next_of_search(num_trials))

    def next_of_search(self, num_trials: int) -> tuple[TrialRecord, Trial | None] | None:
        """Return the next trial: a repetition that is due, a paused one that may go on, or a new one."""
        if repetition := self.next_repetition():
            return repetition, None
        if record := self.rungs.next_promotion():
            return self.promote(record)
        if self.count_spent() < num_trials:
            return self.ask()
        self.is_closing |= not self.running
        may_close = self.is_closing and not self.failures.parked  # whose figures may be better
        last = self.rungs.final_promotion(len(self.running)) if may_close else None
        return self.promote(last) if last else None

    def next_repetition(self) -> TrialRecord | None:
        """Return a repetition that is due while the search goes on; None where there is none."""
        if not self.sweep.file.repeats.every:
            return None
        excluded = {*ended_runs(self.folder), *self.running, *self.failures.parked}
        return next(iter(due_repetitions(self.sweep, self.study, self.ended.numbers, excluded)), None)

    def has_trials_left(self, num_trials: int) -> bool:
        """Return True unless `num_trials` trials have ended or must wait, and so have their repetitions."""
        is_running = any(trial.state == "running" for trial in self.folder.trials)
        may_go_on = self.rungs.next_promotion() or self.rungs.final_promotion(0)
        is_begun = self.count_spent() >= num_trials
        return bool(is_running or may_go_on or not is_begun or self.remaining_repetitions)

    @property
    def remaining_repetitions(self) -> list[TrialRecord]:
        """Repetitions of the best trials that have not ended."""
        return remaining_repetitions(self.sweep, self.study, self.folder)

    def repeat(self) -> Iterator[TrialRecord]:
        """Train the best trials again with further seeds; yield each as it begins and as it ends."""
        remaining = iter(self.remaining_repetitions)

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
                self.lease.check()
            if not self.running:
                self.failures.check_parked(1)
                return
            time.sleep(POLL_SECONDS)

    def count_spent(self) -> int:
        """Return the number of trials that count towards the number asked for: begun, and not failed."""
        trials = self.study.get_trials(deepcopy=False)
        return sum(1 for trial in trials if trial_values(trial) and trial.state != TrialState.FAIL)

    def ask(self) -> tuple[TrialRecord, Trial]:
        """Return a new trial, whose values are in the study.

        The sampler is seeded by the trial's number, so that it draws the same whatever was killed before. The
        values of earlier sweeps come first.
        """
        number = enqueue_earlier(self.study, self.sweep, self.folder)
        self.study.sampler = make_sampler(self.sweep, number)
        trial, values = ask_study(self.study, self.sweep)
        return self.first_record(trial, values), trial

    def first_record(self, trial: Trial | FrozenTrial, values: TrialValues) -> TrialRecord:
        """Return the record of a trial that trains to its first rung, if there is any."""
        until = self.sweep.next_rung(values, 0)
        return TrialRecord(self.sweep.id, trial.number, 0, values, until=until, origin=origin_of(trial))

    def promote(self, record: TrialRecord) -> tuple[TrialRecord, Trial]:
        """Return a paused trial, which is to train from its checkpoint to the next rung, or to its end."""
        if not self.folder.run(record).saved_checkpoints:
            logger.warning("%s: its checkpoint is gone; it trains from the first step again", record.name)
        until = self.sweep.next_rung(record.asked, record.epochs_reached)
        frozen = self.study.get_trials(deepcopy=False)[record.number]
        trial = Trial(self.study, frozen._trial_id)
        return replace(record, state="running", until=until, values={}), trial

    def begin(self, record: TrialRecord, trial: Trial | None) -> TrialRecord:
        """Start a trial, unless its job runs already, and watch it from now on."""
        run = self.folder.run(record)
        record = replace(record, interruptions=count_interruptions(run))
        RunLabels(self.sweep.id, "pretrain", (self.sweep.name, "trial")).write(run)
        self.write(record)
        with self.lease.writing():  # whoever cancels the sweep then finds the job
            state = self.runner.start(run, self.sweep.params(record.asked, record.seed), record.until)
        record = replace(record, attempts=state.attempts, job=state.job)
        self.write(record)
        self.rungs.update(record)
        self.running[record.name] = RunningTrial(record, run, trial, MetricsTail(run.metrics))
        return record

    def write(self, record: TrialRecord) -> None:
        """Write the record of a trial. SupersededError where another process leads: nobody does meanwhile."""
        with self.lease.writing():
            record.write(self.folder.run(record))

    def take_over(self) -> Iterator[TrialRecord]:
        """Continue after the last controller: begin trials that run, tell ends that only the records have.

        Records that are of no use are logged, each in a line.
        """
        trials = self.folder.read_trials()
        for problem in trials.problems.values():
            logger.warning("%s", problem)
        for record in trials.records:
            if record.has_ended:
                self.ended.add(record)
            if record.has_ended and not record.seed and self.sweep.prunes_by_dominance:
                self.dominance.restore(record, read_metrics(self.folder.run(record).metrics))
        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.state == TrialState.RUNNING:
                yield from self.go_on(frozen, trials.firsts.get(frozen.number))
        for record in trials.records:
            if record.seed and record.state == "running":
                yield self.begin(record, None)

    def go_on(self, frozen: FrozenTrial, record: TrialRecord | None) -> Iterator[TrialRecord]:
        """Begin a trial that runs as far as the study knows; tell the study its end where `record` has it."""
        if record and record.has_ended:
            self.settle(record)
        elif record and record.state == "running":
            yield self.begin(record, Trial(self.study, frozen._trial_id))
        elif record:
            return  # it is paused
        elif values := trial_values(frozen):
            record = self.first_record(frozen, values)
            yield self.begin(record, Trial(self.study, frozen._trial_id))
        else:
            self.study.tell(frozen.number, state=TrialState.FAIL)  # killed while it was asked for

    def settle(self, record: TrialRecord) -> None:
        """Do what the end of a trial leads to: stop the job of a pruned one, tell the study."""
        if record.state == "pruned":
            self.runner.stop(self.folder.run(record))
        if not record.seed:
            self.dominance.end(record)
            tell_end(self.study, self.sweep, record)

    def poll(self, running: RunningTrial) -> Iterator[TrialRecord]:
        """Report a running trial's new values; finish, pause, prune, restart or fail it where that is due."""
        state = self.runner.state(running.run)
        falls_behind = self.report(running)
        if state.state == "finished" and not running.record.until:
            yield self.finish(running)
        elif falls_behind:
            yield self.prune(running)
        elif state.state == "finished":
            yield from self.pause(running)
        elif state.state == "dead":
            yield from self.revive_or_fail(running, state)

    def report(self, running: RunningTrial) -> bool:
        """Report a trial's new values; return True if the trial should be pruned."""
        lines = running.metrics.new_lines()
        if running.trial is None or not lines:
            return False
        epochs = self.sweep.params(running.record.asked, 0).pretrain.epochs
        falls_behind = report_metrics(running.trial, self.sweep.file.objectives, lines, epochs)
        if self.sweep.prunes_by_dominance:
            return self.dominance.report(running.record.number, lines, epochs)
        return falls_behind

    def pause(self, running: RunningTrial) -> Iterator[TrialRecord]:
        """Record that a trial waits at its rung, once its objectives there are measured.

        InputError where that was on other data than other trials.
        """
        if result := self.rung_reader.read(running.record, running.run):
            values = {figure: value for figure, value in result.values.items() if value is not None}
            rungs = (*running.record.rungs, result)
            data = read_evaluated_data(running.run, self.sweep.file.objectives)
            record = replace(running.record, state="paused", values=values, rungs=rungs, data=data)
            check_same_data(record, self.folder.trials, running.run)
            self.write(record)
            self.rungs.update(record)
            self.failures.count_success()
            del self.running[record.name]
            yield record

    def prune(self, running: RunningTrial) -> TrialRecord:
        """End a trial that has fallen behind, or breaks a constraint for good, and its job."""
        exceeded = self.dominance.exceeded(running.record.number)
        last = {**self.last_reported(running.record.number), **exceeded}
        values = {figure: value for figure, value in last.items() if math.isfinite(value)}
        breaches = self.sweep.breaches(exceeded)
        record = replace(running.record, state="pruned", values=values, breaches=breaches)
        return self.close(running, record)

    def last_reported(self, number: int) -> dict[str, float]:
        """Return the last values of the objectives that a trial reported, by figure."""
        if self.sweep.prunes_by_dominance:
            return self.dominance.curve(number).last_values
        (objective,) = self.sweep.file.objectives
        reported = self.study.get_trials(deepcopy=False)[number].intermediate_values
        return {objective.figure: reported[max(reported)]}

    def finish(self, running: RunningTrial) -> TrialRecord:
        """Record a finished trial's objectives and limited figures; fail it where one is not finite.

        InputError where its run has no such figure, or was measured on other data than other trials.
        """
        wanted = self.sweep.figures
        values = select_figures(wanted, read_trial_figures(running.run, self.runner.num_ranks))
        data = running.record.data | read_measured_data(running.run, wanted)
        record = replace(running.record, data=data)
        check_same_data(record, self.folder.trials, running.run)
        if not all(map(math.isfinite, values.values())):
            return self.fail(running, f"an objective or constraint is not finite: {values}")
        breaches = self.sweep.breaches(values)
        return self.close(running, replace(record, state="finished", values=values, breaches=breaches))

    def revive_or_fail(self, running: RunningTrial, state: TrialJobState) -> Iterator[TrialRecord]:
        """Submit a trial whose job died once more, to continue from its last save; or fail it.

        One that died of a TransientError is never failed: it is submitted again after a while, and that being
        done often enough, it waits for the next controller. One that lacks a permission waits at once.
        """
        record = running.record
        if state.is_transient or state.is_forbidden:
            yield from self.retry(running, state)
        elif state.is_hopeless or self.count_attempts(record, state) >= self.sweep.file.attempts:
            yield self.fail(running, state.reason, state.error)
        else:
            logger.warning("%s: %s; submitted again", record.name, state.reason)
            yield self.begin(record, running.trial)

    def count_attempts(self, record: TrialRecord, state: TrialJobState) -> int:
        """Return the number of a trial's jobs that are its own fault, or have not ended."""
        return state.attempts - record.interruptions - len(record.rungs)

    def retry(self, running: RunningTrial, state: TrialJobState) -> Iterator[TrialRecord]:
        """Submit a trial again whose job ended by no fault of its own, once that is due; or park it."""
        record = running.record
        if not self.retries.waits(record.name):
            record = replace(record, interruptions=record.interruptions + 1)
            self.write(record)
            self.running[record.name] = replace(running, record=record)
            if not self.retries.schedule(record.name, state):
                del self.running[record.name]
                self.failures.park(record.name, state.reason)
        elif self.retries.take_due(record.name):
            yield self.begin(record, running.trial)

    def fail(
        self, running: RunningTrial, reason: str, error: type[CosmosError] = DivergedError
    ) -> TrialRecord:
        """Record that a trial failed. Raises the errors of `TrialFailures.check`."""
        record = self.close(running, replace(running.record, state="failed", problem=reason))
        self.failures.count_failure(reason, error)
        return record

    def close(self, running: RunningTrial, record: TrialRecord) -> TrialRecord:
        """Write the record of a trial that ended, log it as a line of the sweep's metrics, tell the study."""
        self.write(record)
        self.rungs.update(record)
        self.ended.add(record)
        self.settle(record)
        if record.state != "failed":
            self.failures.count_success()
        del self.running[record.name]
        return record


def count_interruptions(run: RunDir) -> int:
    """Return the interruptions in the record of a trial that was begun before; 0 without one of use."""
    try:
        return TrialRecord.of(run).interruptions
    except (InputError, DamagedDataError):
        return 0
