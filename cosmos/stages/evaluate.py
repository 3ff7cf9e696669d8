"""Evaluate: suites measure a checkpoint on their datasets, beside the published figures."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from rich.console import Console

from cosmos import provenance
from cosmos.distributed import Ranks, barrier, process_group
from cosmos.evaluation.cache import CacheFolder
from cosmos.evaluation.card import Card, OpenDataset, SegmentedImage
from cosmos.evaluation.embed import Embedder, Encoder
from cosmos.evaluation.images import digest
from cosmos.evaluation.suite import suites
from cosmos.files import replacing, write_text
from cosmos.machine import Machine
from cosmos.model import checkpoints
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.encoders import encoder_of, open_clip_baseline
from cosmos.params import Params
from cosmos.report.published import PUBLISHED_CHECKPOINTS, differences, published_figures
from cosmos.report.segmentations import IGNORED, Segmented, segmentation_sheet
from cosmos.report.tables import Measured, results_markdown, results_table
from cosmos.results import Entry, Figures, Results
from cosmos.rundir import RunDir
from cosmos.stages.logs import log_file
from cosmos.training.checkpoint import newest_first

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """The checkpoint that is measured."""

    name: str
    """a file, published:<name>, or open_clip:<architecture>:<tag>"""
    machine: Machine

    @property
    def is_baseline(self) -> bool:
        """Whether open_clip loads it."""
        return self.name.startswith("open_clip:")

    @cached_property
    def path(self) -> Path:
        """Its file, downloaded if need be."""
        return checkpoints.fetch(self.name, self.machine.cache_root)

    @cached_property
    def sha256(self) -> str:
        """Hash of its file; "" for a baseline, whose weights open_clip keeps."""
        return "" if self.is_baseline else provenance.sha256(self.path)

    def encoders(self, params: Params, device: torch.device) -> Iterator[tuple[str, Encoder]]:
        """The models of it that are to be evaluated, by name, one in memory at a time."""
        precision = params.evaluate.precision
        if self.is_baseline:
            yield "baseline", open_clip_baseline(self.name, device, precision)
            return
        checkpoint = checkpoints.read(self.path)
        config = checkpoint.config or checkpoints.published_config(self.name) or ModelConfig.of(params)
        for which in params.evaluate.models:
            yield which, encoder_of(checkpoint, which, config, device, precision)


@dataclass(frozen=True)
class Outcome:
    """What an evaluation ended with."""

    results: dict[str, dict[str, Entry]]
    """entries of the datasets that were measured, by suite and dataset"""
    problems: list[str]
    """why the other datasets were not"""


@dataclass(frozen=True)
class Session:
    """An evaluation of one checkpoint: whose, where, and what its results are called."""

    run: RunDir
    checkpoint: str
    """"": the run's newest"""
    subject: Subject
    params: Params
    machine: Machine
    ranks: Ranks
    quiet: bool

    def results(self, suite: str) -> Results:
        """The results file of a suite."""
        return Results(self.run.result(suite, self.checkpoint), suite)

    def identity(self, *parts: str) -> str:
        """Differs once the checkpoint, the arithmetic, the code or one of the parts does."""
        subject, precision = self.subject, self.params.evaluate.precision
        return digest([subject.sha256 or subject.name, precision, provenance.source_digest(), *parts])


def evaluate(
    names: Sequence[str], params: Params, machine: Machine, path: Path, checkpoint: str, quiet: bool = False
) -> Outcome:
    """Measures a checkpoint (the run's newest where none is named) by the suites of these names.

    Writes results/<suite>.json and .md, an entry for each dataset. What was measured before, with nothing
    changed since, is not measured again. A dataset that is missing or wrong keeps no other from its measure.
    Raises ValueError for a checkpoint that is missing or does not fit, and where no dataset could be opened.
    """
    if machine.threads:
        torch.set_num_threads(machine.threads)
    run = RunDir(path)
    subject = Subject(checkpoint or newest(run), machine)
    published_name(subject, params)
    known = suites(params.evaluate)
    cards = [card for name in dict.fromkeys(names) for card in known[name].wanted()]
    opened, problems = open_datasets(cards, params, machine)
    if not opened:
        raise ValueError("\n".join(problems))
    with process_group(machine.device) as ranks, log_file(run, ranks):
        session = Session(run, checkpoint, subject, params, machine, ranks, quiet)
        tell(ranks, *problems)
        measured, failed = measure(session, opened)
        for name in dict.fromkeys(card.suite for card in measured):
            show(session, name, [card.name for card in measured if card.suite == name])
        return Outcome(found(session, measured), problems + failed)


def tell(ranks: Ranks, *problems: str) -> None:
    """Logs problems as soon as they are known, once."""
    for problem in problems if ranks.is_first else ():
        logger.error("%s", problem)


def open_datasets(
    cards: Sequence[Card], params: Params, machine: Machine
) -> tuple[list[tuple[Card, OpenDataset]], list[str]]:
    """The datasets that are whole, and what the others lack: before anything is computed."""
    opened, problems = [], []
    for card in cards:
        try:
            opened.append((card, card.open(params, machine)))
        except (ValueError, OSError) as error:
            problems.append(f"{card.suite} on {card.name}: {error}")
    return opened, problems


def measure(session: Session, opened: Sequence[tuple[Card, OpenDataset]]) -> tuple[list[Card], list[str]]:
    """Measures every model on every dataset; returns the cards of those that it could, and what failed."""
    failed: dict[Card, str] = {}
    for which, encoder in session.subject.encoders(session.params, session.ranks.device):
        cache = CacheFolder(session.run.embeddings / session.identity(which, str(encoder.image_size)))
        embedder = Embedder(encoder, session.machine, cache, session.quiet)
        for card, dataset in opened:
            if card in failed:
                continue
            try:
                measure_one(session, which, embedder, card, dataset)
            except ValueError as error:
                failed[card] = f"{card.suite} on {card.name}: {error}"
                tell(session.ranks, failed[card])
    return [card for card, _ in opened if card not in failed], list(failed.values())


def measure_one(session: Session, which: str, embedder: Embedder, card: Card, dataset: OpenDataset) -> None:
    """Measures one model on one dataset, unless that is done, and writes its figures."""
    results, identity = session.results(card.suite), session.identity(dataset.fingerprint)
    models = results.measured(card.name, identity)
    if which not in models:
        started = time.monotonic()
        models = {**models, which: dataset.measure(embedder)}
        draw(session, which, card, dataset.pictures(embedder))
        if session.ranks.is_first:
            seconds = time.monotonic() - started
            logger.info("%s on %s: %s measured in %.0f s", card.suite, card.name, which, seconds)
    if session.ranks.is_first:
        results.put(card.name, entry(session, card, dataset, identity, models))
    barrier()


def draw(session: Session, which: str, card: Card, pictures: Sequence[SegmentedImage]) -> None:
    """A sheet of what a model makes of some images, beside the results."""
    if not pictures or not session.ranks.is_first:
        return
    sheet = segmentation_sheet([shown(picture) for picture in pictures])
    results = session.results(card.suite).path
    with replacing(results.with_name(f"{results.stem}-{card.name}-{which}.png")) as temporary:
        sheet.save(temporary, "PNG")


def shown(picture: SegmentedImage) -> Segmented:
    """A picture as the sheet takes it."""
    labels = picture.labels.where(picture.labels >= 0, IGNORED).to(torch.uint8)
    return Segmented(picture.image, labels, picture.predicted.to(torch.uint8), picture.class_names)


def entry(
    session: Session, card: Card, dataset: OpenDataset, identity: str, models: dict[str, Figures]
) -> Entry:
    """What a results file says of a dataset."""
    subject, is_whole = session.subject, dataset.size["num_images"] >= card.num_images
    name = published_name(subject, session.params) if is_whole else ""
    published = published_figures(name, card.suite, card.name) if name else {}
    return {
        "title": card.title,
        **dataset.size,
        "note": "" if is_whole else f"{dataset.size['num_images']:,} of its {card.num_images:,} images",
        "data": {str(source): provenance.sha256(source) for source in dataset.sources},
        "checkpoint": subject.name,
        "checkpoint_sha256": subject.sha256,
        "precision": session.params.evaluate.precision,
        "code_version": provenance.code_version(),
        "identity": identity,
        "chance": dataset.chance,
        "models": models,
        "published": {"checkpoint": name, "figures": published} if published else {},
        "difference": {which: differences(figures, published) for which, figures in models.items()},
    }


def show(session: Session, suite: str, datasets: Sequence[str]) -> None:
    """Writes the Markdown table of a results file, and prints that of the datasets just measured."""
    results = session.results(suite)
    if not session.ranks.is_first:
        return
    rows = {name: measured_row(name, entry) for name, entry in results.entries().items()}
    markdown = results.path.with_suffix(".md")
    write_text(markdown, results_markdown(suite, suite, list(rows.values())))
    if not session.quiet:
        Console().print(results_table(suite, suite, [rows[name] for name in datasets]))
        print(f"results: {results.path}")


def measured_row(dataset: str, entry: Entry) -> Measured:
    """An entry, for a table."""
    return Measured(
        dataset=dataset,
        checkpoint=entry["checkpoint"],
        models=entry["models"],
        chance=entry["chance"],
        published=entry["published"].get("figures", {}),
        note=entry["note"],
    )


def found(session: Session, measured: Sequence[Card]) -> dict[str, dict[str, Entry]]:
    """The entries of these datasets, by suite."""
    suites: dict[str, dict[str, Entry]] = {}
    for card in measured:
        suites.setdefault(card.suite, {})[card.name] = session.results(card.suite).entries()[card.name]
    return suites


def published_name(subject: Subject, params: Params) -> str:
    """The published checkpoint whose figures are set beside a checkpoint's own; "" where there is none.

    Raises ValueError for `evaluate.published` that names none.
    """
    asked, own = params.evaluate.published, Path(subject.name.removeprefix("published:")).stem
    if asked not in ("", *PUBLISHED_CHECKPOINTS):
        raise ValueError(f"evaluate.published: no {asked!r}; there are {', '.join(PUBLISHED_CHECKPOINTS)}")
    return asked or (own if own in PUBLISHED_CHECKPOINTS else "")


def newest(run: RunDir) -> str:
    """The newest checkpoint of a run. ValueError says what makes one."""
    checkpoints = newest_first(run)
    if not checkpoints:
        raise ValueError(
            f"{run.path}: no checkpoint; `cosmos pretrain` makes one, --checkpoint names another"
        )
    return str(checkpoints[0])
