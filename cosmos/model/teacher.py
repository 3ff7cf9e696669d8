"""The EMA teacher: a copy of the student that follows it."""

import copy
import math

import torch

from cosmos.model.cosmos import Cosmos

MAX_LOG_SCALE = math.log(100)
"""Logarithm of the largest logit scale, as in CLIP."""


def make_teacher(student: Cosmos) -> Cosmos:
    """Return a copy of `student` that never gets gradients."""
    teacher = copy.deepcopy(student)
    teacher.requires_grad_(False)
    teacher.eval()
    return teacher


@torch.no_grad()
def update_teacher(teacher: Cosmos, student: Cosmos, momentum: float) -> None:
    """Set teacher <- momentum x teacher + (1 - momentum) x student, over all parameters."""
    followers, leaders = list(teacher.parameters()), list(student.parameters())
    torch._foreach_mul_(followers, momentum)
    torch._foreach_add_(followers, leaders, alpha=1 - momentum)


@torch.no_grad()
def clamp_scales(model: Cosmos) -> None:
    """Clamp both logit scales to [1, 100]."""
    model.logit_scale.clamp_(0, MAX_LOG_SCALE)
    model.distill_logit_scale.clamp_(0, MAX_LOG_SCALE)


@torch.no_grad()
def teacher_distance(teacher: Cosmos, student: Cosmos) -> float:
    """Return |teacher - student| / |student| over all parameters (Euclidean norms).

    A parameter at a time: all differences together would be as large as the model.
    """
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)
    gap = torch.stack([torch.linalg.vector_norm(follower - leader) for follower, leader in pairs]).norm()
    norms = torch._foreach_norm(list(student.parameters()))
    return float(gap / torch.stack(norms).norm())
