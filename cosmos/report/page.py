"""The report as one HTML page that needs nothing beside itself: no network, no script.

Names of datasets, checkpoints and models may come from strangers: they are never read as markup, and control
characters in them are shown.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cosmos.report.curves import LossChart
from cosmos.report.tables import ScoreTable
from cosmos.report.text import printable

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Fact:
    """A line of a list: what it is about, and what is said of it."""

    name: str
    value: str


@dataclass(frozen=True)
class PagePicture:
    """A PNG file that becomes a part of the page."""

    caption: str
    path: Path

    @property
    def uri(self) -> str:
        """Its bytes, as an address."""
        return f"data:image/png;base64,{base64.b64encode(self.path.read_bytes()).decode()}"


@dataclass(frozen=True)
class SuiteSection:
    """What a suite measured."""

    name: str
    tables: Sequence[ScoreTable]
    sources: Sequence[Fact]
    """on what, with what and by what it was measured"""
    pictures: Sequence[PagePicture]


@dataclass(frozen=True)
class ReportPage:
    """All that the page says."""

    title: str
    about: Sequence[Fact]
    suites: Sequence[SuiteSection]
    training: str
    """what the pretraining came to, in a line"""
    charts: Sequence[LossChart]
    parameters: Sequence[Fact]
    """those that differ from the defaults"""
    provenance: Sequence[Fact]
    previews: Sequence[PagePicture]
    """what the data looks like"""


def render_report(page: ReportPage) -> str:
    """The page as HTML. The same page is the same text."""
    return template_environment().get_template("report.html").render(page=page)


def template_environment() -> Environment:
    """Templates that escape what they are given, and show its control characters."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """What a template puts into the page: text that is not its own markup without control characters."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
