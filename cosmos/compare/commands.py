"""Compare: what `cosmos compare` prints and writes."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cosmos.compare.comparison import found_as, gather
from cosmos.compare.page import render_comparison
from cosmos.compare.table import print_comparison
from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.registry.sweep_directory import SweepDir
from cosmos.report.plotly import PlotlyFigure
from cosmos.run.directory import checkpoint_label
from cosmos.run.files import write_text

StudyPlots = Callable[[SweepDir, Machine], list[PlotlyFigure]]
"""Function that draws a sweep's study."""

MAX_LABEL = 80
"""Characters of a page's name."""


def write_comparison(
    names: Sequence[str], machine: Machine, output: Path | None, study_plots: StudyPlots, quiet: bool
) -> dict[str, Any]:
    """Print runs and sweeps side by side, and write them as a page; return the table and the page's path.

    `output`: None for a page below the folder of runs. Raises InputError for a name of neither.
    """
    compared = gather(names, machine)
    path = output or default_page(names, machine)
    studies = {folder.path.name: study_plots(folder, machine) for folder in compared.sweeps}
    write_text(path, render_comparison(compared, names, studies))
    if not quiet:
        print_comparison(compared)
        print(f"page: {path}")
    return {**compared.as_json(), "page": str(path)}


def default_page(names: Sequence[str], machine: Machine) -> Path:
    """Where the page of these names lies, unless another place is asked for."""
    joined = "-".join(names)
    label = checkpoint_label(joined)
    if len(joined) > MAX_LABEL:
        label = f"{len(names)}-runs-{hashlib.sha256(joined.encode()).hexdigest()[:8]}"
    return machine.runs_root / "compare" / f"{label}.html"


def save_workspace(names: Sequence[str], machine: Machine, quiet: bool) -> list[str]:
    """Saves a workspace in W&B of each sweep that is named; their addresses. ValueError where none is."""
    found = [found_as(name, machine) for name in names]
    sweeps = [one.sweep() for one in found if isinstance(one, SweepDir)]
    if not sweeps:
        raise InputError("--wandb: a workspace is of a sweep, and no sweep is named")
    from cosmos.tracking.workspace import save_sweep_workspace

    urls = [
        save_sweep_workspace(machine.wandb, one.id, one.file.objectives[0].figure, list(one.file.space))
        for one in sweeps
    ]
    if not quiet:
        print("\n".join(f"workspace: {url}" for url in urls))
    return urls
