"""Comparison as a page: a table, learning curves, and the plots of searches."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence

from cosmos.compare.comparison import Comparison
from cosmos.compare.curves import curve_colours, learning_curves
from cosmos.compare.table import comparison_remarks, comparison_table
from cosmos.report.page import render_page, render_section
from cosmos.report.plotly import PlotlyFigure
from cosmos.report.section import ReportSection
from cosmos.run.files import MAX_LABEL_BYTES, file_label

NO_TRIALS = "There is nothing to plot: no trial has finished."


def page_label(names: Sequence[str]) -> str:
    """Return a label of runs and sweeps for the name of their page, which no other names have."""
    label = "+".join(map(file_label, names))
    is_long = len(label.encode()) > MAX_LABEL_BYTES
    if is_long or label != "+".join(names):
        digest = hashlib.sha256(os.fsencode("\n".join(names))).hexdigest()[:8]
        return f"{f'{len(names)}-runs' if is_long else label}-{digest}"
    return label


def render_comparison(
    comparison: Comparison, names: Sequence[str], studies: Mapping[str, Sequence[PlotlyFigure]]
) -> str:
    """Return the page of a comparison as HTML; `studies`: plots of the search, by sweep id."""
    num_runs, num_params = len(comparison.contenders), len(comparison.params)
    kind = "trials" if studies else "runs"
    lead = f"{num_runs} {kind}, {num_params} differing parameter{'' if num_params == 1 else 's'}"
    title = " and ".join(names) if len(names) < 3 else f"{len(names)} compared"
    return render_page(title, [lead], list(comparison_sections(comparison, studies)))


def comparison_sections(
    comparison: Comparison, studies: Mapping[str, Sequence[PlotlyFigure]]
) -> Iterator[ReportSection]:
    """Yield the sections of the page."""
    yield render_section(
        "table",
        "Differences",
        "comparison.html",
        table=comparison_table(comparison),
        remarks=list(comparison_remarks(comparison)),
        swatches=contender_colours(comparison),
    )
    curves = learning_curves(comparison.contenders)
    yield curves_section("curves", "Learning curves", curves, "None has trained a step.")
    for number, (study, plots) in enumerate(studies.items()):
        yield curves_section(f"search-{number}", f"Search: {study}", plots, NO_TRIALS)


def curves_section(anchor: str, title: str, plots: Sequence[PlotlyFigure], otherwise: str) -> ReportSection:
    """Return a section of plots, of which those of other figures than headlines are folded away."""
    shown = [plot for plot in plots if plot.is_headline]
    folded = [plot for plot in plots if not plot.is_headline]
    values = {"headlines": shown, "others": folded, "otherwise": otherwise}
    return render_section(anchor, title, "curves.html", **values)


def contender_colours(comparison: Comparison) -> Mapping[str, str]:
    """Return the colour of each contender's curves, by its label."""
    labels = [contender.label for contender in comparison.contenders]
    return dict(zip(labels, curve_colours(len(labels)), strict=True))
