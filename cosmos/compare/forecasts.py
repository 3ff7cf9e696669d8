"""Command `cosmos forecast`: where runs will end, and the next run that a law over several suggests."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table

from cosmos.compare.comparison import find_run_or_sweep
from cosmos.compare.sized_runs import LawForecast, describe_law, law_of_records
from cosmos.config.figures import LOSS
from cosmos.config.machine import Machine
from cosmos.config.printable_text import print_text, printable
from cosmos.registry.index import list_runs
from cosmos.registry.record import read_run_record
from cosmos.registry.run_forecast import FigureForecast, Forecaster, RunForecast
from cosmos.report.forecast_picture import forecast_plot
from cosmos.report.headline import is_headline_figure
from cosmos.report.plotly import PlotlyFigure
from cosmos.report.terminal import Terminal
from cosmos.run.directory import RunDir
from cosmos.run.statistics.forecasts import FORECAST_LEVEL, HINDSIGHT
from cosmos.run.sweep_directory import SweepDir

COLUMNS = (
    "run",
    "figure",
    "step",
    "last",
    "end",
    f"{FORECAST_LEVEL:.0%} interval",
    f"said at {HINDSIGHT:.0%}",
)
"""Headings of the table of forecasts."""

NUM_KEPT = 4
"""Number of columns that the table has in any terminal."""


def print_forecasts(names: Sequence[str], machine: Machine, quiet: bool) -> dict[str, Any]:
    """Print the forecasts of runs, and the law over several or over a sweep, unless `quiet`; return both.

    Raises InputError for a name of neither a run nor a sweep.
    """
    folders = [find_run_or_sweep(name, machine) for name in names]
    runs = [run for folder in folders for run in runs_of(folder)]
    records = [read_run_record(run, os.path.relpath(run.path, machine.runs_root)) for run in runs]
    forecaster = Forecaster(list_runs(machine.runs_root), machine.runs_root)
    forecasts = [forecaster.forecast(record, run) for record, run in zip(records, runs, strict=True)]
    has_sweep = any(isinstance(folder, SweepDir) for folder in folders)
    law = law_of_records(records, runs) if has_sweep or len(runs) > 1 else None
    if not quiet:
        print_forecast_table(forecasts)
        print_law(law)
    return {
        "runs": [forecast.as_json() for forecast in forecasts],
        "law": law.as_json() if law else None,
    }


def runs_of(folder: RunDir | SweepDir) -> list[RunDir]:
    """Return the run, or the runs of a sweep's trials."""
    return folder.trial_runs if isinstance(folder, SweepDir) else [folder]


def print_forecast_table(forecasts: Sequence[RunForecast]) -> None:
    """Print the table of forecasts, and below it why others have none and what is odd about curves."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    rows = [row for forecast in forecasts for row in forecast_rows(forecast)]
    used = [place for place, _ in enumerate(COLUMNS) if any(row[place] for row in rows)]
    for place in used:
        table.add_column(COLUMNS[place])
    for row in rows:
        table.add_row(*(printable(row[place]) for place in used))
    if rows:
        Terminal().print_table(table, kept=NUM_KEPT)
    for forecast in forecasts:
        for remark in filter(None, [forecast.problem, *forecast.remarks]):
            print_text(printable(f"{forecast.run}: {remark}"))
    if rows:
        print_text(describe_calibration(forecasts))


def forecast_rows(forecast: RunForecast) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a run's forecasts: of the loss, and of the evaluations that a model is judged by."""
    for figure in forecast.figures:
        if is_shown(figure):
            yield forecast_row(forecast, figure)


def is_shown(figure: FigureForecast) -> bool:
    """Return True for the loss, and for an evaluation that a model is judged by."""
    return figure.figure == LOSS.name or is_headline_figure(figure.figure)


def forecast_row(forecast: RunForecast, figure: FigureForecast) -> tuple[str, ...]:
    """Return the texts of a figure's row, below COLUMNS."""
    earlier, said = figure.earlier, ""
    if earlier:
        held = "held" if earlier.holds(figure.end.value) else "missed"
        said = f"{figure.figure_text(earlier.value)} ({figure.range_text(earlier)}), {held}"
    return (
        forecast.run,
        figure.figure,
        f"{figure.step}/{forecast.total_steps}",
        figure.figure_text(figure.last),
        "is the end" if figure.has_ended else figure.figure_text(figure.end.value),
        "" if figure.has_ended else figure.range_text(figure.end),
        said,
    )


def describe_calibration(forecasts: Sequence[RunForecast]) -> str:
    """Return the line that says what the intervals rest on."""
    counts = sorted({forecast.siblings for forecast in forecasts if forecast.figures})
    if not counts[-1]:
        return "no run with such a loss has finished here: intervals are the usual ones (docs/forecast.md)"
    numbers = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"intervals by the ends of {numbers} finished runs (docs/forecast.md)"


def print_law(law: LawForecast | None) -> None:
    """Print the law over sizes, or why there is none."""
    for line in describe_law(law) if law else ():
        print_text(printable(line))


def forecast_run(run: RunDir, machine: Machine) -> RunForecast:
    """Return the forecasts of a run."""
    record = read_run_record(run, os.path.relpath(run.path, machine.runs_root))
    return Forecaster(list_runs(machine.runs_root), machine.runs_root).forecast(record, run)


def forecast_remarks(forecast: RunForecast) -> Iterator[str]:
    """Yield the forecast of an unfinished run's loss for its page, or the reason why there is none."""
    loss = forecast.loss
    if forecast.problem:
        yield forecast.problem
    elif loss and not loss.has_ended:
        yield f"Forecast of the loss at step {forecast.total_steps:,}: {loss.describe()}."
    yield from forecast.remarks


def forecast_plots(forecast: RunForecast) -> list[PlotlyFigure]:
    """Return the plots of an unfinished run's forecasts: of loss and of what a model is judged by."""
    return [
        forecast_plot(f"Forecast of {figure.figure}", figure.curve, figure.fan)
        for figure in forecast.figures
        if not figure.has_ended and is_shown(figure)
    ]
