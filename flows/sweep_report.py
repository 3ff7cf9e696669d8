"""Report of a sweep as an artifact: the verdict, the best candidates, and the page that compares trials."""

from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from cosmos.config.printable_text import cosmos_command
from cosmos.report.markdown import markdown_code, markdown_text
from cosmos.report.text import parameter_label
from cosmos.search.conclusion import SweepConclusion
from cosmos.search.sweep_run import SweepRun
from cosmos.search.terminal_tables import MAX_CANDIDATES, candidate_cells
from flows.reports import REPORT, markdown_table, name_page


def create_sweep_report(sweep_run: SweepRun, conclusion: SweepConclusion) -> None:
    """Write the page that compares the trials of a sweep, and create an artifact that names it."""
    from cosmos.compare.commands import write_comparison  # late: it takes seconds, at the end of a sweep
    from cosmos.search.study_plots import plot_study

    names = [sweep_run.folder.path.name]
    written = write_comparison(names, sweep_run.machine, None, plot_study, quiet=True)
    create_markdown_artifact(sweep_markdown(conclusion, Path(written["page"])), key=REPORT)


def sweep_markdown(conclusion: SweepConclusion, page: Path) -> str:
    """Return the verdict of a sweep, its best candidates and the path of its page, as Markdown."""
    searched = sorted({path for candidate in conclusion.candidates for path in candidate.asked})
    figures = list(conclusion.candidates[0].figures) if conclusion.candidates else []
    names = [figure.rpartition("/")[2] for figure in figures]
    headings = ["", "trial", "seeds", *names, *map(parameter_label, searched)]
    rows = [candidate_cells(candidate, searched) for candidate in conclusion.candidates[:MAX_CANDIDATES]]
    command = markdown_code(cosmos_command("report", conclusion.sweep))
    best = [f"{command} writes a page of the best trial."] if conclusion.run else []
    kept = markdown_code(conclusion.overlay) if conclusion.overlay else "no experiment was written"
    parts = [markdown_text(conclusion.verdict), name_page(page), *best, f"Parameters of the best: {kept}"]
    return "\n\n".join([*parts, markdown_table(headings, rows)])
