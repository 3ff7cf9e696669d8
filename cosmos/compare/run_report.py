"""Report of a run, of the winner of a sweep, or of a pair: `cosmos report`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from cosmos.compare.comparison import Comparison, with_labels, with_shared_figures
from cosmos.compare.forecasts import forecast_plots, forecast_remarks, forecast_run
from cosmos.compare.page import page_label
from cosmos.compare.planned_section import planned_sections
from cosmos.compare.reported_run import ReportedRun, read_reported_run
from cosmos.compare.run_differences import RunPair
from cosmos.compare.run_origin import origin_of_run
from cosmos.config.figures import EPOCH, SAMPLES_USED, STEP, describe_missing_data, repeated_result
from cosmos.config.machine import Machine
from cosmos.config.printable_text import cosmos_command, print_text
from cosmos.errors import DamagedDataError, InputError
from cosmos.report.curves import final_figures, training_lines
from cosmos.report.differences import differences_section
from cosmos.report.headline import (
    Headline,
    HeadlineFigure,
    describe_verdict,
    headline_section,
    is_headline_figure,
    with_best_model,
)
from cosmos.report.page import Fact, render_page
from cosmos.report.provenance_section import provenance_section
from cosmos.report.results_section import results_section
from cosmos.report.section import ReportSection
from cosmos.report.training_section import BatchPictures, batch_section, training_section
from cosmos.run.files import write_text
from cosmos.stages.report_facts import (
    date_text,
    describe_data,
    describe_training,
    suite_headlines,
    suite_results,
)

CAVEATS = ("damaged_samples", "replaced_samples", "skipped_steps")
"""Counts of a training that qualify its figures."""


@dataclass(frozen=True)
class RunReport:
    """Report of a run, or of a run against another."""

    run: ReportedRun
    against: ReportedRun | None

    @cached_property
    def pair(self) -> RunPair | None:
        """Both as a pair; None without another run."""
        if self.against is None:
            return None
        contenders = with_labels([self.run.contender, self.against.contender])
        return RunPair(Comparison(with_shared_figures(contenders), ()))

    @cached_property
    def figures(self) -> list[HeadlineFigure]:
        """Figures that the run is judged by, with those of the other run beside them."""
        figures = with_best_model(judged_figures(self.run))
        return [self.beside_other(figure) for figure in figures]

    def beside_other(self, figure: HeadlineFigure) -> HeadlineFigure:
        """Return a figure with that of the other run, where both are of the same data."""
        lead = self.pair.leads.get(figure.name) if self.pair else None
        if self.pair is None or lead is None:
            return figure
        return replace(figure, baseline=self.pair.against.figures[figure.name], lead=lead)

    @property
    def title(self) -> str:
        """Title of the page."""
        return f"{self.run.label} against {self.against.label}" if self.against else self.run.label

    @property
    def verdict(self) -> str:
        """Verdict in a sentence or two."""
        return describe_verdict(self.run.label, self.figures, self.against.label if self.against else "")

    @property
    def path(self) -> Path:
        """Path of the page, unless another one is asked for: in the folder of the run or sweep."""
        against = f"-against-{page_label([self.against.label])}" if self.against else ""
        return self.run.folder / f"report{against}.html"

    def sections(self, machine: Machine) -> Iterator[ReportSection]:
        """Yield the sections of the page."""
        runs = [self.run, *([self.against] if self.against else [])]
        yield headline_section(self.headline())
        if self.pair:
            yield differences_section(self.pair.differences())
        yield from sample_sections(self.run, self.against, machine)
        forecast = forecast_run(self.run.run, machine)
        summary = describe_curves(self.run)
        remarks = [*session_remarks(self.run), *forecast_remarks(forecast)]
        plots = forecast_plots(forecast)
        yield training_section([run.training for run in runs], summary, remarks, plots)
        yield from planned_sections(self.run, machine)
        yield batch_section(batch_pictures(self.run, machine))
        measured = {suite: entries for suite, entries in self.run.results.items() if entries}
        if measured:
            yield results_section([suite_results(suite, entries) for suite, entries in measured.items()])
        yield provenance_section(origin_of_run(self.run))

    def headline(self) -> Headline:
        """Return the headline."""
        notes = [note for run in (self.run, self.against) if run for note in run.remarks]
        if not self.figures:
            notes.append(f"`{cosmos_command('evaluate', '--run', self.run.label)}` measures it.")
        baseline = self.against.label if self.against else ""
        return Headline(self.verdict, self.figures, baseline, notes, list(run_facts(self.run)))


def write_run_report(
    name: str, against: str, machine: Machine, output: Path | None, quiet: bool
) -> dict[str, Any]:
    """Write the page of a run or sweep, set against another unless `against` is empty; return its path.

    `output`: None for a page in the folder of the run. Raises InputError for a name of neither.
    """
    run = read_reported_run(name, machine)
    other = read_reported_run(against, machine) if against else None
    if other and other.run.path.resolve() == run.run.path.resolve():
        raise InputError(f"--against {against}: that is the run itself; name another one")
    report = RunReport(run, other)
    path = output or report.path
    write_text(path, render_page(report.title, [], list(report.sections(machine))))
    if not quiet:
        print_text(f"{report.verdict}\nreport: {path}")
    return {"report": str(path), "run": str(run.run.path), "verdict": report.verdict}


def judged_figures(run: ReportedRun) -> list[HeadlineFigure]:
    """Return results that a run is judged by, and evaluations while training that no result repeats."""
    figures = run.contender.figures
    measured = [
        figure for suite, entries in run.results.items() for figure in suite_headlines(suite, entries)
    ]
    names = {figure.name for figure in measured}
    meanwhile = [
        HeadlineFigure(name, sample)
        for name, sample in figures.items()
        if is_headline_figure(name) and repeated_result(name) and repeated_result(name) not in names
    ]
    return [with_seeds(figure, run) for figure in (*measured, *meanwhile)]


def with_seeds(figure: HeadlineFigure, run: ReportedRun) -> HeadlineFigure:
    """Return a figure with its values by each seed, and the interval over images and seeds."""
    sample = run.contender.figures.get(figure.name, figure.sample)
    return replace(
        figure, sample=sample, interval=sample.interval or (None if sample.is_repeated else figure.interval)
    )


def run_facts(run: ReportedRun) -> Iterator[Fact]:
    """Yield state, date, seeds, data of a run and its health."""
    yield Fact("state", describe_state(run))
    sessions = run.provenance.sessions
    if sessions and sessions[0].started:
        yield Fact("trained", date_text(sessions[0].started))
    files = [run.run.result_file(suite) for suite, entries in run.results.items() if entries]
    if files:
        latest = datetime.fromtimestamp(max(file.stat().st_mtime for file in files), UTC)
        yield Fact("measured", date_text(latest.isoformat()))
    if len(run.contender.runs) > 1:
        yield Fact("seeds", f"{len(run.contender.runs)}; curves and pictures are of the first")
    if run.params:
        yield Fact("data", describe_data(run.params.data.name, run.provenance))
    yield from (Fact("data health", text) for text in describe_health(run))


def describe_state(run: ReportedRun) -> str:
    """Return the state of a run, and the steps that it has taken of all."""
    lines = training_lines(run.lines)
    if not lines or not run.params:
        return run.contender.state
    step, epoch = lines[-1][STEP.name], lines[-1].get(EPOCH.name)
    total = f" of {round(step / epoch * run.params.pretrain.epochs):,}" if epoch else ""
    return f"{run.contender.state}, {step:,}{total} steps"


def describe_health(run: ReportedRun) -> Iterator[str]:
    """Yield remarks on samples and steps that a run did without, and on the data that it was measured on."""
    lines = training_lines(run.lines)
    last = lines[-1] if lines else {}
    if incomplete := describe_missing_data({key: value for key, value in last.items() if value is not None}):
        yield f"trained on {incomplete} samples; the others are missing or damaged"
    elif last.get(SAMPLES_USED.name) is not None:
        yield f"all {last[SAMPLES_USED.name]:,} samples are used"
    counts = {key: last[key] for key in CAVEATS if last.get(key)}
    yield from (f"{count:,} {key.replace('_', ' ')}" for key, count in counts.items())
    yield from dict.fromkeys(
        f"{label}: {entry['note']}"
        for entries in run.results.values()
        for label, entry in entries.items()
        if entry["note"]
    )


def describe_curves(run: ReportedRun) -> str:
    """Return the end of a training in a line."""
    try:
        return describe_training(final_figures(training_lines(run.lines)))
    except DamagedDataError:
        return "No step was logged."


def session_remarks(run: ReportedRun) -> Iterator[str]:
    """Yield a line on sessions whose first step is not recorded."""
    unknown = [session for session in run.provenance.sessions[1:] if session.step is None]
    if unknown:
        yield f"{len(unknown)} later sessions are not marked: their first step was not recorded then."


def sample_sections(run: ReportedRun, against: ReportedRun | None, machine: Machine) -> list[ReportSection]:
    """Return the sections on single samples: what the models see, where they fail, what changed.

    There are none of a run without results and checkpoints, or without parameters. They import torch.
    """
    if run.params is None or not (any(run.results.values()) or run.run.saved_checkpoints):
        return []
    from cosmos.report.gallery_sections import gallery_sections
    from cosmos.stages.galleries import measure_galleries
    from cosmos.stages.gallery_mirror import mirror_galleries

    other = measure_galleries(against.run, against.params, machine) if against and against.params else None
    galleries = measure_galleries(run.run, run.params, machine)
    mirror_galleries(run.run, galleries, machine)
    return gallery_sections(galleries, other)


def batch_pictures(run: ReportedRun, machine: Machine) -> BatchPictures:
    """Return samples of a run's first batch; torch is imported for them."""
    if run.params is None:
        return BatchPictures(reason="The samples cannot be drawn again without the run's parameters.")
    from cosmos.stages.batch_pictures import picture_batch

    return picture_batch(run.run, run.params, machine)
