"""Interactive plots as data of Plotly's library, which a page draws."""

from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from cosmos.config.printable_text import printable


@dataclass(frozen=True)
class PlotlyFigure:
    """Plot as Plotly's JSON, with its title."""

    title: str
    figure: dict[str, Any]
    """`data` and `layout`"""
    min_width: int = 0
    """pixels below which it is not legible; 0: it shares a row of the page"""


def escape_for_plotly(text: str) -> str:
    """Return text that Plotly, which interprets some HTML, shows literally."""
    return str(escape(printable(text)))
