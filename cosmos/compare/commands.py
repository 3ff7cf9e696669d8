"""Command `cosmos compare`: prints a comparison, writes its page, saves workspaces in W&B."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cosmos.compare.comparison import compare_named, find_run_or_sweep
from cosmos.compare.page import page_label, render_comparison
from cosmos.compare.table import print_comparison
from cosmos.config.machine import Machine
from cosmos.config.printable_text import print_text
from cosmos.errors import InputError
from cosmos.report.plotly import PlotlyFigure
from cosmos.run.files import write_text
from cosmos.run.sweep_directory import SweepDir

StudyPlots = Callable[[SweepDir], list[PlotlyFigure]]
"""Function that returns the plots of a sweep's study."""


def write_comparison(
    names: Sequence[str],
    machine: Machine,
    output: Path | None,
    study_plots: StudyPlots,
    quiet: bool,
    merges_seeds: bool = False,
) -> dict[str, Any]:
    """Print runs and sweeps side by side, and write them as a page; return the table and the page's path.

    `output`: None for a page below the folder of runs. Raises as `compare_named`.
    """
    comparison = compare_named(names, machine, merges_seeds)
    path = output or default_page_path(names, machine)
    studies = {folder.path.name: study_plots(folder) for folder in comparison.sweeps}
    write_text(path, render_comparison(comparison, names, studies))
    if not quiet:
        print_comparison(comparison)
        print_text(f"page: {path}")
    return {**comparison.as_json(), "page": str(path)}


def default_page_path(names: Sequence[str], machine: Machine) -> Path:
    """Return the path of the page of these names, unless another one is asked for."""
    return machine.runs_root / "compare" / f"{page_label(names)}.html"


def save_workspace(names: Sequence[str], machine: Machine, quiet: bool) -> list[str]:
    """Save a workspace in W&B of each named sweep, and return their addresses. InputError for no sweep."""
    directories = [find_run_or_sweep(name, machine) for name in names]
    sweeps = [directory.sweep() for directory in directories if isinstance(directory, SweepDir)]
    if not sweeps:
        raise InputError("--wandb: a workspace is of a sweep, and no sweep is named")
    from cosmos.tracking.workspace import save_sweep_workspace

    urls = [
        save_sweep_workspace(machine.wandb, sweep.id, sweep.file.objectives[0].figure, list(sweep.file.space))
        for sweep in sweeps
    ]
    if not quiet:
        print_text("\n".join(f"workspace: {url}" for url in urls))
    return urls
