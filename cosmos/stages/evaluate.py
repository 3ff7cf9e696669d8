"""Evaluate: suites measure a checkpoint on their datasets, beside the published figures."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from cosmos.config.disk_reading import is_file
from cosmos.config.figures import Figures
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.number_text import format_number
from cosmos.config.params import Params
from cosmos.config.printable_text import print_text
from cosmos.distributed.exchange import on_every_rank, on_first_rank
from cosmos.distributed.group import ProcessRank
from cosmos.distributed.whereabouts import doing
from cosmos.errors import CosmosError, DamagedDataError, InputError, NotPermittedError, TransientError
from cosmos.evaluation.card import DatasetCard, Measurement, OpenDataset, SegmentedImage
from cosmos.evaluation.dataset_files import convert_read_error
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.embedding_cache import CacheFolder
from cosmos.evaluation.suite import suites
from cosmos.evaluation.value_file import write_image_values
from cosmos.report.published import PUBLISHED_CHECKPOINTS
from cosmos.report.segmentations import IGNORED_LABEL, SegmentationSample, segmentation_sheet
from cosmos.report.tables import print_results
from cosmos.report.terminal import Terminal
from cosmos.run import provenance
from cosmos.run.directory import RunDir
from cosmos.run.files import holding_lock, replacing, write_text
from cosmos.run.results import ResultEntry, Results, hash_data, image_values_path, results_of_checkpoint
from cosmos.run.statistics.image_values import ImageValues
from cosmos.run.statistics.intervals import intervals_json
from cosmos.stages.checkpoint_origin import DataOrigin, is_prepared
from cosmos.stages.evaluated_checkpoint import EvaluatedCheckpoint, find_evaluated_checkpoint
from cosmos.stages.evaluation_result import (
    EvaluationResult,
    dataset_scores,
    entries_markdown,
    entry_of_models,
    picture_path,
)
from cosmos.stages.logs import logging_to_run
from cosmos.stages.ranks import joined_ranks

logger = logging.getLogger(__name__)

UNKNOWN_ORIGIN = "the checkpoint does not say what it was trained on; --data.name takes another dataset"
"""Remark for results on prepared data, of a checkpoint without records of its training."""

Problem = InputError | DamagedDataError | TransientError
"""Reason why a dataset was not measured."""


@dataclass(frozen=True)
class EvaluationSession:
    """Evaluation of one checkpoint: where it runs, and where its results go."""

    run: RunDir
    checkpoint: str
    """checkpoint as it was named, which results files are called after; "": the run's newest"""
    subject: EvaluatedCheckpoint
    params: Params
    machine: Machine
    ranks: ProcessRank
    quiet: bool
    origin: DataOrigin

    def results(self, suite: str) -> Results:
        """Return the results file of a suite."""
        return results_of_checkpoint(self.run, suite, self.checkpoint)

    def identity(self, *parts: str) -> str:
        """Return a hash of the checkpoint, the precision, the code and the parts."""
        return self.subject.fingerprint(self.params, *parts)


def evaluate(
    names: Sequence[str], params: Params, machine: Machine, path: Path, checkpoint: str, quiet: bool = False
) -> EvaluationResult:
    """Measure a checkpoint (the run's newest where none is named) by the suites of these names.

    Writes results/<suite>.json and .md, an entry for each dataset. What was measured before, with nothing
    changed since, is not measured again. A dataset that is missing or damaged keeps no other from being
    measured. Raises InputError for a checkpoint that is missing or does not fit, and an error of their
    problems' class where no dataset could be opened.
    """
    run = RunDir(path)
    find_subject = partial(find_evaluated_checkpoint, run, checkpoint, machine)
    published_name(find_subject(), params)  # raises for an unknown name before anything is computed
    suite_by_name = suites(params.evaluate)
    cards = [card for name in dict.fromkeys(names) for card in suite_by_name[name].requested()]
    with joined_ranks(machine, path) as ranks:
        opened, missing = open_datasets(cards, params, machine)
        if not opened:
            raise problems_as_error(missing)
        subject = on_first_rank(find_subject)  # of a run that trains, ranks might find one each
        origin = on_first_rank(lambda: DataOrigin.of(run, checkpoint, params, machine))
        session = EvaluationSession(run, checkpoint, subject, params, machine, ranks, quiet, origin)
        with logging_to_run(run, ranks):
            log_problems(ranks, *missing)
            warn_of_other_data(session, cards)
            return measure_and_report(session, opened, missing)


def measure_and_report(
    session: EvaluationSession,
    opened: Sequence[tuple[DatasetCard, OpenDataset]],
    missing: Sequence[Problem],
) -> EvaluationResult:
    """Measure every model on the opened datasets, write tables, and return the result."""
    measured, failed = measure_datasets(session, opened)
    for suite, entries in measured.items():
        on_first_rank(partial(write_tables, session, suite, entries))
    problems = [*missing, *failed]
    return EvaluationResult(
        requested_entries(session, measured),
        list(map(str, problems)),
        session.ranks.is_first,
        is_transient=any(isinstance(problem, TransientError) for problem in problems),
        is_forbidden=any(isinstance(problem, NotPermittedError) for problem in problems),
    )


def problems_as_error(problems: Sequence[Problem]) -> CosmosError:
    """Return an error that lists problems: TransientError if one of them is, or else of the first's class."""
    ordered = sorted(problems, key=lambda problem: not isinstance(problem, TransientError))
    return type(ordered[0])("\n".join(map(str, problems))) if ordered else InputError("no dataset is named")


def log_problems(ranks: ProcessRank, *problems: Problem) -> None:
    """Log problems on the first rank."""
    for problem in problems if ranks.is_first else ():
        logger.error("%s", problem)


def warn_of_other_data(session: EvaluationSession, cards: Sequence[DatasetCard]) -> None:
    """Warn on the first rank of prepared data that is, or may be, other than the data of the training."""
    prepared = [card.name for card in cards if is_prepared(card.suite, card.name)]
    origin = session.origin
    remark = origin.note or ("" if origin.trained_on.is_known else UNKNOWN_ORIGIN)
    if prepared and remark and session.ranks.is_first:
        names, dataset = ", ".join(dict.fromkeys(prepared)), session.params.data.name
        logger.warning("%s of %s: %s", names, dataset, remark)


def open_datasets(
    cards: Sequence[DatasetCard], params: Params, machine: Machine
) -> tuple[list[tuple[DatasetCard, OpenDataset]], list[Problem]]:
    """Open datasets, before anything is computed; return those that are whole, and problems of others."""
    opened: list[tuple[DatasetCard, OpenDataset]] = []
    problems: list[Problem] = []
    for card in cards:
        try:
            opened.append((card, open_on_every_rank(card, params, machine)))
        except (InputError, DamagedDataError, TransientError) as error:
            problems.append(type(error)(f"{card.suite} on {card.name}: {error}"))
    return opened, problems


def open_on_every_rank(card: DatasetCard, params: Params, machine: Machine) -> OpenDataset:
    """Open a dataset on every rank. Raises InputError where copies differ, and the error of any rank."""
    datasets: list[OpenDataset] = []

    def open_here() -> str:
        try:
            datasets.append(card.open(params, machine))
        except OSError as error:
            raise convert_read_error(error, error.filename or card.name) from None
        return datasets[0].fingerprint

    if len(set(on_every_rank(open_here))) > 1:
        raise InputError(
            "hosts have different copies of it; put it on a shared disk, or copy it with its times"
        )
    return datasets[0]


def measure_datasets(
    session: EvaluationSession, opened: Sequence[tuple[DatasetCard, OpenDataset]]
) -> tuple[dict[str, dict[str, ResultEntry]], list[Problem]]:
    """Measure every model on every dataset.

    Returns the entries of datasets with figures of any model, by suite and dataset, and what failed.
    """
    measured: dict[str, dict[str, ResultEntry]] = {}
    failed: list[Problem] = []
    for model, encoder in session.subject.encoders(session.params, session.ranks.device):
        cache = CacheFolder(session.run.embeddings / session.identity(model, str(encoder.image_size)))
        embedder = Embedder(encoder, session.machine, cache, session.quiet)
        for card, dataset in opened:
            try:
                entry = measure_dataset(session, model, embedder, card, dataset)
                measured.setdefault(card.suite, {})[card.name] = entry
            except (InputError, DamagedDataError, TransientError) as error:
                failed.append(type(error)(f"{card.suite} on {card.name}, {model}: {error}"))
                log_problems(session.ranks, failed[-1])
    return measured, failed


def measure_dataset(
    session: EvaluationSession, model: str, embedder: Embedder, card: DatasetCard, dataset: OpenDataset
) -> ResultEntry:
    """Measure a model on a dataset, unless that is done, write its pictures and figures; return the entry.

    The first rank alone reads and writes the results; an error of it is raised on all ranks.
    """
    results = on_first_rank(lambda: session.results(card.suite))
    identity = session.identity(dataset.fingerprint)
    models, intervals = on_first_rank(lambda: measured_before(results, card, identity))
    is_new, started = model not in models, time.monotonic()
    if is_new:
        with doing(f"{card.suite} on {card.name}"):
            measured = dataset.measure(embedder)
        models = {**models, model: dict(measured.figures)}
        intervals = {**intervals, model: intervals_json(measured.values)}
        pictures = dataset.pictures(embedder)
        # Before the entry: an evaluation that finds one writes neither.
        on_first_rank(lambda: save_segmentation_sheet(session, model, card, dataset, pictures))
        on_first_rank(lambda: save_image_values(session, model, card, dataset, measured))

    def write() -> ResultEntry:
        with holding_lock(session.run.results_lock):  # another evaluation of the run may have written since
            before = results.find(card.name, identity) or {"models": {}, "intervals": {}}
            entry = results_entry(session, card, dataset, identity, {**before["models"], **models})
            entry["intervals"] = {**before["intervals"], **intervals}
            if before["models"] and not is_new:  # the code that measured, not the code that runs now
                entry["code_version"] = before["code_version"]
            return results.put(card.name, entry)

    entry = on_first_rank(write)
    if is_new and session.ranks.is_first:
        seconds = format_number(time.monotonic() - started)
        logger.info("%s on %s: %s measured in %s s", card.suite, card.name, model, seconds)
    return entry


def measured_before(
    results: Results, card: DatasetCard, identity: str
) -> tuple[dict[str, Figures], dict[str, dict[str, list[float]]]]:
    """Return figures and intervals on a dataset by model, without models that lost the values of images."""
    entry = results.find(card.name, identity)
    if not entry:
        return {}, {}
    models, intervals, data_hash = entry["models"], entry["intervals"], entry["data_hash"]
    kept = [m for m in models if is_file(image_values_path(results.path, card.name, data_hash, m))]
    return {model: models[model] for model in kept}, {model: intervals.get(model, {}) for model in kept}


def save_image_values(
    session: EvaluationSession, model: str, card: DatasetCard, dataset: OpenDataset, measured: Measurement
) -> None:
    """Write the values that a model's figures have on each image beside the results."""
    data_hash = hash_data({"data": data_files(dataset), **dataset.size})
    path = image_values_path(session.results(card.suite).path, card.name, data_hash, model)
    values = {metric: of_images for metric, of_images in measured.values.items() if "/" not in metric}
    write_image_values(path, ImageValues(dataset.image_set, values))


def save_segmentation_sheet(
    session: EvaluationSession,
    model: str,
    card: DatasetCard,
    dataset: OpenDataset,
    pictures: Sequence[SegmentedImage],
) -> None:
    """Write a sheet of a model's segmentations of some images, if there are any, beside the results."""
    if not pictures or len(pictures[0].class_names) > IGNORED_LABEL:
        return
    sheet = segmentation_sheet(list(map(segmentation_sample, pictures)))
    data_hash = hash_data({"data": data_files(dataset), **dataset.size})
    with replacing(picture_path(session.results(card.suite).path, card.name, data_hash, model)) as temporary:
        sheet.save(temporary, "PNG")


def segmentation_sample(answer: SegmentedImage) -> SegmentationSample:
    """Return an encoder's answer in the form that sheets take."""
    labels = answer.labels.where(answer.labels >= 0, IGNORED_LABEL).to(torch.uint8)
    return SegmentationSample(answer.image, labels, answer.predicted.to(torch.uint8), answer.class_names)


def results_entry(
    session: EvaluationSession,
    card: DatasetCard,
    dataset: OpenDataset,
    identity: str,
    models: Mapping[str, Figures],
) -> ResultEntry:
    """Return a dataset's entry of a results file."""
    subject, is_whole = session.subject, dataset.size["num_images"] >= card.num_images
    published = published_name(subject, session.params) if is_whole else ""
    part = "" if is_whole else f"{dataset.size['num_images']:,} of its {card.num_images:,} images"
    origin = session.origin if is_prepared(card.suite, card.name) else DataOrigin()
    return {
        "title": card.title,
        **dataset.size,
        "note": "; ".join(filter(None, (part, origin.note))),
        "data": data_files(dataset),
        "own_data": origin.is_own,
        "checkpoint": subject.reference.text,
        "checkpoint_sha256": subject.sha256,
        "precision": session.params.evaluate.precision,
        "code_version": provenance.code_version(),
        "identity": identity,
        "chance": dataset.chance,
        "models": models,
        "published": {"checkpoint": published} if published else {},
    }


def data_files(dataset: OpenDataset) -> dict[str, str]:
    """Return the hashes of a dataset's files, and of the listings of its folders, by their paths."""
    listings = {str(folder): digest for folder, digest in dataset.listings.items()}
    return {**listings, **{str(source): provenance.file_sha256(source) for source in dataset.sources}}


def write_tables(session: EvaluationSession, suite: str, measured: Mapping[str, ResultEntry]) -> None:
    """Write the Markdown table of a results file, and print that of the datasets just measured."""
    results = session.results(suite)
    with holding_lock(session.run.results_lock):  # the table of the file as it is now
        entries = results.entries()
        write_text(results.path.with_suffix(".md"), entries_markdown(suite, entries))
    if not session.quiet:
        hashes = {name: entry["data_hash"] for name, entry in measured.items()}
        now = {k: entry for k, entry in entries.items() if hashes.get(entry["dataset"]) == entry["data_hash"]}
        rows = [dataset_scores(suite, label, entry) for label, entry in now.items()]
        print_results(suite, suite, rows, Terminal())
        print_text(f"results: {results.path}")


def requested_entries(
    session: EvaluationSession, measured: Mapping[str, Mapping[str, ResultEntry]]
) -> dict[str, dict[str, ResultEntry]]:
    """Return the measured entries, without models that only an evaluation before asked for."""
    models = session.subject.models(session.params)
    return {
        suite: {name: entry_of_models(entry, models) for name, entry in entries.items()}
        for suite, entries in measured.items()
    }


def published_name(subject: EvaluatedCheckpoint, params: Params) -> str:
    """Return the published checkpoint to set beside a checkpoint; "" where there is none.

    Raises InputError for `evaluate.published` that names none.
    """
    requested, own = params.evaluate.published, subject.reference.name
    if requested not in ("", *PUBLISHED_CHECKPOINTS):
        near = near_names(requested, PUBLISHED_CHECKPOINTS)
        raise InputError(f"evaluate.published: no {requested!r}; {near}")
    return requested or (own if own in PUBLISHED_CHECKPOINTS else "")
