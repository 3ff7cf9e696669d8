"""Section of a page: a heading and the HTML below it, whose scripts and styles the page has."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class ReportSection:
    """Section of a page."""

    id: str
    """anchor of the section in the page"""
    title: str
    html: Markup
    """content below the heading, already escaped"""
