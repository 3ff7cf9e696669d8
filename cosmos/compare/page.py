"""A comparison as one HTML page that needs nothing beside itself: no network.

Names of runs, parameters and datasets may come from strangers: they are never read as markup, and control
characters in them are shown. Only the page's own two scripts run, which its policy names by their hashes.
"""

import base64
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cosmos.compare.comparison import Comparison
from cosmos.compare.curves import colours, is_headline, learning_curves
from cosmos.compare.table import remarks, sheet
from cosmos.config.machine import Machine
from cosmos.report.page import TEMPLATES, environment
from cosmos.search.study import load_study
from cosmos.search.study_plots import Plot, study_plots
from cosmos.search.sweep_dir import SweepDir

logger = logging.getLogger(__name__)

DRAW = (TEMPLATES / "compare.js").read_text(encoding="utf-8")
"""The script that draws the page's plots."""


def page(compared: Comparison, names: Sequence[str], machine: Machine) -> str:
    """The page of a comparison, as HTML."""
    curves = learning_curves(compared.contenders)
    studies = {folder.path.name: plots_of(folder, machine) for folder in compared.sweeps}
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


def plots_of(folder: SweepDir, machine: Machine) -> list[Plot]:
    """Optuna's plots of a sweep; none where its study cannot be read, which is said."""
    objectives = [objective.figure for objective in folder.sweep().file.objectives]
    try:
        return study_plots(load_study(folder, machine), objectives)
    except ValueError as error:
        logger.warning("no plots of %s: %s", folder.path.name, error)
        return []


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
