"""Interactive plots as data of Plotly's library, which a page has within it and draws by."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from cosmos.config.printable_text import printable


@dataclass(frozen=True)
class PlotlyFigure:
    """Plot as Plotly's JSON, with its title."""

    title: str
    figure: dict[str, Any]
    """`data` and `layout`"""
    min_width: int = 0
    """pixels below which it is not legible; 0: it shares a row of the page"""
    is_headline: bool = True
    """False for one that is folded away at first"""


def escape_for_plotly(text: str) -> str:
    """Return text that Plotly, which interprets some HTML, shows literally."""
    return str(escape(printable(text)))


def script_json(value: Any) -> Markup:
    """Return a value as JSON for a script element, without the character `<` that could end the element."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


@cache
def plotly_library() -> str:
    """Return the JavaScript of Plotly's library, for which its Python is not imported."""
    spec = find_spec("plotly")
    assert spec
    assert spec.origin
    return (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
