"""Quantiles and probabilities of Student's and the normal distribution.

Student's is computed from the normal one by Wallace's transformation (1959, Annals of Mathematical
Statistics 30, 1124): from 2 degrees of freedom on 0.05 comes out as 0.050 to 0.054.
"""

import math
from statistics import NormalDist

NORMAL = NormalDist()


def normal_quantile(tail: float) -> float:
    """Return the distance from the mean, in standard deviations, that is exceeded at probability `tail`."""
    return -NORMAL.inv_cdf(tail)


def student_quantile(tail: float, freedom: float) -> float:
    """Return the value that Student's t exceeds at probability `tail`; inf without a degree of freedom."""
    if freedom <= 0:
        return math.inf
    if math.isinf(freedom):
        return normal_quantile(tail)
    scaled = normal_quantile(tail) * (8 * freedom + 3) / (8 * freedom + 1)
    exponent = scaled**2 / freedom
    return math.sqrt(freedom * math.expm1(exponent)) if exponent < 700 else math.inf


def student_two_sided(value: float, freedom: float) -> float:
    """Return the probability that |t| is at least |value|; 1 without a degree of freedom."""
    if freedom <= 0 or not value:
        return 1.0
    root = math.sqrt(freedom * math.log1p(value**2 / freedom)) if freedom < math.inf else abs(value)
    factor = (8 * freedom + 1) / (8 * freedom + 3) if freedom < math.inf else 1.0
    return math.erfc(root * factor / math.sqrt(2))
