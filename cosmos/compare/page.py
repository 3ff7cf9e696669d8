"""Comparison as a single HTML page that needs no network.

Names of runs, parameters and datasets may come from strangers: they are never read as markup, and control
characters in them are shown. Only the page's own two scripts run, which its policy names by their hashes.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cosmos.compare.comparison import Comparison
from cosmos.compare.curves import curve_colours, is_headline, learning_curves
from cosmos.compare.table import comparison_remarks, comparison_table
from cosmos.report.page import TEMPLATES, template_environment
from cosmos.report.plotly import PlotlyFigure

DRAW_SCRIPT = (TEMPLATES / "compare.js").read_text(encoding="utf-8")
"""Script that draws the page's plots."""


def render_comparison(
    comparison: Comparison, names: Sequence[str], studies: Mapping[str, Sequence[PlotlyFigure]]
) -> str:
    """Return the page of a comparison as HTML; `studies`: plots of the search, by sweep id."""
    curves = learning_curves(comparison.contenders)
    library = plotly_library()
    return (
        template_environment()
        .get_template("compare.html")
        .render(
            title=" and ".join(names) if len(names) < 3 else f"{len(names)} compared",
            comparison=comparison,
            table=comparison_table(comparison),
            remarks=list(comparison_remarks(comparison)),
            swatches=contender_colours(comparison),
            headlines=[plot for plot in curves if is_headline(plot.title)],
            others=[plot for plot in curves if not is_headline(plot.title)],
            studies=studies,
            script_json=script_json,
            library=Markup(library),
            draw=Markup(DRAW_SCRIPT),
            scripts=" ".join(f"'sha256-{script_hash(script)}'" for script in (library, DRAW_SCRIPT)),
        )
    )


def contender_colours(comparison: Comparison) -> Mapping[str, str]:
    """Return the colour of each contender's curves, by its label."""
    labels = [contender.label for contender in comparison.contenders]
    return dict(zip(labels, curve_colours(len(labels)), strict=True))


def script_json(value: Any) -> Markup:
    """Return a value as JSON for a script element, without the character `<` that could end the element."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def plotly_library() -> str:
    """Return the JavaScript of Plotly's library, for which its Python is not imported."""
    spec = find_spec("plotly")
    assert spec
    assert spec.origin
    return (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """Return the SHA-256 of a script in base64, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
