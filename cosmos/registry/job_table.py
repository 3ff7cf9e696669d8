"""Table of jobs for the terminal."""

import sys
from collections.abc import Sequence

from rich import box
from rich.table import Table

from cosmos.config.machine import Machine
from cosmos.config.near_names import close_names
from cosmos.config.number_text import format_duration, format_number
from cosmos.config.printable_text import is_terminal, print_text, printable
from cosmos.registry.jobs import TRAINING_STATUSES, JobQuery, RunJob, query_jobs
from cosmos.report.terminal import Terminal

COLUMNS = (
    *("run", "kind", "state", "step", "left", "job", "loss"),
    *("samples/s", "details", "limit", "last line"),
)
"""Headings of the table of jobs; the first ones have room in any terminal."""

NUM_KEPT = 3
"""Number of columns that the table has in any terminal."""

MAX_TERMINAL_JOBS = 50
"""Largest number of jobs that a terminal shows, unless more are asked for."""


def list_jobs(query: JobQuery, limit: int, machine: Machine, quiet: bool) -> list[RunJob]:
    """Return the jobs that a query selects, those that wait or run first, and print them unless `quiet`.

    At most `limit` are printed and returned; 0: all, or in a terminal MAX_TERMINAL_JOBS. Raises as
    `index.list_runs`.
    """
    jobs, total = query_jobs(query, machine)
    in_terminal = not quiet and is_terminal(sys.stdout)
    shown = jobs[: limit or (MAX_TERMINAL_JOBS if in_terminal else None)]
    if quiet:
        return shown
    if shown:
        print_jobs(shown)
    else:
        print_text(no_jobs_message(query, total, machine))
    if len(shown) < len(jobs):
        print_text(f"... and {len(jobs) - len(shown)} more; `--limit {len(jobs)}` shows all")
    return shown


def no_jobs_message(query: JobQuery, total: int, machine: Machine) -> str:
    """Return the message that there are no jobs, or none that a query selects, and what to do."""
    if not total:
        return f"no jobs in {machine.runs_root}; `COSMOS_CLUSTER=slurm cosmos pretrain` submits one"
    all_jobs, _ = query_jobs(JobQuery(), machine)
    near = [near for name in query.names for near in close_names(name, {job.run for job in all_jobs})]
    states = ", ".join(sorted({job.status for job in all_jobs}))
    hint = f"near it: {', '.join(near)}" if near else f"states of jobs: {states}"
    return printable(f"none of {total} jobs matches; {hint}")


def print_jobs(rows: Sequence[RunJob]) -> None:
    """Print the table of jobs, without columns that are empty, and the jobs' problems below it."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    cells = zip(*(map(printable, job_cells(row)) for row in rows), strict=True)
    columns = {heading: texts for heading, texts in zip(COLUMNS, cells, strict=True) if any(texts)}
    for heading in columns:
        table.add_column(heading)
    for texts in zip(*columns.values(), strict=True):
        table.add_row(*texts)
    Terminal().print_table(table, kept=NUM_KEPT)
    for problem in (row.problem for row in rows if row.problem):
        print_text(printable(problem))


def job_cells(row: RunJob) -> tuple[str, ...]:
    """Return the texts of a job's row, below COLUMNS."""
    is_training = row.status in TRAINING_STATUSES and row.total_steps > 0
    return (
        row.run,
        row.kind,
        row.status,
        f"{row.step}/{row.total_steps}" if row.total_steps else "",
        format_duration(row.seconds_left) if is_training else "",
        row.job_id,
        row.loss,
        format_number(row.samples_per_second) if row.samples_per_second else "",
        "; ".join(filter(None, (row.subject, row.state.removeprefix(row.status).strip()))),
        row.time_left,
        f"{format_duration(row.seconds_silent)} ago" if row.step else "",
    )
