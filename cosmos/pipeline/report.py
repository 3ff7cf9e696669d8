"""Report of a pipeline: a page for people, and figures and curves for DVC."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from cosmos.config.disk_reading import is_file
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import ExperimentHead, read_overlay
from cosmos.config.figures import TRAINING_DATA
from cosmos.config.identity import describe_changes, params_fingerprint, short_hash
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.printable_text import print_text
from cosmos.errors import InputError, summarize_error
from cosmos.pipeline.directory import PipelineDir
from cosmos.report.curves import MetricsLine, final_figures, lines_as_csv, training_lines
from cosmos.report.headline import Headline, HeadlineFigure, describe_verdict, headline_section
from cosmos.report.page import Fact, PagePicture, render_page, render_section
from cosmos.report.provenance_section import RunOrigin, provenance_section
from cosmos.report.results_section import SuiteResults, results_section
from cosmos.report.section import ReportSection
from cosmos.report.training_plots import RunTraining
from cosmos.report.training_section import training_section
from cosmos.run.dataset_version import RecordedVersion
from cosmos.run.directory import RunDir
from cosmos.run.files import write_json, write_text
from cosmos.run.metrics import read_metrics
from cosmos.run.provenance_record import Provenance, read_provenance
from cosmos.run.results import ResultEntry, Results, overall_figures
from cosmos.stages.report_facts import (
    Entries,
    date_text,
    describe_data,
    describe_training,
    existing_pictures,
    measuring_facts,
    provenance_facts,
    resume_marks,
    segmentation_pictures,
    suite_headlines,
    suite_results,
)


@dataclass(frozen=True)
class SuiteReport:
    """Results of a suite, as the page shows them and as metrics.json holds them."""

    shown: SuiteResults
    headlines: list[HeadlineFigure]
    figures: dict[str, dict[str, dict[str, float]]]
    """figures by dataset, model and metric"""
    made_by: list[Fact]
    """checkpoints and code that the results are of"""
    data: dict[str, str]
    """first digits of the hash of the data, by dataset"""


@dataclass(frozen=True)
class PipelineOutputs:
    """Outputs of the stages before the report."""

    head: ExperimentHead
    params: Params
    lines: list[MetricsLine]
    ended: dict[str, float]
    """last values of the pretraining's metrics"""
    provenance: Provenance
    suites: dict[str, SuiteReport]


def write_report(folder: Path, output: Path | None = None, quiet: bool = False) -> dict[str, str]:
    """Write report/report.html, metrics.json and curves.csv into a pipeline's folder, and return their paths.

    `output`: another file for the page. The same inputs make the same bytes. Raises InputError for an input
    that is missing or broken, which names the stage that makes it; then nothing is written.
    """
    pipeline = PipelineDir(folder)
    outputs = read_outputs(pipeline)
    html = build_page(pipeline, outputs)
    figures = {
        "pretrain": outputs.ended,
        **{name: suite.figures for name, suite in outputs.suites.items()},
        "data": {
            TRAINING_DATA: short_hash(RecordedVersion.of(pipeline.model).sha256),
            **{name: suite.data for name, suite in outputs.suites.items()},
        },
    }
    write_json(pipeline.metrics, figures)
    write_text(pipeline.curves, lines_as_csv(training_lines(outputs.lines)))
    page = output or pipeline.page
    write_text(page, html)
    written = {"report": page, "metrics": pipeline.metrics, "curves": pipeline.curves}
    if not quiet:
        for name, path in written.items():
            print_text(f"{name}: {path}")
    return {name: str(path) for name, path in written.items()}


def read_outputs(pipeline: PipelineDir) -> PipelineOutputs:
    """Read the outputs of the stages before the report."""
    head, params = read_experiment(pipeline.experiment)
    lines, ended = read_training(pipeline)
    return PipelineOutputs(
        head=head,
        params=params,
        lines=lines,
        ended=ended,
        provenance=read_sessions_of(pipeline),
        suites={suite: read_suite(suite, pipeline.results(suite)) for suite in get_args(SuiteName)},
    )


def build_page(pipeline: PipelineDir, outputs: PipelineOutputs) -> str:
    """Return the page that shows a pipeline's outputs, as HTML."""
    title = outputs.head.name or "default"
    figures = [figure for suite in outputs.suites.values() for figure in suite.headlines]
    headline = Headline(describe_verdict(title, figures, ""), figures, facts=list(headline_facts(outputs)))
    training = RunTraining(
        title,
        outputs.lines,
        outputs.params.pretrain.batch_size,
        resume_marks(outputs.provenance.sessions),
    )
    sections = [
        headline_section(headline),
        training_section([training], describe_training(outputs.ended)),
        *sample_sections(pipeline, outputs, title),
        *preview_sections(pipeline, outputs.params.data.name),
        results_section([suite.shown for suite in outputs.suites.values()]),
        provenance_section(origin_of_pipeline(outputs)),
    ]
    return render_page(title, experiment_lines(outputs.head), sections)


def sample_sections(pipeline: PipelineDir, outputs: PipelineOutputs, title: str) -> list[ReportSection]:
    """Return the sections on single samples: what the models see, and where they fail.

    There are none without the checkpoint, which DVC may not have pulled; torch is imported for them.
    """
    if not is_file(pipeline.checkpoint):
        return []
    from cosmos.report.gallery_sections import gallery_sections
    from cosmos.stages.galleries import GallerySource, measure_source

    machine = Machine(data_root=pipeline.data)
    files = {suite: pipeline.results(suite) for suite in outputs.suites}
    kept = RunDir(machine.runs_root / f"{title}-{params_fingerprint(outputs.params)}")
    source = GallerySource(title, files, kept, str(pipeline.checkpoint))
    return gallery_sections(measure_source(source, outputs.params, machine), None)


def headline_facts(outputs: PipelineOutputs) -> Iterator[Fact]:
    """Yield the date of the pretraining and its data."""
    if started := outputs.provenance.sessions[0].started if outputs.provenance.sessions else "":
        yield Fact("trained", date_text(started))
    yield Fact("data", describe_data(outputs.params.data.name, outputs.provenance))


def origin_of_pipeline(outputs: PipelineOutputs) -> RunOrigin:
    """Return the origin of a pipeline's model and results."""
    made_by = dict.fromkeys(fact for suite in outputs.suites.values() for fact in suite.made_by)
    changed = [Fact(*line.split(": ", 1)) for line in describe_changes(Params(), outputs.params)]
    return RunOrigin([*provenance_facts(outputs.provenance), *made_by], changed)


def preview_sections(pipeline: PipelineDir, dataset: str) -> list[ReportSection]:
    """Return the section with a picture of some training samples, where there is one."""
    picture = PagePicture(f"some samples of {dataset}", pipeline.preview(dataset))
    values = {"pictures": existing_pictures(picture)}
    return [render_section("data", "Data", "pictures.html", **values)] if values["pictures"] else []


@contextmanager
def reading_output_of(stage: str, path: Path) -> Iterator[None]:
    """Raise InputError that names the stage if `path`, read in the block, is missing or broken."""
    if not is_file(path):
        raise InputError(f"{path}: no such file; `dvc repro {stage}` makes it")
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not as stage {stage} leaves it ({summarize_error(error)}); delete it, and "
            f"`dvc repro {stage}` brings it back"
        ) from None


def read_experiment(path: Path) -> tuple[ExperimentHead, Params]:
    """Return the head and the parameters of the experiment that the pipeline resolved."""
    with reading_output_of("params", path):
        overlay = read_overlay(path)
        return overlay.head, Params.model_validate(overlay.sections.values)


def read_training(pipeline: PipelineDir) -> tuple[list[MetricsLine], dict[str, float]]:
    """Return the lines of a pretraining's metrics, and the last values of those that have a loss."""
    with reading_output_of("pretrain", pipeline.model.metrics):
        lines = read_metrics(pipeline.model.metrics)
        trained = training_lines(lines)
        if not trained:
            raise InputError("no line has a loss")
        return [*lines], final_figures(trained)


def read_sessions_of(pipeline: PipelineDir) -> Provenance:
    """Return the provenance of a pretraining."""
    with reading_output_of("pretrain", pipeline.model.provenance):
        return read_provenance(pipeline.model.provenance, "`dvc repro pretrain` makes it")


def read_suite(suite: str, path: Path) -> SuiteReport:
    """Return the results of a suite, with the pictures that lie beside them."""
    with reading_output_of(f"evaluate@{suite}", path):
        entries: Entries = Results(path, suite).entries()
        return SuiteReport(
            shown=suite_results(suite, entries, segmentation_pictures(path, entries)),
            headlines=suite_headlines(suite, entries),
            figures={escape_dots(dataset): figures_by_model(entry) for dataset, entry in entries.items()},
            made_by=measuring_facts([entries]),
            data=data_versions(entries),
        )


def experiment_lines(head: ExperimentHead) -> list[str]:
    """Return the description, cost and expected figures of an experiment, where they are given."""
    lines = {"About": head.about, "Cost": head.cost, "Expected": head.expected}
    return [f"{name}: {line}" for name, line in lines.items() if line]


def figures_by_model(entry: ResultEntry) -> dict[str, dict[str, float]]:
    """Return the figures of an entry by model, without those of single classes."""
    return {
        escape_dots(model): {
            escape_dots(metric): value for metric, value in overall_figures(measured).items()
        }
        for model, measured in entry["models"].items()
    }


def data_versions(entries: Mapping[str, ResultEntry]) -> dict[str, str]:
    """Return the first digits of the hash of each dataset's data, since DVC compares figures of any data."""
    return {escape_dots(dataset): short_hash(entry["data_hash"]) for dataset, entry in entries.items()}


def escape_dots(name: str) -> str:
    """Return a name with its dots escaped, since DVC separates the names of nested keys by dots."""
    return name.replace("%", "%25").replace(".", "%2E")
