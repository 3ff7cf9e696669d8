"""Differences of two runs: figures of the same data, the largest difference first, and parameters."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from cosmos.compare.comparison import Comparison, Contender
from cosmos.compare.table import format_statistics, parameter_cell, shown_figures
from cosmos.config.figures import is_cost, metric_of
from cosmos.report.differences import FigureChange, RunDifferences
from cosmos.report.headline import describe_points, describe_sample
from cosmos.run.statistics.leads import Lead
from cosmos.run.statistics.seed_statistics import SeedStatistics


@dataclass(frozen=True)
class RunPair:
    """Run, and another that it is set against, whatever their states are."""

    comparison: Comparison
    """comparison of these two"""

    @property
    def run(self) -> Contender:
        """The run."""
        return self.comparison.contenders[0]

    @property
    def against(self) -> Contender:
        """The run that it is set against."""
        return self.comparison.contenders[1]

    @cached_property
    def leads(self) -> Mapping[str, Lead]:
        """Verdict by each figure that has a better direction, and that both have of the same data."""
        return self.comparison.judge(shown_figures(self.comparison), self.comparison.contenders)

    def samples(self, name: str) -> tuple[SeedStatistics, SeedStatistics]:
        """Return a figure of both."""
        return self.run.figures[name], self.against.figures[name]

    @cached_property
    def sizes(self) -> Mapping[str, float]:
        """Size of the difference by each figure that is not the same: of shares the points, or relative."""
        sizes = {name: difference_size(name, *self.samples(name)) for name in self.leads}
        return {name: size for name, size in sizes.items() if size}

    def differences(self) -> RunDifferences:
        """Return all differences: those that are larger than chance first, then by size."""
        largest = {unit: max(self.sizes_of(unit), default=1.0) for unit in (True, False)}
        changes = [self.change(name, size / largest[is_share(name)]) for name, size in self.sizes.items()]
        ordered = sorted(changes, key=lambda change: (not change.is_certain, -change.size))
        paths = self.comparison.params
        cells = [[parameter_cell(each, path).text for each in (self.run, self.against)] for path in paths]
        parameters = [(path, mine, other) for path, (mine, other) in zip(paths, cells, strict=True)]
        labels = self.run.label, self.against.label
        return RunDifferences(*labels, ordered, parameters, list(self.remarks()))

    def sizes_of(self, is_of_shares: bool) -> list[float]:
        """Return the sizes of differences of shares, or of all others."""
        return [size for name, size in self.sizes.items() if is_share(name) == is_of_shares]

    def change(self, name: str, size: float) -> FigureChange:
        """Return the change of a figure; `size`: that of its difference, of the largest."""
        mine, other = self.samples(name)
        form = describe_sample if is_share(name) else format_statistics
        lead, difference = self.leads[name], mine.mean - other.mean
        points = f"{describe_points(difference)} points"
        return FigureChange(
            name,
            form(mine),
            form(other),
            points if is_share(name) else f"{difference / abs(other.mean):+.1%}",
            size,
            is_better=(difference > 0) == (self.comparison.directions[name] == "max"),
            is_certain=lead.is_won or is_cost(name),
            verdict=describe_chance(lead, name),
        )

    def remarks(self) -> Iterator[str]:
        """Yield lines that explain the lists, and name figures that do not compare."""
        yield (
            "First those that are larger than chance would have it over images or seeds, then the others; "
            "each by size: points of shares, and others relative to the second run."
        )
        mixed = [name for name in shown_figures(self.comparison) if name in self.comparison.mixed]
        if mixed:
            yield f"Of different data, and not compared: {', '.join(mixed)}."


def difference_size(name: str, mine: SeedStatistics, other: SeedStatistics) -> float:
    """Return the size of a figure's difference: in points of a share, or relative to the other."""
    if mine.equals(other):
        return 0.0
    size = abs(mine.mean - other.mean) / (1.0 if is_share(name) else abs(other.mean) or math.inf)
    return size if math.isfinite(size) else 0.0


def is_share(name: str) -> bool:
    """Return True for a figure that is a share."""
    metric = metric_of(name)
    return metric is not None and metric.unit == "share"


def describe_chance(lead: Lead, name: str) -> str:
    """Return in words how far a difference may be chance."""
    (rival,) = lead.rivals.values()
    if rival.is_blind:
        return "as measured" if is_cost(name) else "not known: one seed, no images"
    return f"{'may be' if rival.is_tie else 'no'} (p {rival.probability:.2g})"
