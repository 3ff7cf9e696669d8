"""The training loop: from wherever the run stands to its last step."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.batch import Batch
from cosmos.distributed.exchange import mean_over_ranks, on_first_rank
from cosmos.errors import DivergedError, Interrupted
from cosmos.model import checkpoints
from cosmos.model.cosmos import Cosmos
from cosmos.model.teacher import teacher_distance
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsWriter, read_metrics
from cosmos.training import checkpoint, schedules
from cosmos.training.signals import StopRequest, stop_on_signals
from cosmos.training.step import Learner, StepResult

logger = logging.getLogger(__name__)

ModelEvaluation = Callable[[dict[str, Cosmos]], dict[str, float]]
"""Named figures of {"student": ..., "teacher": ...}."""


@dataclass(frozen=True)
class StepPlan:
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
        plan: StepPlan,
        evaluate: ModelEvaluation,
    ) -> None:
        self.run, self.params, self.machine = run, params, machine
        self.learner, self.plan, self.evaluate = learner, plan, evaluate
        self.step, self.counters = 0, Counters()
        self.lease, path = on_first_rank(lambda: take_over(run))
        if path:
            found = checkpoints.read_checkpoint(path)
            checkpoint.resume_learner(learner, found)
            self.step, self.counters = found.extra["step"], Counters(**found.extra["progress"])
        self.saved_at, self.saved_step = time.monotonic(), self.step
        self.owes_evaluation = self.ends_in_evaluation() and not on_first_rank(self.is_evaluated)
        self.stopwatch = Stopwatch()
        self.is_first = learner.ranks.is_first

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.step == self.plan.total_steps and not self.owes_evaluation

    def train(self, batches: Iterable[Batch]) -> Path:
        """Trains on `batches`, which start at the step where the run stands; returns the last checkpoint.

        Raises Interrupted when a signal asked to stop (all is saved), DivergedError when the loss stays
        non-finite, naming the last good checkpoint, and SupersededError when another process took over.
        """
        metrics = MetricsWriter(self.run.metrics, self.step) if self.is_first else None
        with stop_on_signals() as stop, self.progress_bar() as bar:
            task = bar.add_task("pretrain", total=self.plan.total_steps, completed=self.step, loss="")
            if self.owes_evaluation:  # a save comes before its step's evaluation
                self.evaluate_models(metrics, stop)
            self.stopwatch = Stopwatch()
            for batch in self.stopwatch.timed(batches):
                result = self.take_step(batch, stop)
                bar.update(task, completed=self.step, loss=f"loss {result.losses.total.item():.3f}")
                self.report(metrics, result, len(batch))
                if self.is_save_due(result):
                    self.save()
                if result.stop_signal and not self.is_complete:
                    raise Interrupted(
                        f"stopped after step {self.step}; {self.run.checkpoint(self.step)} holds it all",
                        result.stop_signal,
                    )
                if self.owes_evaluation:
                    self.evaluate_models(metrics, stop)
        self.save()
        return self.run.checkpoint(self.step)

    def take_step(self, batch: Batch, stop: StopRequest) -> StepResult:
        """One step; a non-finite loss is passed over as long as that is allowed."""
        learning_rate = schedules.learning_rate(self.step, self.plan.total_steps, self.params.pretrain)
        momentum = schedules.momentum(self.step, self.plan.total_steps, self.params.pretrain)
        result = self.learner.step(batch, learning_rate, momentum, stop.signal, self.is_late())
        self.step += 1
        self.owes_evaluation = self.ends_in_evaluation()
        self.counters.replaced_samples += batch.num_replaced
        self.counters.skipped_in_a_row = 0 if result.is_finite else self.counters.skipped_in_a_row + 1
        self.counters.skipped_steps += not result.is_finite
        if self.counters.skipped_in_a_row > self.params.pretrain.max_nonfinite_steps:
            saved = self.run.saved_checkpoints
            raise DivergedError(
                f"the loss is not finite at step {self.step} (samples {', '.join(batch.keys[:3])}, ...); "
                f"the last good checkpoint is {saved[0] if saved else 'none yet'}; "
                "try a lower pretrain.learning_rate, pretrain.clip_grad_norm 1 or pretrain.precision float32"
            )
        return result

    def report(self, metrics: MetricsWriter | None, result: StepResult, num_samples: int) -> None:
        """Logs a line where one is due."""
        total = self.plan.total_steps
        if self.step < total and self.step % self.params.pretrain.log_every_steps:
            return
        line = self.line(result, num_samples)
        self.log(metrics, line)
        if metrics:
            rate = line["samples_per_second"]
            logger.info("step %d of %d: loss %.4f, %.1f samples/s", self.step, total, line["loss"], rate)

    def log(self, metrics: MetricsWriter | None, line: dict[str, Any]) -> None:
        """Appends a line of metrics from the first rank, as long as the run is this process's to write."""

        def write() -> None:
            self.lease.check()
            assert metrics
            metrics.log(line)

        on_first_rank(write)

    def ends_in_evaluation(self) -> bool:
        """Whether the step at which the run stands ends in an evaluation."""
        every, plan = self.params.pretrain.evaluate_every_epochs, self.plan
        due = every and plan.ends_epoch(self.step) and plan.epoch(self.step) % every == 0
        return self.step > 0 and bool(due)

    def is_evaluated(self) -> bool:
        """Whether the evaluation of the step at which the run stands is in its metrics."""
        lines = read_metrics(self.run.metrics)
        return any(line["step"] == self.step and "evaluation" in line for line in lines)

    def evaluate_models(self, metrics: MetricsWriter | None, stop: StopRequest) -> None:
        """Evaluates student and teacher, all ranks together."""
        with stop.obeyed_at_once(f"stopped in the evaluation after step {self.step}, which is saved"):
            figures = self.evaluate({"student": self.learner.student, "teacher": self.learner.teacher})
        epoch = self.plan.epoch(self.step)
        self.log(metrics, {"step": self.step, "epoch": epoch, "evaluation": figures})
        self.owes_evaluation = False
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
            "teacher_distance": teacher_distance(learner.teacher, learner.student),
            "samples_per_second": steps * num_samples * learner.ranks.world_size / seconds,
            "data_wait": waited / seconds,
            **asdict(self.counters),
        }

    def is_late(self) -> bool:
        """Whether the machine's interval between checkpoints is over by this rank's clock."""
        return time.monotonic() - self.saved_at > 60 * self.machine.checkpoint_every_minutes

    def is_save_due(self, result: StepResult) -> bool:
        """Whether the interval of steps or minutes is over, a stop was asked for, or an evaluation comes.

        An evaluation may outlast what is left of a job: what was trained is saved before it, not after.
        """
        every = self.machine.checkpoint_every_steps
        by_step = every > 0 and self.step % every == 0
        return by_step or result.save_due or result.stop_signal > 0 or self.owes_evaluation

    def save(self) -> None:
        """Writes a checkpoint of the current step, from the first rank, unless that is done."""
        if self.saved_step != self.step:
            epoch, keep = self.plan.epoch(self.step), self.machine.keep_checkpoints
            on_first_rank(
                lambda: checkpoint.save_checkpoint(
                    self.lease, self.learner, self.step, epoch, keep, asdict(self.counters)
                )
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


def take_over(run: RunDir) -> tuple[Lease, Path | None]:
    """Becomes the one that writes into the run, and only then looks for its newest checkpoint."""
    lease = Lease.take(run)
    checkpoint.remove_partial_checkpoints(run)
    found = checkpoint.newest_whole_checkpoint(run)
    return lease, found.path if found else None
