"""Steps that a training plans; without torch, as a job is submitted with them."""

from dataclasses import dataclass
from typing import Self

from cosmos.config.number_text import count_of
from cosmos.config.params import PretrainParams


@dataclass(frozen=True)
class StepPlan:
    """Number of optimisation steps of a run, in total, per epoch and up to the end of a session."""

    steps_per_epoch: int
    total_steps: int
    """steps of the run, by which its schedules go"""
    last_step: int
    """step after which this session ends: the run's last, or that of a rung at which a trial is paused"""

    @classmethod
    def of(cls, steps_per_epoch: int, epochs: int, until: int = 0) -> Self:
        """Return the plan of a run of `epochs`, and of a session that ends after `until` of them; 0: all."""
        total = steps_per_epoch * epochs
        return cls(steps_per_epoch, total, min(total, steps_per_epoch * until) or total)

    def ends_epoch(self, step: int) -> bool:
        """Return True when an epoch is complete after `step` steps."""
        return step % self.steps_per_epoch == 0

    def epoch(self, step: int) -> int:
        """Return the number of epochs that are complete after `step` steps."""
        return step // self.steps_per_epoch

    def is_evaluation_due(self, step: int, every_epochs: int) -> bool:
        """Return True when `step` ends an epoch after which models are evaluated; 0 epochs: never."""
        is_due = every_epochs > 0 and self.ends_epoch(step) and self.epoch(step) % every_epochs == 0
        return step > 0 and is_due


def describe_plan(plan: StepPlan, num_samples: int, params: PretrainParams) -> str:
    """Return a line on the steps of a run, its warm-up, and the samples that its epochs leave out."""
    epochs, left_out = plan.total_steps // plan.steps_per_epoch, left_out_samples(plan, num_samples, params)
    of_all = f"{left_out:,} of {num_samples:,} samples"
    unseen = f"no step sees {of_all}" if epochs == 1 else f"each epoch leaves out {of_all}, others each time"
    parts = [
        f"{count_of(plan.total_steps, 'step')} of {count_of(params.batch_size, 'sample')}",
        f"{count_of(epochs, 'epoch')} of {count_of(plan.steps_per_epoch, 'step')}",
        f"warm-up: {count_of(params.warmup_steps, 'step')}",
        *([unseen] if left_out else []),
    ]
    return "; ".join(parts)


def left_out_samples(plan: StepPlan, num_samples: int, params: PretrainParams) -> int:
    """Return the number of samples that an epoch does not see: they are less than a batch."""
    return num_samples - plan.steps_per_epoch * params.batch_size
