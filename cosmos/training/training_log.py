"""Log of a training in its run directory: lines of metrics, and the trace of its steps."""

from dataclasses import dataclass
from typing import Any, Self

from cosmos.distributed.exchange import on_first_rank
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsWriter
from cosmos.run.step_trace import StepTraceWriter, TracedSession, TracedStretch
from cosmos.training.evaluation_queue import EvaluationQueue, StepFigures
from cosmos.training.step_plan import StepPlan


@dataclass(frozen=True)
class TrainingLog:
    """Metrics and trace of a run, which its first rank writes while it holds the lease."""

    lease: Lease
    queue: EvaluationQueue
    plan: StepPlan
    metrics: MetricsWriter
    trace: StepTraceWriter

    @classmethod
    def open(cls, lease: Lease, queue: EvaluationQueue, plan: StepPlan, session: TracedSession) -> Self:
        """Open the log for a session, and drop lines of later steps, which it takes again.

        All ranks open it together. Raises SupersededError where another process took over: its lines must
        not be dropped.
        """

        def open_files() -> tuple[MetricsWriter, StepTraceWriter]:
            with lease.writing():
                trace = StepTraceWriter(lease.run.timing)
                trace.begin(session)
                return MetricsWriter(lease.run.metrics, session.steps_before), trace

        return cls(lease, queue, plan, *on_first_rank(open_files))

    def log_line(self, line: dict[str, Any]) -> None:
        """Append a line of metrics from the first rank; raise SupersededError where the lease is lost."""
        on_first_rank(lambda: self.append(line))

    def log_step(self, line: dict[str, Any], stretch: TracedStretch) -> None:
        """Append a step's line of metrics, and the time of the ranks since the one before; as `log_line`."""

        def append_both() -> None:
            self.append(line)
            self.append_stretch(stretch)

        on_first_rank(append_both)

    def log_stretch(self, stretch: TracedStretch) -> None:
        """Append the time of the ranks since the last line; as `log_line`."""
        on_first_rank(lambda: self.append_stretch(stretch))

    def append(self, *lines: dict[str, Any]) -> None:
        """Append lines of metrics, after the figures that were measured beside training meanwhile."""
        with self.lease.writing():
            self.queue.hand_over(lambda measured: self.metrics.log(self.evaluation_line(measured)))
            for line in lines:
                self.metrics.log(line)

    def append_stretch(self, stretch: TracedStretch) -> None:
        """Append a stretch to the trace."""
        with self.lease.writing():
            self.trace.add(stretch)

    def evaluation_line(self, measured: StepFigures) -> dict[str, Any]:
        """Return the line of metrics with the figures of a step's models."""
        epoch = self.plan.epoch(measured.step)
        return {"step": measured.step, "epoch": epoch, "evaluation": measured.figures}
