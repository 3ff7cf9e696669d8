"""Schedules of learning rate and teacher momentum, as pure functions of the step."""

import math

from cosmos.config.params import PretrainParams


def learning_rate(step: int, total_steps: int, params: PretrainParams) -> float:
    """Return the rate of a linear warm-up, peak x (step + 1) / warmup, then half a cosine to 0.

    `step` counts from 0.
    """
    warmup = params.warmup_steps
    if step < warmup:
        return params.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def momentum(step: int, total_steps: int, params: PretrainParams) -> float:
    """Return the teacher's momentum: fixed, or rising to 1 along half a cosine over all steps."""
    if params.momentum_schedule == "fixed":
        return params.momentum
    progress = step / total_steps
    return 1 - (1 - params.momentum) * 0.5 * (1 + math.cos(math.pi * progress))
