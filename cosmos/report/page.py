"""Page for people: one HTML file that needs nothing beside itself, no network, and runs no foreign script.

Names of runs, datasets and captions may come from strangers: they are never read as markup, and control
characters in them are shown. Only the page's own scripts run, which its policy names by their hashes.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from cosmos.config.printable_text import printable, printable_lines
from cosmos.report.plotly import plotly_library, script_json
from cosmos.report.section import ReportSection

TEMPLATES = Path(__file__).with_name("templates")

PAGE_SCRIPT = (TEMPLATES / "page.js").read_text(encoding="utf-8")
"""Script that draws the page's plots, and turns what is stepped through."""

PLOT_PLACE = '<div class="plot"'
"""Beginning of the element that a plot is drawn in."""


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
        return data_uri(self.path.read_bytes(), "png")


def data_uri(content: bytes, image_format: str) -> str:
    """Return the data URI of a picture: `png`, `webp`."""
    return f"data:image/{image_format};base64,{base64.b64encode(content).decode()}"


def render_page(title: str, lead: Sequence[str], sections: Sequence[ReportSection]) -> str:
    """Return a page as HTML: title, lines below it, sections. The same parts are the same text."""
    has_plots = any(PLOT_PLACE in section.html for section in sections)
    scripts = [plotly_library(), PAGE_SCRIPT] if has_plots else [PAGE_SCRIPT]
    policy = " ".join(f"'sha256-{script_hash(script)}'" for script in scripts)
    return str(
        render_part(
            "frame.html",
            title=title,
            lead=lead,
            sections=sections,
            scripts=[Markup(script) for script in scripts],
            policy=Markup(policy),
        )
    )


def render_section(anchor: str, title: str, template: str, **values: Any) -> ReportSection:
    """Return a section whose content a template renders from these values."""
    return ReportSection(anchor, title, render_part(template, **values))


def render_part(template: str, **values: Any) -> Markup:
    """Return the HTML of a template, in which the values are escaped."""
    return Markup(template_environment().get_template(template).render(**values))


def script_hash(script: str) -> str:
    """Return the SHA-256 of a script in base64, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def template_environment() -> Environment:
    """Return the environment of templates that escape values, and show their control characters."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_finalise,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "breakable": breakable,
        "printable_lines": lambda text: escape(printable_lines(text)),
        "script_json": script_json,
    }
    return environment


def breakable(text: str) -> Markup:
    """Return a name that a line may break in, after its slashes, dots and underscores alone."""
    return Markup(re.sub(r"([/_.])(?=.)", r"\1<wbr>", str(escape(printable(text)))))


def _finalise(value: Any) -> Any:
    """Return a value as templates write it: text that is no markup without control characters."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
