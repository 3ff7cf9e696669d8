"""Report as one HTML page that needs nothing beside itself: no network, no script.

Names of datasets, checkpoints and models may come from strangers: they are never read as markup, and control
characters in them are shown.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cosmos.config.printable_text import printable

if TYPE_CHECKING:  # a page without charts is written without matplotlib
    from cosmos.report.curves import LossChart
    from cosmos.report.tables import ScoreTable

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Fact:
    """Name and value of a line in a list."""

    name: str
    value: str


@dataclass(frozen=True)
class PagePicture:
    """PNG file that is embedded in the page."""

    caption: str
    path: Path

    @property
    def uri(self) -> str:
        """Data URI of the file's bytes."""
        return f"data:image/png;base64,{base64.b64encode(self.path.read_bytes()).decode()}"


@dataclass(frozen=True)
class SuiteSection:
    """Section of a suite: tables, sources and pictures."""

    name: str
    tables: "Sequence[ScoreTable]"
    sources: Sequence[Fact]
    """datasets, settings and code that the figures come from"""
    pictures: Sequence[PagePicture]


@dataclass(frozen=True)
class ReportPage:
    """Content of the page."""

    title: str
    about: Sequence[Fact]
    suites: Sequence[SuiteSection]
    training: str
    """summary of the pretraining, in a line"""
    charts: "Sequence[LossChart]"
    parameters: Sequence[Fact]
    """parameters that differ from the defaults"""
    provenance: Sequence[Fact]
    previews: Sequence[PagePicture]
    """samples of the data"""


def render_report(page: ReportPage) -> str:
    """Return the page as HTML. The same page is the same text."""
    return template_environment().get_template("report.html").render(page=page)


@cache
def template_environment() -> Environment:
    """Return the environment of templates that escape values, and show their control characters."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_finalise,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalise(value: Any) -> Any:
    """Return a value as templates write it: text that is no markup without control characters."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
