"""Galleries of a run: answers on single samples, from the embeddings that its evaluations kept."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Self, get_args

import torch

from cosmos.config.disk_reading import is_dir
from cosmos.config.evaluate_params import Attention, SuiteName
from cosmos.config.figures import Figures
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.printable_text import cosmos_command
from cosmos.distributed.group import NO_FOLDER
from cosmos.errors import CosmosError
from cosmos.evaluation.answers import sample_answers
from cosmos.evaluation.card import OpenDataset
from cosmos.evaluation.embed import Embedder, Encoder
from cosmos.evaluation.embedding_cache import CacheFolder, NoCache
from cosmos.evaluation.images import spread_numbers
from cosmos.evaluation.retrieval.measure import RetrievalDataset
from cosmos.evaluation.segmentation.measure import (
    NUM_PICTURES,
    SegmentationDataset,
    find_class_images,
    segment_images,
)
from cosmos.evaluation.suite import suites
from cosmos.report.galleries.classes import class_family
from cosmos.report.galleries.content import (
    Answers,
    DatasetGallery,
    Galleries,
    Missing,
    ModelSight,
    SegmentationAnswers,
    SightExample,
    divide_room,
)
from cosmos.report.segmentations import IGNORED_LABEL
from cosmos.run.directory import RunDir
from cosmos.run.results import ResultEntry, Results, complete_entry, supersedes
from cosmos.stages.evaluate import (
    data_files,
    open_on_every_rank,
    segmentation_sample,
)
from cosmos.stages.evaluated_checkpoint import EvaluatedCheckpoint, find_evaluated_checkpoint
from cosmos.stages.gallery_sights import SightInput, see, sight_examples, sight_inputs
from cosmos.stages.ranks import joined_ranks

NUM_WORST_CLASSES = 5
"""Number of the classes that are segmented worst, of which an image each is shown."""

MAX_NEW_EMBEDDINGS = 20_000
"""Largest number of embeddings of a kind that are computed, where evaluations did not keep them."""


NOTHING_SEEN = Missing("No model was asked.")
"""Part of which nothing was computed."""


@dataclass(frozen=True)
class MeasuredDataset:
    """Dataset that a run was measured on, as far as it can be opened now."""

    suite: str
    label: str
    entry: ResultEntry
    model: str
    """model whose answers are shown"""
    opened: OpenDataset | Missing

    @property
    def figures(self) -> Figures:
        """Figures of the model."""
        figures: Figures = self.entry["models"].get(self.model, {})
        return figures

    def gallery(self, answers: Answers | Missing) -> DatasetGallery:
        """Return the gallery of the model's answers, or of the reason why there are none."""
        data_hash, figures = self.entry["data_hash"], self.entry["models"]
        return DatasetGallery(self.suite, self.label, data_hash, figures, self.model, answers)


@dataclass(frozen=True)
class GallerySource:
    """Run or pipeline whose galleries are made: places of its results, its checkpoint and kept embeddings."""

    name: str
    result_files: Mapping[str, Path]
    """files of results by suite"""
    run: RunDir
    """run that keeps the embeddings, and its checkpoint unless another is named"""
    checkpoint: str = ""
    """checkpoint as evaluations name it; "": the newest of the run"""

    @classmethod
    def of_run(cls, run: RunDir, machine: Machine) -> Self:
        """Return the source of a run."""
        in_root = run.path.is_relative_to(machine.runs_root)
        name = str(run.path.relative_to(machine.runs_root)) if in_root else run.path.name
        return cls(name, {suite: run.result_file(suite) for suite in get_args(SuiteName)}, run)


@dataclass(frozen=True)
class GallerySession:
    """Source whose galleries are made: its checkpoint and its parameters."""

    source: GallerySource
    params: Params
    machine: Machine
    quiet: bool

    @cached_property
    def subject(self) -> EvaluatedCheckpoint:
        """Checkpoint of the source. Raises InputError where there is none."""
        return find_evaluated_checkpoint(self.source.run, self.source.checkpoint, self.machine)

    def choose_model(self, entry: ResultEntry) -> str:
        """Return the model whose answers are shown of a dataset: the teacher, if it was measured."""
        models = [model for model in self.params.evaluate.models if model in entry["models"]]
        return "teacher" if "teacher" in models or not models else models[0]

    def embedder(self, model: str, encoder: Encoder) -> Embedder:
        """Return the embedder that evaluations of the run use, with what they kept."""
        identity = self.subject.fingerprint(self.params, model, str(encoder.image_size))
        run = self.source.run
        cache = CacheFolder(run.embeddings / identity) if is_dir(run.path) else NoCache()
        return Embedder(encoder, self.machine, cache, self.quiet, MAX_NEW_EMBEDDINGS)


def measure_galleries(run: RunDir, params: Params, machine: Machine, quiet: bool = True) -> Galleries:
    """Return the galleries of a run's newest checkpoint; see `measure_source`."""
    return measure_source(GallerySource.of_run(run, machine), params, machine, quiet)


def measure_source(source: GallerySource, params: Params, machine: Machine, quiet: bool = True) -> Galleries:
    """Return what the models of a checkpoint see, and where one of them fails.

    Samples are answered from the embeddings that evaluations kept; what these lack is computed. A part that
    cannot be shown has its reason in its place: no error of ours is raised.
    """
    session = GallerySession(source, params, machine, quiet)
    measured, missing = measured_datasets(session)
    galleries = Galleries(source.name, NOTHING_SEEN, (), tuple(missing))
    try:
        with joined_ranks(machine, NO_FOLDER) as ranks:
            return measure_models(session, measured, galleries, ranks.device)
    except CosmosError as error:
        reason = Missing(str(error))
        return replace(galleries, sights=reason, datasets=tuple(part.gallery(reason) for part in measured))


def measured_datasets(session: GallerySession) -> tuple[list[MeasuredDataset], list[Missing]]:
    """Return the datasets that the run was measured on, and reasons why suites have none."""
    measured: list[MeasuredDataset] = []
    missing: list[Missing] = []
    for suite, file in session.source.result_files.items():
        try:
            entries = Results(file, suite).entries()
        except CosmosError as error:
            missing.append(Missing(str(error)))
            continue
        if not entries:
            command = cosmos_command("evaluate", suite, "--run", session.source.name)
            missing.append(Missing(f"{suite}: the run was not measured; `{command}` measures it."))
        measured += [open_measured(session, suite, label, entry) for label, entry in entries.items()]
    return measured, missing


def open_measured(session: GallerySession, suite: str, label: str, entry: ResultEntry) -> MeasuredDataset:
    """Return a dataset that was measured, opened if it is there, and if the results are of it."""
    model = session.choose_model(entry)
    try:
        opened: OpenDataset | Missing = open_same_data(session, suite, entry)
    except CosmosError as error:
        opened = Missing(f"{label} cannot be shown: {error}")
    if model not in entry["models"]:
        opened = Missing(f"No model was measured on {label} that evaluate.models names.")
    return MeasuredDataset(suite, label, entry, model, opened)


def open_same_data(session: GallerySession, suite: str, entry: ResultEntry) -> OpenDataset | Missing:
    """Return a dataset that was measured, or why it is not the same. Raises as cards open it."""
    name, cards = entry["dataset"], suites(session.params.evaluate)[suite].cards
    if entry["checkpoint_sha256"] != session.subject.sha256:
        return Missing(f"The results are of another checkpoint, {entry['checkpoint']}, than the newest.")
    if name not in cards:
        return Missing(f"The parameters describe no dataset {name}.")
    dataset = open_on_every_rank(cards[name], session.params, session.machine)
    now = complete_entry(name, {"data": data_files(dataset), **dataset.size})
    if not supersedes(now, entry):
        return Missing("The data on this machine is other than what was measured.")
    return dataset


def measure_models(
    session: GallerySession, measured: Sequence[MeasuredDataset], galleries: Galleries, device: torch.device
) -> Galleries:
    """Return galleries with what each model sees, and the answers. Raises errors of checkpoints."""
    inputs: list[SightInput] | Missing | None = None
    seen: dict[str, list[ModelSight]] = {}
    shown = [
        dataset.gallery(dataset.opened if isinstance(dataset.opened, Missing) else NOTHING_SEEN)
        for dataset in measured
    ]
    room = Counter(dataset.suite for dataset in measured if not isinstance(dataset.opened, Missing))
    for model, encoder in session.subject.encoders(session.params, device):
        inputs = choose_photographs(session, measured, encoder) if inputs is None else inputs
        if not isinstance(inputs, Missing):
            seen[model] = see(encoder, inputs, session.params.evaluate.segmentation.attention[0])
        embedder = session.embedder(model, encoder)
        shown = [
            part
            if dataset.model != model
            else dataset.gallery(answer(session, dataset, embedder, room[part.suite]))
            for part, dataset in zip(shown, measured, strict=True)
        ]
    return replace(galleries, sights=sights_of(inputs, seen), datasets=tuple(shown))


def sights_of(
    inputs: list[SightInput] | Missing | None, seen: Mapping[str, Sequence[ModelSight]]
) -> tuple[SightExample, ...] | Missing:
    """Return photographs with maps, or the reason why there are none."""
    if isinstance(inputs, Missing):
        return inputs
    return sight_examples(inputs or [], seen)


def choose_photographs(
    session: GallerySession, measured: Sequence[MeasuredDataset], encoder: Encoder
) -> list[SightInput] | Missing:
    """Return photographs with captions of the first dataset of retrieval that there is, or a reason."""
    try:
        dataset = next(captioned_photographs(session, measured), None)
        return (
            sight_inputs(dataset, encoder)
            if dataset
            else Missing("No dataset has photographs with captions.")
        )
    except CosmosError as error:
        return Missing(f"No photographs with captions: {error}")


def captioned_photographs(
    session: GallerySession, measured: Sequence[MeasuredDataset]
) -> Iterator[RetrievalDataset]:
    """Yield datasets of retrieval: those that were measured, then those that the parameters ask for."""
    opened = (dataset.opened for dataset in measured)
    contents = (dataset.content for dataset in opened if isinstance(dataset, OpenDataset))
    requested = (
        open_on_every_rank(card, session.params, session.machine).content
        for card in suites(session.params.evaluate)["retrieval"].requested()
    )
    for content in chain(contents, requested):
        if isinstance(content, RetrievalDataset):
            yield content


def answer(
    session: GallerySession, measured: MeasuredDataset, embedder: Embedder, room: int
) -> Answers | Missing:
    """Return a model's answers on a dataset, or the reason why there are none.

    `room`: number of datasets of the suite, which share the page.
    """
    if isinstance(measured.opened, Missing):
        return measured.opened
    content = measured.opened.content
    try:
        if isinstance(content, SegmentationDataset):
            attention = session.params.evaluate.segmentation.attention
            return segmentation_answers(content, attention, measured.figures, embedder, room)
        return sample_answers(content, embedder)
    except CosmosError as error:
        return Missing(str(error))


def segmentation_answers(
    dataset: SegmentationDataset,
    attention: Sequence[Attention],
    figures: Figures,
    embedder: Embedder,
    room: int,
) -> SegmentationAnswers | Missing:
    """Return segmentations of images over the dataset, and of one of each class that is segmented worst.

    `room`: number of datasets that share the page.
    """
    names = dataset.names
    if len(names) > IGNORED_LABEL:
        return Missing(f"{len(names):,} classes are more than a picture has colours for.")
    spread = spread_numbers(len(dataset.images), divide_room(NUM_PICTURES, room))
    places = find_worst_classes(dataset, figures, divide_room(NUM_WORST_CLASSES, room))
    numbers = list(dict.fromkeys([*spread, *places.values()]))
    segmented = map(segmentation_sample, segment_images(dataset, attention, embedder, numbers))
    samples = dict(zip(numbers, segmented, strict=True))
    of_classes = {names[label]: samples[number] for label, number in places.items()}
    return SegmentationAnswers(names, tuple(samples[number] for number in spread), of_classes)


def find_worst_classes(dataset: SegmentationDataset, figures: Figures, count: int) -> dict[int, int]:
    """Return the place of an image of each of the classes with the lowest figures, the lowest first."""
    family = class_family(figures)
    measured = [label for label, name in enumerate(dataset.names) if f"{family}{name}" in figures]
    ordered = sorted(measured, key=lambda label: figures[f"{family}{dataset.names[label]}"])
    places = find_class_images(dataset, ordered)
    return {label: places[label] for label in [label for label in ordered if label in places][:count]}
