"""Problem of a plan: a setting that keeps a run from working, or that hardly anybody means."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlanProblem:
    """Setting that is wrong, with its value, the reason and the remedy."""

    key: str
    """setting: pretrain.batch_size, slurm.minutes, COSMOS_WORKERS"""
    value: str
    reason: str
    """continues the value: `samples cannot be shared equally by 3 ranks`"""
    remedy: str
    is_error: bool = False
    """True: the run cannot work so; False: it works, and hardly anybody means it"""

    def __str__(self) -> str:
        """Return the problem in a line."""
        return f"{self.key}: {' '.join(filter(None, [self.value, self.reason]))}; {self.remedy}"


def plan_error(key: str, value: object, reason: str, remedy: str) -> PlanProblem:
    """Return a problem with which the run cannot work."""
    return PlanProblem(key, str(value), reason, remedy, is_error=True)


def plan_warning(key: str, value: object, reason: str, remedy: str) -> PlanProblem:
    """Return a problem with which the run works, and that hardly anybody means."""
    return PlanProblem(key, str(value), reason, remedy)
