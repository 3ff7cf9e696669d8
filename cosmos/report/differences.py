"""Section of a page on two runs: figures that got better and worse, the largest difference first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cosmos.report.page import render_section
from cosmos.report.section import ReportSection

NUM_SHOWN_CHANGES = 12
"""Figures of a list that are not folded away."""


@dataclass(frozen=True)
class FigureChange:
    """Figure of two runs."""

    name: str
    value: str
    other: str
    """the figure of the run that is compared with"""
    difference: str
    size: float
    """size of the difference, of the largest in its unit: 0 to 1"""
    is_better: bool
    is_certain: bool
    """True where the difference is larger than chance would have it"""
    verdict: str
    """the same in words"""

    @property
    def bar(self) -> int:
        """Length of the difference's bar, in percent of its cell."""
        return max(1, round(100 * self.size))


@dataclass(frozen=True)
class RunDifferences:
    """Differences of two runs."""

    run: str
    against: str
    changes: Sequence[FigureChange]
    parameters: Sequence[tuple[str, str, str]]
    """path, value, and value of the other run"""
    remarks: Sequence[str]


def differences_section(differences: RunDifferences) -> ReportSection:
    """Return the section on two runs; of changes in their order."""
    values: dict[str, Any] = {
        "run": differences.run,
        "against": differences.against,
        "lists": [
            ("Better", [change for change in differences.changes if change.is_better]),
            ("Worse", [change for change in differences.changes if not change.is_better]),
        ],
        "num_shown": NUM_SHOWN_CHANGES,
        "parameters": differences.parameters,
        "remarks": differences.remarks,
    }
    return render_section("differences", "Better and worse", "differences.html", **values)
