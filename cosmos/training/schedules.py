"""What changes from step to step: learning rate and teacher momentum. Pure functions of the step."""

import math

from cosmos.config.params import PretrainParams


def learning_rate(step: int, total_steps: int, params: PretrainParams) -> float:
    """Linear warm-up, peak x (step + 1) / warmup, then half a cosine to 0. `step` counts from 0."""
    warmup = params.warmup_steps
    if step < warmup:
        return params.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def momentum(step: int, total_steps: int, params: PretrainParams) -> float:
    """The teacher's momentum: fixed, or rising from its start to 1 along half a cosine over all steps."""
    if params.momentum_schedule == "fixed":
        return params.momentum
    progress = step / total_steps
    return 1 - (1 - params.momentum) * 0.5 * (1 + math.cos(math.pi * progress))
