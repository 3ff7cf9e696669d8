"""Rules by which momentum and learning rate follow the batch size, so that training stays the same.

With a batch k times as large, the teacher's momentum m becomes m^k, and AdamW's learning rate grows with the
square root of k. Source: Busbridge et al. 2023, How to Scale Your EMA, arXiv 2307.13813; the square root for
Adam is from Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, arXiv
2205.10287. The batch that is not too large grows with the samples seen, not with the model, to the power of
0.47: Zhang et al. 2024, How Does Critical Batch Size Scale in Pre-training, arXiv 2410.21676. All are checks
of a choice, not promises.
"""

import math

BATCH_EXPONENT = 0.47
"""Exponent by which the batch size grows with the samples seen."""


def scale_momentum(momentum: float, ratio: float) -> float:
    """Return the teacher's momentum for a batch that is `ratio` times as large."""
    return math.pow(momentum, ratio)


def scale_learning_rate(rate: float, ratio: float) -> float:
    """Return AdamW's learning rate for a batch that is `ratio` times as large."""
    return rate * math.sqrt(ratio)


def scale_batch(batch_size: int, ratio: float) -> int:
    """Return the batch size for `ratio` times the samples seen, to an eighth of a power of two at most."""
    wanted = max(1.0, batch_size * math.pow(ratio, BATCH_EXPONENT))
    unit = 1 << max(0, math.floor(math.log2(wanted)) - 2)
    return round(wanted / unit) * unit
