"""A comparison as one HTML page that needs nothing beside itself: no network.

Names of runs, parameters and datasets may come from strangers: they are never read as markup, and control
characters in them are shown. Only the page's own two scripts run, which its policy names by their hashes.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cosmos.compare.comparison import Comparison
from cosmos.compare.curves import colours, is_headline, learning_curves
from cosmos.compare.table import remarks, sheet
from cosmos.report.page import TEMPLATES, environment
from cosmos.report.plotly import PlotlyFigure

DRAW = (TEMPLATES / "compare.js").read_text(encoding="utf-8")
"""The script that draws the page's plots."""


def render_comparison(
    compared: Comparison, names: Sequence[str], studies: Mapping[str, Sequence[PlotlyFigure]]
) -> str:
    """Return the page of a comparison as HTML; `studies`: plots of the search, by id of the sweep."""
    curves = learning_curves(compared.contenders)
    library = plotly_js()
    return (
        environment()
        .get_template("compare.html")
        .render(
            title=" and ".join(names) if len(names) < 3 else f"{len(names)} compared",
            compared=compared,
            sheet=sheet(compared),
            remarks=list(remarks(compared)),
            swatches=swatches(compared),
            headlines=[plot for plot in curves if is_headline(plot.title)],
            others=[plot for plot in curves if not is_headline(plot.title)],
            studies=studies,
            data_block=data_block,
            library=Markup(library),
            draw=Markup(DRAW),
            scripts=" ".join(f"'sha256-{digest(script)}'" for script in (library, DRAW)),
        )
    )


def swatches(compared: Comparison) -> Mapping[str, str]:
    """The colour of each contender's curves."""
    names = [one.label for one in compared.contenders]
    return dict(zip(names, colours(len(names)), strict=True))


def data_block(value: Any) -> Markup:
    """JSON for a script element, which nothing in it can end."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def plotly_js() -> str:
    """Plotly's library."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text


def digest(script: str) -> str:
    """A script's hash, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
