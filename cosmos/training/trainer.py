"""The training loop: from the step at which a run stands to its last one."""

import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_number
from cosmos.config.progress_bar import ProgressBar
from cosmos.data.batch import Batch
from cosmos.data.readable import DELETE, DamageLimit, name_damage, sample_problems
from cosmos.data.shards.damage import SampleDamage
from cosmos.distributed.device_memory import forget_peak_memory
from cosmos.distributed.exchange import on_every_rank, on_first_rank
from cosmos.errors import DamagedDataError, DivergedError, Interrupted
from cosmos.model.checkpoint_run import origin_of_run
from cosmos.model.cosmos import Cosmos
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.run.step_trace import TracedSession
from cosmos.training import schedules
from cosmos.training.checkpoint import training_content
from cosmos.training.evaluation_queue import EvaluationQueue, StepFigures
from cosmos.training.feed import BatchFeed
from cosmos.training.progress import Stopwatch, TrainingState
from cosmos.training.saving import CheckpointWriter
from cosmos.training.signals import StopRequest, stop_on_signals
from cosmos.training.speed import device_name, finish_stretch, learner_metrics, measure_lap
from cosmos.training.step import Learner, RankFlags, StepResult, explaining_memory_errors
from cosmos.training.step_plan import StepPlan
from cosmos.training.training_log import TrainingLog

logger = logging.getLogger(__name__)

ModelEvaluation = Callable[[dict[str, Cosmos]], dict[str, float]]
"""Function that measures models by name ("student", "teacher"), and returns figures by name."""


@dataclass
class Trainer:
    """Training of a run: the learner's steps by a plan, with checkpoints, metrics and evaluations.

    `open_training` returns one that continues from the newest checkpoint of its run.
    """

    lease: Lease
    learner: Learner
    plan: StepPlan
    machine: Machine
    evaluate: ModelEvaluation
    queue: EvaluationQueue
    """queue of the checkpoints that are evaluated beside training, which the first rank uses"""
    state: TrainingState
    owes_evaluation: bool
    """the step at which the run stands ends in an evaluation that is not in its metrics or the queue yet"""
    has_waiting: bool
    """checkpoints wait in the queue as training begins"""
    saved_step: int
    """step of the newest checkpoint, on disk or on its way"""
    limit: DamageLimit
    """limit of the samples that the run does without"""
    writer: CheckpointWriter
    """writer of checkpoints, which the first rank uses"""
    next_damage: list[SampleDamage] = field(default_factory=list)
    """damage that all ranks met in the next batch"""
    saved_at: float = field(default_factory=time.monotonic)
    """time at which the newest save began, or the training, by the monotonic clock"""
    stopwatch: Stopwatch = field(init=False)
    origin: dict[str, str] = field(default_factory=dict, init=False)
    """marks of the run in its checkpoints, by key; {} before training begins"""

    def __post_init__(self) -> None:
        process = self.learner.process
        self.stopwatch = Stopwatch(self.state.counters, process.world_size, self.learner.parts)

    @property
    def run(self) -> RunDir:
        """Run directory that is trained in."""
        return self.lease.run

    @property
    def step(self) -> int:
        """Number of steps taken so far."""
        return self.state.step

    @property
    def is_complete(self) -> bool:
        """True when nothing is left to do in this session."""
        is_left = self.owes_evaluation or self.has_waiting
        return self.step >= self.plan.last_step and not is_left

    def train(self, batches: Iterable[Batch]) -> Path:
        """Train on `batches`, of which the first is for the next step; return the last checkpoint's path.

        Raises Interrupted when a signal asked to stop (all is saved), DivergedError when the loss stays
        non-finite, naming the last good checkpoint, SupersededError when another process took over,
        TransientError when a disk is full or fails, OutOfMemoryError when a GPU has too little memory, and
        DamagedDataError past the limit of damaged samples. What a rank meets as it reads data is raised on
        all of them, when the steps taken are saved.
        """
        log = self.open_log()
        self.origin = on_first_rank(lambda: origin_of_run(self.run))  # the session is on record by now
        forget_peak_memory(self.learner.process.device)
        self.stopwatch.restart()
        self.learner.parts.restart(self.step)
        with (
            stop_on_signals() as stop,
            self.progress_bar() as bar,
            self.evaluating_beside(stop),
            self.writer.finishing(),
        ):
            task = bar.add_task("pretrain", total=self.plan.total_steps, completed=self.step, loss="")
            feed = BatchFeed(batches, stop, self.learner.parts)
            feed.fetch()
            self.heed(self.learner.agree_on_flags(self.raise_flags(feed)), feed)
            if self.owes_evaluation:  # a save comes before its step's evaluation
                self.measure_step(log, stop, feed)
            while batch := feed.batch:
                result = self.take_step(batch, feed)
                self.prepare_saves()
                bar.update(task, completed=self.step, loss=f"loss {format_number(result.mean_loss)}")
                self.report(log, result, len(batch))
                self.estimate_time()
                if self.is_save_due(result):
                    self.begin_save()
                self.heed(result.flags, feed)
                if self.owes_evaluation:
                    self.measure_step(log, stop, feed)
            self.save()
            self.settle_evaluations(log, stop)
            log.log_stretch(finish_stretch(self.learner))
        return self.run.checkpoint(self.step)

    def evaluating_beside(self, stop: StopRequest) -> AbstractContextManager[None]:
        """Return the context in which checkpoints of the queue are evaluated beside training."""
        if not self.learner.process.is_first:
            return nullcontext()
        return self.queue.following(self.step, lambda: bool(stop.signal))

    def open_log(self) -> TrainingLog:
        """Open the log of metrics and steps' times; raises as `TrainingLog.open`."""
        process = self.learner.process
        hosts, device = on_every_rank(socket.gethostname), device_name(process.device)
        session = TracedSession(self.step, tuple(hosts), device, self.machine.workers)
        return TrainingLog.open(self.lease, self.queue, self.plan, session)

    def raise_flags(self, feed: BatchFeed) -> RankFlags:
        """Return the events on this rank that all ranks must learn of."""
        has_failed = feed.failure is not None or self.writer.has_failed
        return RankFlags(feed.stop_signal, self.is_late(), has_failed, bool(feed.damage))

    def heed(self, flags: RankFlags, feed: BatchFeed) -> None:
        """Do, on all ranks, what some rank's flags ask for before the next step.

        Raises Interrupted for a request to stop, the error of a rank that lacks its next batch, and
        DamagedDataError where too many samples are damaged; all once the newest checkpoint is on disk.
        """
        if flags.stop_signal or flags.has_failed:
            self.finish_save()
        if flags.stop_signal and not self.is_complete:
            path = self.run.checkpoint(self.step)
            where = f"after step {self.step}; {path} holds it all" if self.step else "before the first step"
            raise Interrupted(f"stopped {where}", flags.stop_signal)
        if flags.has_failed:
            feed.raise_failure()
        self.foresee_damage(feed.gather_damage() if flags.has_damage else [])

    def foresee_damage(self, damage: list[SampleDamage]) -> None:
        """Warn of damaged samples in the next batch; save and raise DamagedDataError where they are too many.

        They are counted with the step on that batch, so that data which is mended before it is none in a
        resumed run.
        """
        self.next_damage = damage
        problems = sample_problems(item for item in damage if item.index not in self.state.damaged)
        if problems and self.learner.process.is_first:
            logger.warning("damaged samples, in whose place others are read: %s", name_damage(problems))
        try:
            self.limit.check(len(self.state.damaged) + len(problems), problems, DELETE)
        except DamagedDataError:
            self.save()
            raise

    def take_step(self, batch: Batch, feed: BatchFeed) -> StepResult:
        """Take one step, and fetch the next batch meanwhile; skip it where the loss is not finite.

        Raises DivergedError past `pretrain.max_nonfinite_steps` skipped steps in a row.
        """
        rates = self.scheduled(self.step)

        def fetch_next() -> RankFlags:
            feed.fetch()
            return self.raise_flags(feed)

        with explaining_memory_errors():
            result = self.learner.step(batch, *rates, fetch_next)
        self.stopwatch.lap.num_batches += 1
        self.stopwatch.lap.flops += result.flops
        self.state.count_step(result.num_replaced, result.is_finite)
        self.state.count_damage(self.next_damage)
        params = self.learner.params
        self.owes_evaluation = self.plan.is_evaluation_due(self.step, params.evaluate_every_epochs)
        if self.state.counters.skipped_in_a_row > params.max_nonfinite_steps:
            self.finish_save()
            saved = self.run.checkpoint(self.saved_step)
            raise DivergedError(
                f"the loss is not finite at step {self.step} (samples {', '.join(batch.keys[:3])}, ...); "
                f"the last good checkpoint is {saved if exists(saved) else 'none yet'}; "
                "try a lower pretrain.learning_rate, pretrain.clip_grad_norm 1 or pretrain.precision float32"
            )
        return result

    def scheduled(self, step: int) -> tuple[float, float]:
        """Return the learning rate and the teacher's momentum of the step after `step` steps."""
        total, params = self.plan.total_steps, self.learner.params
        return schedules.learning_rate(step, total, params), schedules.momentum(step, total, params)

    def report(self, log: TrainingLog, result: StepResult, num_samples: int) -> None:
        """Log a line of metrics where one is due; this rank had `num_samples` of the batch."""
        total = self.plan.total_steps
        if self.step < total and self.step % self.learner.params.log_every_steps:
            return
        with self.learner.parts.timed("logging"):
            state = learner_metrics(self.learner, result)  # after it, the device has finished the step
            speed = measure_lap(self.learner, result, self.stopwatch.finish_lap(), num_samples)
            line = self.metrics_line({**state, **speed.figures})
            log.log_step(line, speed.stretch)
        if self.learner.process.is_first:
            loss, rate = format_number(line["loss"]), format_number(line["samples_per_second"])
            logger.info("step %d of %d: loss %s, %s samples/s", self.step, total, loss, rate)

    def metrics_line(self, measured: Mapping[str, float]) -> dict[str, Any]:
        """Return the line of metrics of this step, with what was measured of it."""
        learning_rate, momentum = self.scheduled(self.step - 1)
        return {
            "step": self.step,
            "epoch": self.step / self.plan.steps_per_epoch,
            "samples": self.step * self.learner.params.batch_size,
            **measured,
            "learning_rate": learning_rate,
            "momentum": momentum,
            **asdict(self.state.counters),
            "samples_listed": self.limit.num_samples,
            "samples_used": self.limit.num_used(self.state.counters.damaged_samples),
        }

    def estimate_time(self) -> None:
        """Log, once enough steps were taken, an estimate of the time that the rest takes."""
        left, is_first = self.plan.last_step - self.step, self.learner.process.is_first
        if self.stopwatch.measure_pace() and left and is_first:
            logger.info(self.stopwatch.pace.describe(left))

    def measure_step(self, log: TrainingLog, stop: StopRequest, feed: BatchFeed) -> None:
        """Evaluate the models of this step: beside training or, where that waits or has ended, here."""
        if not self.queue.is_used or feed.batch is None:
            self.evaluate_models(log, stop)
        elif self.learner.process.is_first:
            self.writer.then(partial(self.queue.add, self.run.checkpoint(self.step)))
        self.owes_evaluation = False

    def evaluate_models(self, log: TrainingLog, stop: StopRequest) -> None:
        """Evaluate student and teacher, all ranks together, and log the figures, once the step is on disk."""
        self.finish_save()
        message = f"stopped in the evaluation after step {self.step}, which is saved"
        with self.stopwatch.paused("evaluating"), stop.obeyed_at_once(message):
            figures = self.evaluate({"student": self.learner.student, "teacher": self.learner.teacher})
        self.settle_evaluations(log, stop)  # so that figures are logged in the order of their steps
        log.log_line(log.evaluation_line(StepFigures(self.step, {**figures})))

    def settle_evaluations(self, log: TrainingLog, stop: StopRequest) -> None:
        """Log the figures of the evaluations that are left beside training, for which a while is waited."""
        if on_first_rank(lambda: bool(self.run.unevaluated_checkpoints)):
            message = (
                f"stopped after step {self.step}, which is saved, with an evaluation beside training left"
            )
            with self.stopwatch.paused("evaluating"), stop.obeyed_at_once(message):
                on_first_rank(lambda: self.queue.settle(log.append))
        self.has_waiting = False

    def is_late(self) -> bool:
        """Return True when the machine's interval between checkpoints is over by this rank's clock."""
        return time.monotonic() - self.saved_at > 60 * self.machine.checkpoint_every_minutes

    def is_save_due(self, result: StepResult) -> bool:
        """Return True when an interval is over, a stop asked for, data not to be had or an evaluation due.

        An evaluation may outlast what is left of a job: the steps taken are saved before it, not after.
        """
        every = self.machine.checkpoint_every_steps
        by_step = every > 0 and self.step % every == 0
        flags = result.flags
        return by_step or flags.save_due or flags.has_failed or flags.stop_signal > 0 or self.owes_evaluation

    def prepare_saves(self) -> None:
        """Have the first rank's writer take its memory, after a first step has made the optimiser's state."""
        if self.learner.process.is_first and not self.writer.is_prepared:
            self.writer.prepare(self.checkpoint_content())

    def save(self) -> None:
        """Write a checkpoint of the current step, unless it is there, and wait until it is on disk."""
        self.begin_save()
        self.finish_save()

    def begin_save(self) -> None:
        """Begin to write a checkpoint of the current step, from the first rank, unless it is there.

        Raises the error of the save before, if it failed.
        """

        def begin() -> None:
            if not self.is_saved():
                self.writer.begin(self.checkpoint_content())

        with self.stopwatch.paused("saving"):
            on_first_rank(begin)
        self.saved_at, self.saved_step = time.monotonic(), self.step

    def checkpoint_content(self) -> dict[str, Any]:
        """Return the content of a checkpoint of the current step; its tensors are the learner's own."""
        epoch = self.plan.epoch(self.step)
        return training_content(self.learner, self.state, epoch, self.run, self.origin)

    def is_saved(self) -> bool:
        """Return True when the checkpoint of the current step is on disk or on its way, on the first rank."""
        is_there = self.writer.is_pending or exists(self.run.checkpoint(self.step))
        return self.saved_step == self.step and is_there

    def finish_save(self) -> None:
        """Wait, on all ranks, until the newest checkpoint is on disk; raise the error that stopped it."""
        with self.stopwatch.paused("saving"):
            on_first_rank(self.writer.finish)

    def progress_bar(self) -> ProgressBar:
        """Return a bar with the time left, which shows on the first rank's terminal."""
        return ProgressBar(
            TextColumn("{task.description}", "bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}", markup=False),
            TimeRemainingColumn(),
            is_shown=self.learner.process.is_first,
        )
