"""Verdict on runs by a metric: intervals over images, the run that leads, and those that may be as good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cosmos.registry.kept_values import RunValues, read_statistics
from cosmos.registry.query import RowValue, RunRow
from cosmos.run.directory import RunDir
from cosmos.run.statistics.leads import Lead, judge_lead
from cosmos.run.statistics.seed_statistics import SeedStatistics

MAX_JUDGED = 100
"""Number of runs, the best ones, that are compared with the first."""


@dataclass(frozen=True)
class RunRanking:
    """Runs, the best by a metric first, all of the same data."""

    rows: Sequence[RunRow]
    samples: Mapping[str, SeedStatistics]
    """statistics of the metric by name of the run, of the first MAX_JUDGED"""
    lead: Lead

    @classmethod
    def of(cls, rows: Sequence[RunRow], metric: str, sign: int, runs_root: Path) -> Self:
        """Return the ranking of rows that have a metric; `sign`: 1 where the largest is the best, or -1."""
        samples = {str(row["name"]): read_sample(row, metric, runs_root) for row in rows[:MAX_JUDGED]}
        return cls(rows, samples, judge_lead(samples, sign))

    def shown(self, limit: int) -> list[RunRow]:
        """Return the first rows, or all for 0, each with the ends of its interval where there is one."""
        return [{**row, **self.interval(row)} for row in self.rows[: limit or None]]

    def interval(self, row: RunRow) -> dict[str, RowValue]:
        """Return the ends of the interval of a row's figure by `low` and `high`; {} where there is none."""
        sample = self.samples.get(str(row["name"]))
        return dict(sample.interval.as_json()) if sample and sample.interval else {}

    def judgement(self, row: RunRow) -> dict[str, RowValue]:
        """Return the interval of a row, and the probability of its distance to the first between equals."""
        rival = self.lead.rivals.get(str(row["name"]))
        compared = {"p": rival.probability} if rival and not rival.is_blind else {}
        return {**self.interval(row), **compared}

    def verdict(self) -> str:
        """Return the verdict in a line; "" where there is one run, or nothing shows a spread."""
        return "" if self.lead.is_blind or not self.lead.rivals else self.lead.describe()


def read_sample(row: RunRow, metric: str, runs_root: Path) -> SeedStatistics:
    """Return a run's figure with the values of images that lie beside its results."""
    value = row[metric]
    assert isinstance(value, int | float)
    return read_statistics([RunValues(RunDir(runs_root / str(row["name"])))], metric, [float(value)])
