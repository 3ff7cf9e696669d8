"""Facts for reports, of a run or a pipeline: results of suites, summary of a training, provenance.

Nothing here imports torch.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from cosmos.config.disk_reading import is_file
from cosmos.config.figures import LOSS, SAMPLES, SAMPLES_PER_SECOND, describe_missing_data
from cosmos.config.number_text import format_number
from cosmos.report.headline import HeadlineFigure, entry_headlines
from cosmos.report.page import Fact, PagePicture
from cosmos.report.results_section import SuiteResults
from cosmos.report.tables import score_tables
from cosmos.report.training_plots import ResumeMark
from cosmos.run.dataset_version import describe_version
from cosmos.run.provenance_record import Provenance, RunSession
from cosmos.run.results import ResultEntry
from cosmos.stages.evaluation_result import dataset_scores, figures_published_of, saved_picture

Entries = Mapping[str, ResultEntry]
"""Entries of a suite's results, by the label of their dataset."""


def suite_results(suite: str, entries: Entries, pictures: Sequence[PagePicture] = ()) -> SuiteResults:
    """Return the results of a suite as a page shows them."""
    scores = [dataset_scores(suite, label, entry) for label, entry in entries.items()]
    sources = [fact for label, entry in entries.items() for fact in dataset_facts(suite, label, entry)]
    return SuiteResults(suite, score_tables(suite, scores), sources, pictures)


def suite_headlines(suite: str, entries: Entries) -> list[HeadlineFigure]:
    """Return the figures of a suite that a model is judged by."""
    return [
        figure
        for label, entry in entries.items()
        for figure in entry_headlines(suite, label, entry, figures_published_of(suite, entry))
    ]


def segmentation_pictures(path: Path, entries: Entries) -> list[PagePicture]:
    """Return the pictures of segmentations that lie beside a results file."""
    pictures = [
        PagePicture(f"segmentations of {label} by the {model}", saved_picture(path, entry, model))
        for label, entry in entries.items()
        for model in entry["models"]
    ]
    return existing_pictures(*pictures)


def existing_pictures(*pictures: PagePicture) -> list[PagePicture]:
    """Return the pictures whose files exist; data or answers that could not be drawn have none."""
    return [picture for picture in pictures if is_file(picture.path)]


def dataset_facts(suite: str, dataset: str, entry: ResultEntry) -> list[Fact]:
    """Return the title, size, precision and files of a dataset that was measured."""
    size = [f"{value:,} {name.removeprefix('num_')}" for name, value in entry.items() if name[:4] == "num_"]
    published = entry["published"]["checkpoint"] if figures_published_of(suite, entry) else ""
    return [
        Fact(dataset, f"{entry['title']}; {', '.join(size)}; measured in {entry['precision']}"),
        *(Fact(f"{dataset}, data", f"{path}, sha256 {sha256}") for path, sha256 in entry["data"].items()),
        *([Fact(f"{dataset}, published", published)] if published else []),
    ]


def measuring_facts(suites: Sequence[Entries]) -> list[Fact]:
    """Return the checkpoints and the code that results are of."""
    entries = [entry for suite in suites for entry in suite.values()]
    return [
        *distinct_facts("checkpoint", [describe_checkpoint(entry) for entry in entries]),
        *distinct_facts("measured by", [entry["code_version"] for entry in entries]),
    ]


def describe_checkpoint(entry: ResultEntry) -> str:
    """Return the checkpoint of an entry, with its hash unless open_clip keeps the file."""
    sha256 = entry["checkpoint_sha256"]
    return f"{entry['checkpoint']}, sha256 {sha256}" if sha256 else f"{entry['checkpoint']}"


def describe_training(ended: Mapping[str, float]) -> str:
    """Return steps, samples, loss and speed of a pretraining, and data that it did without, in a line."""
    incomplete = describe_missing_data(ended)
    return (
        f"{ended['steps']:,} steps, {ended[SAMPLES.name]:,} samples, loss {format_number(ended[LOSS.name])}, "
        f"{format_number(ended[SAMPLES_PER_SECOND.name])} samples per second"
        f"{f'; trained on {incomplete} samples, the others are missing or damaged' if incomplete else ''}"
    )


def describe_data(name: str, recorded: Provenance) -> str:
    """Return the name of a dataset, with its size and hash where they are recorded."""
    manifest = recorded.data.get("train")
    return f"{name}, {describe_version(manifest, recorded.dataset.num_samples)}" if manifest else name


def date_text(time: str) -> str:
    """Return a time in UTC and ISO format, for people: to the minute."""
    return f"{time[:16].replace('T', ' ')} UTC"


def provenance_facts(recorded: Provenance) -> list[Fact]:
    """Return the code, data, device and packages of a pretraining, and the commands that it was given by."""
    sessions = recorded.sessions
    return [
        *distinct_facts("command", [shlex.join(session.command) for session in sessions if session.command]),
        *distinct_facts("trained by", [describe_code(session) for session in sessions]),
        Fact("sessions", f"{len(sessions)}, after {recorded.requeues} requeues"),
        *(Fact(f"data, {name}", f"sha256 {sha256}") for name, sha256 in recorded.data.items()),
        *(Fact(f"DVC, {out}", f"md5 {md5}") for out, md5 in recorded.dvc.items()),
        *distinct_facts("device", [describe_device(session) for session in sessions]),
        *distinct_facts("packages", [describe_packages(session) for session in sessions]),
    ]


def resume_marks(sessions: Sequence[RunSession]) -> list[ResumeMark]:
    """Return the steps from which later sessions went on, as far as they are recorded."""
    return [
        ResumeMark(session.step, "requeued" if session.job.requeues else "resumed")
        for session in sessions[1:]
        if session.step is not None
    ]


def describe_code(session: RunSession) -> str:
    """Return the commit or version of the code that a session ran."""
    version = session.version or session.packages.get("cosmos-pretraining", "")
    commit = session.commit or f"version {version}"
    return f"{commit}, with changes that are not committed" if session.changes_sha256 else commit


def describe_device(session: RunSession) -> str:
    """Return device, machine and number of CPUs of a session, as far as they are recorded."""
    hardware = session.hardware
    parts = [hardware.gpu or hardware.device, hardware.machine]
    cpus = [] if hardware.cpus is None else [f"{hardware.cpus} CPUs"]
    return ", ".join([*filter(None, parts), *cpus])


def describe_packages(session: RunSession) -> str:
    """Return the versions of Python and packages of a session."""
    versions = {"python": session.python, **session.packages}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def distinct_facts(name: str, values: Sequence[str]) -> list[Fact]:
    """Return a fact for each distinct value."""
    return [Fact(name, value) for value in dict.fromkeys(values)]
