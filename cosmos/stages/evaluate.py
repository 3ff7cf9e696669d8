"""Evaluate: suites measure a checkpoint on their datasets, beside the published figures."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import torch
from rich.console import Console

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.distributed.exchange import on_every_rank
from cosmos.distributed.group import ProcessRank, process_group
from cosmos.errors import InputError
from cosmos.evaluation.card import DatasetCard, OpenDataset, SegmentedImage
from cosmos.evaluation.embed import Embedder, Encoder
from cosmos.evaluation.embedding_cache import CacheFolder
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.evaluation.suite import suites
from cosmos.model import checkpoints
from cosmos.model.checkpoint_reference import (
    CheckpointReference,
    OpenClipReference,
    checkpoint_to_evaluate,
)
from cosmos.model.checkpoints import Checkpoint, ModelConfig
from cosmos.model.encoders import make_encoder, open_clip_baseline
from cosmos.report.published import PUBLISHED_CHECKPOINTS, differences_to_published, published_figures
from cosmos.report.segmentations import IGNORED_LABEL, SegmentationSample, segmentation_sheet
from cosmos.report.tables import results_table
from cosmos.run import provenance
from cosmos.run.directory import RunDir
from cosmos.run.files import replacing, write_text
from cosmos.run.results import ResultEntry, ResultFigures, Results
from cosmos.stages.evaluation_result import (
    EvaluationResult,
    dataset_scores,
    entries_markdown,
    entry_of_models,
    picture_path,
)
from cosmos.stages.logs import logging_to_run

logger = logging.getLogger(__name__)

MEASURING_TIMEOUT = timedelta(days=2)
"""How long a rank waits for another, whose share of a large dataset may take hours longer."""


@dataclass(frozen=True)
class EvaluatedCheckpoint:
    """The checkpoint that is measured."""

    reference: CheckpointReference
    machine: Machine

    @cached_property
    def path(self) -> Path:
        """Its file, downloaded if need be."""
        return self.reference.fetch(self.machine.cache_root)

    @cached_property
    def sha256(self) -> str:
        """Hash of its file; "" for a baseline whose weights open_clip keeps."""
        if isinstance(self.reference, OpenClipReference) and not self.reference.is_file:
            return ""
        return provenance.file_sha256(self.path)

    def models(self, params: Params) -> tuple[str, ...]:
        """The names of its models that are to be evaluated."""
        return ("baseline",) if isinstance(self.reference, OpenClipReference) else params.evaluate.models

    def encoders(self, params: Params, device: torch.device) -> Iterator[tuple[str, Encoder]]:
        """The models of it that are to be evaluated, by name, one in memory at a time."""
        precision = params.evaluate.precision
        if isinstance(self.reference, OpenClipReference):
            yield "baseline", open_clip_baseline(self.reference, device, precision)
            return
        for which in self.models(params):
            yield which, make_encoder(self.checkpoint, which, self.config(params), device, precision)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """What its file holds."""
        return checkpoints.read_checkpoint(self.path)

    def config(self, params: Params) -> ModelConfig:
        """What its models are built from: as the file says, its published name, or else the parameters."""
        published = checkpoints.published_config(self.reference.name)
        return self.checkpoint.config or published or ModelConfig.of(params)

    def identity(self, params: Params) -> str:
        """Differs once weights or what is made of them do."""
        is_baseline = isinstance(self.reference, OpenClipReference)
        return f"{self.sha256} {self.reference.text if is_baseline else self.config(params)}"


@dataclass(frozen=True)
class EvaluationSession:
    """An evaluation of one checkpoint: whose, where, and what its results are called."""

    run: RunDir
    checkpoint: str
    """"": the run's newest"""
    subject: EvaluatedCheckpoint
    params: Params
    machine: Machine
    ranks: ProcessRank
    quiet: bool

    def results(self, suite: str) -> Results:
        """The results file of a suite."""
        return Results(self.run.result_file(suite, self.checkpoint), suite)

    def identity(self, *parts: str) -> str:
        """Differs once the checkpoint, the arithmetic, the code or one of the parts does."""
        subject, precision = self.subject.identity(self.params), self.params.evaluate.precision
        return fingerprint_strings([subject, precision, provenance.source_digest(), *parts])


def evaluate(
    names: Sequence[str], params: Params, machine: Machine, path: Path, checkpoint: str, quiet: bool = False
) -> EvaluationResult:
    """Measures a checkpoint (the run's newest where none is named) by the suites of these names.

    Writes results/<suite>.json and .md, an entry for each dataset. What was measured before, with nothing
    changed since, is not measured again. A dataset that is missing or wrong keeps no other from its measure.
    Raises ValueError for a checkpoint that is missing or does not fit, and where no dataset could be opened.
    """
    if machine.threads:
        torch.set_num_threads(machine.threads)
    run = RunDir(path)
    subject = EvaluatedCheckpoint(checkpoint_to_evaluate(run, checkpoint), machine)
    published_name(subject, params)  # a name that there is none of is refused now
    known = suites(params.evaluate)
    cards = [card for name in dict.fromkeys(names) for card in known[name].requested()]
    with process_group(machine.device, MEASURING_TIMEOUT) as ranks:
        opened, problems = open_datasets(cards, params, machine)
        if not opened:
            raise InputError("\n".join(problems))
        with logging_to_run(run, ranks):
            session = EvaluationSession(run, checkpoint, subject, params, machine, ranks, quiet)
            log_problems(ranks, *problems)
            measured, failed = measure_datasets(session, opened)
            for suite, entries in measured.items():
                write_tables(session, suite, entries)
            results = on_every_rank(lambda: requested_entries(session, measured))[0]
        return EvaluationResult(results, problems + failed, ranks.is_first)


def log_problems(ranks: ProcessRank, *problems: str) -> None:
    """Logs problems as soon as they are known, once."""
    for problem in problems if ranks.is_first else ():
        logger.error("%s", problem)


def open_datasets(
    cards: Sequence[DatasetCard], params: Params, machine: Machine
) -> tuple[list[tuple[DatasetCard, OpenDataset]], list[str]]:
    """The datasets that are whole, and what the others lack: before anything is computed."""
    opened, problems = [], []
    for card in cards:
        try:
            opened.append((card, open_on_every_rank(card, params, machine)))
        except ValueError as error:
            problems.append(f"{card.suite} on {card.name}: {error}")
    return opened, problems


def open_on_every_rank(card: DatasetCard, params: Params, machine: Machine) -> OpenDataset:
    """The dataset, which every rank must find alike. ValueError says what one of them lacks."""
    found: list[OpenDataset] = []

    def opened() -> str:
        try:
            found.append(card.open(params, machine))
        except OSError as error:
            raise InputError(str(error)) from None
        return found[0].fingerprint

    if len(set(on_every_rank(opened))) > 1:
        raise InputError(
            "hosts have different copies of it; put it on a shared disk, or copy it with its times"
        )
    return found[0]


def measure_datasets(
    session: EvaluationSession, opened: Sequence[tuple[DatasetCard, OpenDataset]]
) -> tuple[dict[str, dict[str, ResultEntry]], list[str]]:
    """Measures every model on every dataset.

    Returns the entries of datasets with figures of any model, by suite and dataset, and what failed.
    """
    measured, failed = dict[str, dict[str, ResultEntry]](), list[str]()
    for which, encoder in session.subject.encoders(session.params, session.ranks.device):
        cache = CacheFolder(session.run.embeddings / session.identity(which, str(encoder.image_size)))
        embedder = Embedder(encoder, session.machine, cache, session.quiet)
        for card, dataset in opened:
            try:
                written = measure_dataset(session, which, embedder, card, dataset)
                measured.setdefault(card.suite, {})[card.name] = written
            except ValueError as error:
                failed.append(f"{card.suite} on {card.name}, {which}: {error}")
                log_problems(session.ranks, failed[-1])
    return measured, failed


def measure_dataset(
    session: EvaluationSession, which: str, embedder: Embedder, card: DatasetCard, dataset: OpenDataset
) -> ResultEntry:
    """Measures one model on one dataset, unless that is done, and writes its figures.

    Returns the dataset's entry, and {} on all ranks but the first.
    """
    results, identity = session.results(card.suite), session.identity(dataset.fingerprint)
    # As the first rank sees it: file systems show a change to some hosts before others.
    models = on_every_rank(lambda: results.measured(card.name, identity))[0]
    is_new, started = which not in models, time.monotonic()
    if is_new:
        models = {**models, which: dict(dataset.measure(embedder))}
    written: ResultEntry = {}
    if session.ranks.is_first:
        written = results_entry(session, card, dataset, identity, models)
        if not is_new:  # the code that measured, not the code that looked
            written["code_version"] = results.entries()[card.name]["code_version"]
        results.put(card.name, written)
    if is_new:
        if session.ranks.is_first:
            seconds = time.monotonic() - started
            logger.info("%s on %s: %s measured in %.0f s", card.suite, card.name, which, seconds)
        save_segmentation_sheet(session, which, card, dataset.pictures(embedder))
    return written


def save_segmentation_sheet(
    session: EvaluationSession, which: str, card: DatasetCard, pictures: Sequence[SegmentedImage]
) -> None:
    """A sheet of what a model makes of some images, beside the results."""
    if not pictures or not session.ranks.is_first or len(pictures[0].class_names) > IGNORED_LABEL:
        return
    sheet = segmentation_sheet([segmentation_sample(one) for one in pictures])
    with replacing(picture_path(session.results(card.suite).path, card.name, which)) as temporary:
        sheet.save(temporary, "PNG")


def segmentation_sample(answer: SegmentedImage) -> SegmentationSample:
    """A picture as the sheet takes it."""
    labels = answer.labels.where(answer.labels >= 0, IGNORED_LABEL).to(torch.uint8)
    return SegmentationSample(answer.image, labels, answer.predicted.to(torch.uint8), answer.class_names)


def results_entry(
    session: EvaluationSession,
    card: DatasetCard,
    dataset: OpenDataset,
    identity: str,
    models: dict[str, ResultFigures],
) -> ResultEntry:
    """What a results file says of a dataset."""
    subject, is_whole = session.subject, dataset.size["num_images"] >= card.num_images
    name = published_name(subject, session.params) if is_whole else ""
    published = published_figures(name, card.suite, card.name) if name else {}
    return {
        "title": card.title,
        **dataset.size,
        "note": "" if is_whole else f"{dataset.size['num_images']:,} of its {card.num_images:,} images",
        "data": {str(source): provenance.file_sha256(source) for source in dataset.sources},
        "checkpoint": subject.reference.text,
        "checkpoint_sha256": subject.sha256,
        "precision": session.params.evaluate.precision,
        "code_version": provenance.code_version(),
        "identity": identity,
        "chance": dataset.chance,
        "models": models,
        "published": {"checkpoint": name, "figures": published} if published else {},
        "difference": {
            which: differences_to_published(figures, published) for which, figures in models.items()
        },
    }


def write_tables(session: EvaluationSession, suite: str, measured: Mapping[str, ResultEntry]) -> None:
    """Writes the Markdown table of a results file, and prints that of the datasets just measured."""
    results = session.results(suite)
    if not session.ranks.is_first:
        return
    write_text(results.path.with_suffix(".md"), entries_markdown(suite, {**results.entries(), **measured}))
    if not session.quiet:
        rows = [dataset_scores(name, one) for name, one in measured.items()]
        Console().print(results_table(suite, suite, rows))
        print(f"results: {results.path}")


def requested_entries(
    session: EvaluationSession, measured: Mapping[str, Mapping[str, ResultEntry]]
) -> dict[str, dict[str, ResultEntry]]:
    """What was measured, without models that only an evaluation before asked for."""
    if not session.ranks.is_first:
        return {}
    models = session.subject.models(session.params)
    return {
        suite: {name: entry_of_models(one, models) for name, one in entries.items()}
        for suite, entries in measured.items()
    }


def published_name(subject: EvaluatedCheckpoint, params: Params) -> str:
    """The published checkpoint whose figures are set beside a checkpoint's own; "" where there is none.

    Raises ValueError for `evaluate.published` that names none.
    """
    asked, own = params.evaluate.published, subject.reference.name
    if asked not in ("", *PUBLISHED_CHECKPOINTS):
        raise InputError(f"evaluate.published: no {asked!r}; there are {', '.join(PUBLISHED_CHECKPOINTS)}")
    return asked or (own if own in PUBLISHED_CHECKPOINTS else "")
