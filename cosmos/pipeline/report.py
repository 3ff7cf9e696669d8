"""Report of a pipeline: a page for people, and figures and curves for DVC."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import ExperimentHead, read_overlay
from cosmos.config.figures import LOSS, SAMPLES, SAMPLES_PER_SECOND, TRAINING_DATA, describe_missing_data
from cosmos.config.identity import describe_changes, short_hash
from cosmos.config.number_text import format_number
from cosmos.config.params import Params
from cosmos.config.printable_text import print_text
from cosmos.errors import InputError, summarize_error
from cosmos.pipeline.directory import PipelineDir
from cosmos.report.curves import MetricsLine, final_figures, lines_as_csv, loss_charts, training_lines
from cosmos.report.page import Fact, PagePicture, ReportPage, SuiteSection, render_report
from cosmos.report.tables import score_tables
from cosmos.run.dataset_version import RecordedVersion
from cosmos.run.files import write_json, write_text
from cosmos.run.metrics import read_metrics
from cosmos.run.provenance_record import RunSession, read_provenance
from cosmos.run.results import ResultEntry, Results, overall_figures
from cosmos.stages.evaluation_result import dataset_scores, figures_published_of, saved_picture


@dataclass(frozen=True)
class SuiteReport:
    """Results of a suite, as the page shows them and as metrics.json holds them."""

    shown: SuiteSection
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
    provenance: list[Fact]
    suites: dict[str, SuiteReport]


def write_report(folder: Path, quiet: bool = False) -> dict[str, Any]:
    """Write report/report.html, metrics.json and curves.csv into a pipeline's folder, and return their paths.

    The same inputs make the same bytes. Raises InputError for an input that is missing or broken, which names
    the stage that makes it; then nothing is written.
    """
    pipeline = PipelineDir(folder)
    outputs = read_outputs(pipeline)
    html = render_report(build_page(pipeline, outputs))
    figures = {
        "pretrain": outputs.ended,
        **{name: suite.figures for name, suite in outputs.suites.items()},
        "data": {
            TRAINING_DATA: short_hash(RecordedVersion.of(pipeline.model).sha256),
            **{name: suite.data for name, suite in outputs.suites.items()},
        },
    }
    write_json(pipeline.metrics, figures)
    write_text(pipeline.curves, lines_as_csv(outputs.lines))
    write_text(pipeline.page, html)
    written = {"report": pipeline.page, "metrics": pipeline.metrics, "curves": pipeline.curves}
    if not quiet:
        for name, path in written.items():
            print_text(f"{name}: {path}")
    return {name: str(path) for name, path in written.items()}


def read_outputs(pipeline: PipelineDir) -> PipelineOutputs:
    """Read the outputs of the stages before the report."""
    head, params = read_experiment(pipeline.experiment)
    lines, ended = read_training(pipeline.model.metrics)
    return PipelineOutputs(
        head=head,
        params=params,
        lines=lines,
        ended=ended,
        provenance=provenance_facts(pipeline.model.provenance),
        suites={suite: read_suite(suite, pipeline.results(suite)) for suite in get_args(SuiteName)},
    )


def build_page(pipeline: PipelineDir, outputs: PipelineOutputs) -> ReportPage:
    """Return the page that shows a pipeline's outputs."""
    dataset, suites = outputs.params.data.name, outputs.suites.values()
    return ReportPage(
        title=outputs.head.name or "default",
        about=experiment_facts(outputs.head),
        suites=[suite.shown for suite in suites],
        training=describe_training(outputs.ended),
        charts=loss_charts(outputs.lines),
        parameters=[Fact(*line.split(": ", 1)) for line in describe_changes(Params(), outputs.params)],
        provenance=[*outputs.provenance, *dict.fromkeys(fact for suite in suites for fact in suite.made_by)],
        previews=existing_pictures(PagePicture(f"some samples of {dataset}", pipeline.preview(dataset))),
    )


@contextmanager
def reading_output_of(stage: str, path: Path) -> Iterator[None]:
    """Raise InputError that names the stage if `path`, read in the block, is missing or broken."""
    if not path.is_file():
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


def read_training(path: Path) -> tuple[list[MetricsLine], dict[str, float]]:
    """Return the lines of a pretraining's metrics that have a loss, and its last values."""
    with reading_output_of("pretrain", path):
        lines = training_lines(read_metrics(path))
        if not lines:
            raise InputError("no line has a loss")
        return lines, final_figures(lines)


def provenance_facts(path: Path) -> list[Fact]:
    """Return the code, data, device and packages of a pretraining."""
    with reading_output_of("pretrain", path):
        recorded = read_provenance(path, "`dvc repro pretrain` makes it")
        sessions = recorded.sessions
        return [
            *distinct_facts("trained by", [describe_code(session) for session in sessions]),
            Fact("sessions", f"{len(sessions)}, after {recorded.requeues} requeues"),
            *(Fact(f"data, {name}", f"sha256 {sha256}") for name, sha256 in recorded.data.items()),
            *(Fact(f"DVC, {out}", f"md5 {md5}") for out, md5 in recorded.dvc.items()),
            *distinct_facts("device", [describe_device(session) for session in sessions]),
            *distinct_facts("packages", [describe_packages(session) for session in sessions]),
        ]


def read_suite(suite: str, path: Path) -> SuiteReport:
    """Return the results of a suite, with the pictures that lie beside them."""
    with reading_output_of(f"evaluate@{suite}", path):
        entries = Results(path, suite).entries()
        pictures = [
            PagePicture(f"segmentations of {dataset} by the {model}", saved_picture(path, entry, model))
            for dataset, entry in entries.items()
            for model in entry["models"]
        ]
        shown = SuiteSection(
            name=suite,
            tables=score_tables(
                suite, [dataset_scores(suite, dataset, entry) for dataset, entry in entries.items()]
            ),
            sources=[
                fact for dataset, entry in entries.items() for fact in dataset_facts(suite, dataset, entry)
            ],
            pictures=existing_pictures(*pictures),
        )
        return SuiteReport(
            shown=shown,
            figures={escape_dots(dataset): figures_by_model(entry) for dataset, entry in entries.items()},
            made_by=[
                *distinct_facts("checkpoint", [describe_checkpoint(entry) for entry in entries.values()]),
                *distinct_facts("measured by", [entry["code_version"] for entry in entries.values()]),
            ],
            data=data_versions(entries),
        )


def experiment_facts(head: ExperimentHead) -> list[Fact]:
    """Return the description, cost and expected figures of an experiment, where they are given."""
    lines = {"About": head.about, "Cost": head.cost, "Expected": head.expected}
    return [Fact(name, line) for name, line in lines.items() if line]


def describe_training(ended: Mapping[str, float]) -> str:
    """Return steps, samples, loss and speed of a pretraining, and data that it did without, in a line."""
    incomplete = describe_missing_data(ended)
    return (
        f"{ended['steps']:,} steps, {ended[SAMPLES.name]:,} samples, loss {format_number(ended[LOSS.name])}, "
        f"{format_number(ended[SAMPLES_PER_SECOND.name])} samples per second"
        f"{f'; trained on {incomplete} samples, the others are missing or damaged' if incomplete else ''}"
    )


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


def dataset_facts(suite: str, dataset: str, entry: ResultEntry) -> list[Fact]:
    """Return the title, size, precision and files of a dataset that was measured."""
    size = [f"{value:,} {name.removeprefix('num_')}" for name, value in entry.items() if name[:4] == "num_"]
    published = entry["published"]["checkpoint"] if figures_published_of(suite, entry) else ""
    return [
        Fact(dataset, f"{entry['title']}; {', '.join(size)}; measured in {entry['precision']}"),
        *(Fact(f"{dataset}, data", f"{path}, sha256 {sha256}") for path, sha256 in entry["data"].items()),
        *([Fact(f"{dataset}, published", published)] if published else []),
    ]


def describe_checkpoint(entry: ResultEntry) -> str:
    """Return the checkpoint of an entry, with its hash unless open_clip keeps the file."""
    sha256 = entry["checkpoint_sha256"]
    return f"{entry['checkpoint']}, sha256 {sha256}" if sha256 else f"{entry['checkpoint']}"


def describe_code(session: RunSession) -> str:
    """Return the commit or version of the code that a session ran."""
    version = session.version or session.packages.get("cosmos-pretraining", "")
    commit = session.commit or f"version {version}"
    return f"{commit}, with changes that are not committed" if session.changes_sha256 else commit


def describe_device(session: RunSession) -> str:
    """Return device, machine and number of CPUs of a session."""
    hardware = session.hardware
    return f"{hardware['device']}, {hardware['machine']}, {hardware['cpus']} CPUs"


def describe_packages(session: RunSession) -> str:
    """Return the versions of Python and packages of a session."""
    versions = {"python": session.python, **session.packages}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def distinct_facts(name: str, values: Sequence[str]) -> list[Fact]:
    """Return a fact for each distinct value."""
    return [Fact(name, value) for value in dict.fromkeys(values)]


def existing_pictures(*pictures: PagePicture) -> list[PagePicture]:
    """Return the pictures whose files exist; data or answers that could not be drawn have none."""
    return [picture for picture in pictures if picture.path.is_file()]
