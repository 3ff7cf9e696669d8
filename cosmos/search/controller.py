"""Leading a sweep: asking the study for trials, having them run, and telling it how they end.

The study, the jobs' records and the run directories say all there is to know, so that a controller may be
killed at any moment: the next one goes on from there. A trial that is begun has its values in the study
before its job is submitted, and an end is told to the study before it is written to trial.json.
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
from cosmos.errors import InputError
from cosmos.registry.sweep_directory import SweepDir, TrialRecord
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsTail, MetricsWriter, read_metrics
from cosmos.search.figures import figures, intermediate, values_of
from cosmos.search.study import ASKED, asked_of
from cosmos.search.trials import Standing, Workplace

logger = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between looks at the trials that run; how rarely the scheduler is asked is the workplace's."""

MANY_FAILURES = 3
"""So many trials may fail before most of them failing stops a sweep."""


ENDS: Mapping[TrialState, Literal["finished", "pruned", "failed"]] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
"""How the study's word for an end is written down."""


@dataclass(frozen=True)
class Live:
    """A trial that runs."""

    record: TrialRecord
    run: RunDir
    trial: Trial | None
    """the study's; None of a repetition, which the study does not know of"""
    lines: MetricsTail
    """of its metrics"""


Supply = Callable[[], tuple[TrialRecord, Trial | None] | None]
"""The next trial to begin; None where there is none for now."""


class Controller:
    """The one process that leads a sweep, until another one takes over."""

    def __init__(
        self, sweep: Sweep, folder: SweepDir, study: optuna.Study, workplace: Workplace, parallel: int
    ) -> None:
        self.sweep, self.folder, self.study = sweep, folder, study
        self.workplace, self.parallel = workplace, parallel
        self.lease = Lease.take(folder.own)
        self.ended = len(read_metrics(folder.own.metrics))
        self.metrics = MetricsWriter(folder.own.metrics, self.ended)
        self.live: dict[str, Live] = {}
        self.ended_here = self.failed_here = 0

    def search(self, num_trials: int) -> Iterator[TrialRecord]:
        """Runs trials until `num_trials` are finished or pruned; yields each as it begins and as it ends.

        Those that run already are taken on. Raises SupersededError when another controller takes over, and
        ValueError where trials cannot be begun or most of them fail; what runs goes on then.
        """
        yield from self.take_on()

        def supply() -> tuple[TrialRecord, Trial | None] | None:
            return self.ask() if self.num_spent() < num_trials else None

        yield from self.work(supply)

    def repeat(self) -> Iterator[TrialRecord]:
        """Trains the best trials again with further seeds; yields each as it begins and as it ends."""
        wanted = [
            TrialRecord(self.sweep.id, trial.number, seed, asked_of(trial))
            for seed in range(1, self.sweep.file.repeats.seeds + 1)
            for trial in best_trials(self.study)[: self.sweep.file.repeats.best]
        ]
        left = iter([record for record in wanted if not self.is_over(record)])

        def supply() -> tuple[TrialRecord, Trial | None] | None:
            record = next(left, None)
            return None if record is None else (record, None)

        yield from self.work(supply)

    def work(self, supply: Supply) -> Iterator[TrialRecord]:
        """Has the trials that `supply` gives run, as many at a time as there may be, until none is left."""
        while True:
            self.lease.check()
            for live in list(self.live.values()):
                yield from self.attend(live)
            while len(self.live) < self.parallel and (new := supply()):
                yield self.begin(*new)
            if not self.live:
                return
            time.sleep(TICK)

    def num_spent(self) -> int:
        """Trials that count: those that failed, or never began, do not."""
        trials = self.study.get_trials(deepcopy=False)
        return sum(1 for trial in trials if asked_of(trial) and trial.state != TrialState.FAIL)

    def is_over(self, record: TrialRecord) -> bool:
        """Whether a repetition has ended."""
        run = self.folder.run(record)
        return run.trial.exists() and TrialRecord.of(run).state != "running"

    def ask(self) -> tuple[TrialRecord, Trial]:
        """A new trial, in the study with what it is to try."""
        trial = self.study.ask()
        asked = self.sweep.suggest(trial)
        trial.set_user_attr(ASKED, asked)
        return TrialRecord(self.sweep.id, trial.number, 0, asked), trial

    def begin(self, record: TrialRecord, trial: Trial | None) -> TrialRecord:
        """Sees that a trial runs, and watches it from now on."""
        run = self.folder.run(record)
        RunLabels(self.sweep.id, "pretrain", (self.sweep.name, "trial")).write(run)
        record.write(run)
        standing = self.workplace.start(run, self.sweep.params(record.asked, record.seed))
        record = replace(record, attempts=standing.attempts, job=standing.job)
        record.write(run)
        self.live[record.name] = Live(record, run, trial, MetricsTail(run.metrics))
        return record

    def take_on(self) -> Iterator[TrialRecord]:
        """Goes on from where the controller before was: trials that run, and ends not yet written down."""
        for frozen in self.study.get_trials(deepcopy=False):
            asked = asked_of(frozen)
            record = TrialRecord(self.sweep.id, frozen.number, 0, asked)
            if frozen.state == TrialState.RUNNING and not asked:
                self.study.tell(frozen.number, state=TrialState.FAIL)  # killed while it was asked for
            elif frozen.state == TrialState.RUNNING:
                yield self.begin(record, Trial(self.study, frozen._trial_id))
            elif self.folder.run(record).trial.exists() and not self.is_over(record):
                self.write_end(self.folder.run(record), frozen)

    def write_end(self, run: RunDir, frozen: FrozenTrial) -> None:
        """Writes down an end that the study knows of already; of a pruned trial, the job ends too."""
        if frozen.state == TrialState.PRUNED:
            self.workplace.stop(run)
        state = ENDS[frozen.state]
        replace(TrialRecord.of(run), state=state, values=self.named(frozen.values)).write(run)

    def named(self, values: Sequence[float] | None) -> dict[str, float]:
        """What the study keeps of a trial's objectives, by figure; {} where it keeps nothing."""
        names = [objective.figure for objective in self.sweep.file.objectives]
        return dict(zip(names, values, strict=True)) if values else {}

    def attend(self, live: Live) -> Iterator[TrialRecord]:
        """Looks at a trial that runs: reports how it does, and ends or restarts it where that is due."""
        standing = self.workplace.look(live.run)
        falls_behind = self.report(live)
        if standing.state == "finished":
            yield self.finish(live)
        elif falls_behind:
            yield self.prune(live)
        elif standing.state == "dead":
            yield self.restart_or_fail(live, standing)

    def report(self, live: Live) -> bool:
        """Reports what a trial has measured since; whether it fell behind with training still to come."""
        if live.trial is None or len(self.sweep.file.objectives) > 1 or not (lines := live.lines.new_lines()):
            return False
        (objective,) = self.sweep.file.objectives
        epochs = self.sweep.params(live.record.asked, 0).pretrain.epochs
        known = self.study.get_trials(deepcopy=False)[live.record.number].intermediate_values
        falls_behind = False
        for line in lines:
            report = intermediate(objective, line)
            if report and report[0] not in known:
                live.trial.report(report[1], report[0])
                falls_behind |= line["epoch"] < epochs and live.trial.should_prune()
        return falls_behind

    def prune(self, live: Live) -> TrialRecord:
        """Ends a trial that has fallen behind, and its job."""
        assert live.trial
        told = self.study.tell(live.trial, state=TrialState.PRUNED, skip_if_finished=True)
        self.workplace.stop(live.run)
        return self.close(live, replace(live.record, state="pruned", values=self.named(told.values)))

    def finish(self, live: Live) -> TrialRecord:
        """Tells the study what a trial came to. ValueError where an objective is not among its figures."""
        found = values_of(self.sweep.file.objectives, figures(live.run, self.workplace.num_ranks))
        if not all(map(math.isfinite, found.values())):
            return self.fail(live, f"an objective is not finite: {found}")
        if live.trial:
            self.study.tell(live.trial, list(found.values()), skip_if_finished=True)
        return self.close(live, replace(live.record, state="finished", values=found))

    def restart_or_fail(self, live: Live, standing: Standing) -> TrialRecord:
        """Submits a trial again whose job died; it goes on from its last save. Too often is a failure."""
        if standing.is_hopeless or standing.attempts >= self.sweep.file.attempts:
            return self.fail(live, standing.why)
        logger.warning("%s: %s; submitted again", live.record.name, standing.why)
        return self.begin(live.record, live.trial)

    def fail(self, live: Live, why: str) -> TrialRecord:
        """Tells the study that a trial failed. ValueError where most of them do."""
        if live.trial:
            self.study.tell(live.trial, state=TrialState.FAIL, skip_if_finished=True)
        record = self.close(live, replace(live.record, state="failed", problem=why))
        self.failed_here += 1
        if self.failed_here >= MANY_FAILURES and 2 * self.failed_here > self.ended_here:
            raise InputError(
                f"{self.failed_here} of {self.ended_here} trials failed, the last one so: {why}\n"
                "once the cause is mended, the same command goes on with others in their place"
            )
        return record

    def close(self, live: Live, record: TrialRecord) -> TrialRecord:
        """Writes down how a trial ended."""
        record.write(live.run)
        del self.live[record.name]
        self.ended, self.ended_here = self.ended + 1, self.ended_here + 1
        self.metrics.log({"step": self.ended, "trial": record.number, "seed": record.seed, **record.values})
        return record


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that finished, the best first; of several objectives the Pareto front, by the first one."""
    several = len(study.directions) > 1
    ended = study.best_trials if several else study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    larger_is_better = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
    return sorted(ended, key=lambda trial: trial.values[0], reverse=larger_is_better)
