"""The training loop: from wherever the run stands to its last step."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cosmos.data.batch import Batch
from cosmos.distributed import mean_over_ranks
from cosmos.machine import Machine
from cosmos.model.cosmos import Cosmos
from cosmos.model.teacher import distance
from cosmos.params import Params
from cosmos.rundir import Interrupted, RunDir
from cosmos.tracking import Metrics
from cosmos.training import checkpoint, schedules
from cosmos.training.signals import StopRequest, stop_on_signals
from cosmos.training.step import Learner, StepResult

logger = logging.getLogger(__name__)

Evaluate = Callable[[dict[str, Cosmos]], dict[str, float]]
"""Named figures of {"student": ..., "teacher": ...}."""


@dataclass(frozen=True)
class Plan:
    """How many steps there are."""

    steps_per_epoch: int
    total_steps: int

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch is complete after `step` steps."""
        return step % self.steps_per_epoch == 0

    def epoch(self, step: int) -> int:
        """Epochs that are complete after `step` steps."""
        return step // self.steps_per_epoch


@dataclass
class Counters:
    """Running totals; those of a resumed run go on."""

    seconds: float = 0.0
    """spent in the loop so far"""
    replaced_samples: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0


class Stopwatch:
    """Time in the loop, and the share of it that waited for data, since the last reading."""

    def __init__(self) -> None:
        self.started, self.waited, self.batches = time.perf_counter(), 0.0, 0

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; waiting for each is counted."""
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(iterator, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            self.batches += 1
            yield batch

    def read(self) -> tuple[float, float, int]:
        """Seconds since the last reading, those spent waiting, and batches; all start again at zero."""
        now = time.perf_counter()
        result = now - self.started, self.waited, self.batches
        self.started, self.waited, self.batches = now, 0.0, 0
        return result


class Trainer:
    """Takes a learner through a plan, with checkpoints, metrics and evaluations on the way."""

    def __init__(
        self,
        run: RunDir,
        params: Params,
        machine: Machine,
        learner: Learner,
        plan: Plan,
        evaluate: Evaluate,
    ) -> None:
        self.run, self.params, self.machine = run, params, machine
        self.learner, self.plan, self.evaluate = learner, plan, evaluate
        self.step, self.counters = 0, Counters()
        found = checkpoint.latest(run)
        if found:
            checkpoint.resume(learner, found)
            self.step, self.counters = found.extra["step"], Counters(**found.extra["progress"])
        self.saved_at, self.saved_step = time.monotonic(), self.step
        self.stopwatch = Stopwatch()
        self.is_first = learner.ranks.is_first

    def train(self, batches: Iterable[Batch]) -> Path:
        """Trains on `batches`, which start at the step where the run stands; returns the last checkpoint.

        Raises Interrupted when a signal asked to stop (all is saved), FloatingPointError when the loss stays
        non-finite, naming the last good checkpoint.
        """
        metrics = Metrics(self.run.metrics, self.step) if self.is_first else None
        with stop_on_signals() as stop, self.progress_bar() as bar:
            task = bar.add_task("pretrain", total=self.plan.total_steps, completed=self.step, loss="")
            self.stopwatch = Stopwatch()
            for batch in self.stopwatch.timed(batches):
                result = self.take_step(batch, stop)
                bar.update(task, completed=self.step, loss=f"loss {result.losses.total.item():.3f}")
                self.report(metrics, result, len(batch))
                self.save_if_due(result.stop_requested)
                if result.stop_requested and self.step < self.plan.total_steps:
                    raise Interrupted(
                        f"stopped after step {self.step}; {self.run.checkpoint(self.step)} holds it all"
                    )
        self.save()
        return self.run.checkpoint(self.step)

    def take_step(self, batch: Batch, stop: StopRequest) -> StepResult:
        """One step; a non-finite loss is passed over as long as that is allowed."""
        learning_rate = schedules.learning_rate(self.step, self.plan.total_steps, self.params.pretrain)
        momentum = schedules.momentum(self.step, self.plan.total_steps, self.params.pretrain)
        result = self.learner.step(batch, learning_rate, momentum, stop.requested)
        self.step += 1
        self.counters.replaced_samples += batch.num_replaced
        self.counters.skipped_in_a_row = 0 if result.is_finite else self.counters.skipped_in_a_row + 1
        self.counters.skipped_steps += not result.is_finite
        if self.counters.skipped_in_a_row > self.params.pretrain.max_nonfinite_steps:
            saved = checkpoint.newest_first(self.run)
            raise FloatingPointError(
                f"the loss is not finite at step {self.step} (samples {', '.join(batch.keys[:3])}, ...); "
                f"the last good checkpoint is {saved[0] if saved else 'none yet'}; "
                "try a lower pretrain.learning_rate, pretrain.clip_grad_norm 1 or pretrain.precision float32"
            )
        return result

    def report(self, metrics: Metrics | None, result: StepResult, num_samples: int) -> None:
        """Logs a line where one is due, and evaluates where that is due."""
        pretrain, plan = self.params.pretrain, self.plan
        last = self.step == plan.total_steps
        if last or self.step % pretrain.log_every_steps == 0:
            line = self.line(result, num_samples)
            if metrics:
                metrics.log(line)
                rate = line["samples_per_second"]
                logger.info(
                    "step %d of %d: loss %.4f, %.1f samples/s",
                    self.step,
                    plan.total_steps,
                    line["loss"],
                    rate,
                )
        every = pretrain.evaluate_every_epochs
        if every and plan.ends_epoch(self.step) and plan.epoch(self.step) % every == 0:
            self.evaluate_models(metrics)

    def evaluate_models(self, metrics: Metrics | None) -> None:
        """Evaluates student and teacher, all ranks together."""
        figures = self.evaluate({"student": self.learner.student, "teacher": self.learner.teacher})
        if metrics:
            metrics.log({"step": self.step, "epoch": self.plan.epoch(self.step), "evaluation": figures})
        self.stopwatch.read()

    def line(self, result: StepResult, num_samples: int) -> dict[str, Any]:
        """The values of one line of metrics.jsonl, averaged over the ranks where they differ."""
        learner, params, done = self.learner, self.params.pretrain, self.step - 1
        losses = {
            name if name in ("contrastive", "distill") else f"distill_{name}": mean_over_ranks(value).item()
            for name, value in vars(result.losses).items()
            if name != "total"
        }
        seconds, waited, steps = self.stopwatch.read()
        self.counters.seconds += seconds
        return {
            "step": self.step,
            "epoch": self.step / self.plan.steps_per_epoch,
            "samples": self.step * params.batch_size,
            "loss": mean_over_ranks(result.losses.total).item(),
            **losses,
            "logit_scale": learner.student.logit_scale.exp().item(),
            "distill_logit_scale": learner.student.distill_logit_scale.exp().item(),
            "learning_rate": schedules.learning_rate(done, self.plan.total_steps, params),
            "momentum": schedules.momentum(done, self.plan.total_steps, params),
            "grad_norm": result.grad_norm.item(),
            "teacher_distance": distance(learner.teacher, learner.student),
            "samples_per_second": steps * num_samples * learner.ranks.world_size / seconds,
            "data_wait": waited / seconds,
            **asdict(self.counters),
        }

    def save_if_due(self, stop_requested: bool) -> None:
        """Saves when the machine's interval of steps or minutes is over, or a stop was asked for."""
        every = self.machine.checkpoint_every_steps
        by_step = every and self.step % every == 0
        # the first rank's clock decides for nobody else: only it writes
        by_time = time.monotonic() - self.saved_at > 60 * self.machine.checkpoint_every_minutes
        if stop_requested or by_step or by_time:
            self.save()

    def save(self) -> None:
        """Writes a checkpoint of the current step, from the first rank, unless that is done."""
        if self.is_first and self.saved_step != self.step:
            epoch = self.plan.epoch(self.step)
            checkpoint.save(
                self.run, self.learner, self.step, epoch, self.machine.keep_checkpoints, asdict(self.counters)
            )
        self.saved_at, self.saved_step = time.monotonic(), self.step

    def progress_bar(self) -> Progress:
        """A bar with the time left, on the first rank's terminal."""
        return Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self.is_first,
        )
