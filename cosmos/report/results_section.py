"""Section of a page with all results, suite by suite: tables, sources and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from cosmos.report.page import Fact, PagePicture, render_section
from cosmos.report.section import ReportSection
from cosmos.report.tables import ScoreTable


@dataclass(frozen=True)
class SuiteResults:
    """Results of a suite: tables, sources and pictures."""

    name: str
    tables: Sequence[ScoreTable]
    sources: Sequence[Fact]
    """datasets, settings and code that the figures come from"""
    pictures: Sequence[PagePicture] = ()


def results_section(suites: Sequence[SuiteResults]) -> ReportSection:
    """Return the section of all results."""
    return render_section("results", "All results", "results.html", suites=suites)
