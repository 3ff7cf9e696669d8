"""Sections of a page about single samples: what models see, where one fails, and what changed from another.

Captions, names of classes and of datasets may come from strangers: they are never read as markup.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from cosmos.config.figures import CLASS_ACCURACY
from cosmos.report.galleries.changes import (
    ChangedClass,
    Changes,
    changed_classes,
    classification_changes,
    matched_datasets,
    pair_changes,
    retrieval_changes,
    segmentation_changes,
)
from cosmos.report.galleries.classes import (
    ClassBars,
    ConfusionMatrix,
    ConfusionRow,
    class_bars,
    class_family,
    classes_without_images,
    confusion_matrix,
    confusion_rows,
)
from cosmos.report.galleries.content import DatasetGallery, Galleries, Missing, SegmentationAnswers
from cosmos.report.galleries.pairs import ShownItem, failed_items, failures_by_kind
from cosmos.report.galleries.pictures import EmbeddedPicture, SegmentationPanels, segmentation_panels
from cosmos.report.galleries.retrieval import QueryStep, directions, query_steps
from cosmos.report.galleries.sights import beside_baseline, sight_step
from cosmos.report.page import template_environment
from cosmos.report.section import ReportSection
from cosmos.run.statistics.answers import ClassAnswers, PairAnswers, RetrievalAnswers

MAX_NAMES = 20
"""Largest number of classes without images that are named."""

MAX_KINDS = 20
"""Largest number of kinds of items that are counted apart."""


def gallery_sections(galleries: Galleries, against: Galleries | None) -> list[ReportSection]:
    """Return sections of a run: what it sees, where it fails and, beside a baseline, what changed.

    Pictures are read and drawn here; one that cannot be read leaves its reason in its place.
    """
    sections = [
        _section("sees", "What it sees", sights_content(galleries, against)),
        _section("fails", "Where it fails", failures_content(galleries)),
    ]
    if against:
        content = changes_content(galleries, against)
        sections.append(_section("changed", "What changed, sample by sample", content))
    return sections


def _section(name: str, title: str, content: Mapping[str, Any]) -> ReportSection:
    """Return the section that the template of this name makes of its content."""
    html = template_environment().get_template(f"{name}.html").render(content)
    return ReportSection(name, title, Markup(html))


def sights_content(galleries: Galleries, against: Galleries | None) -> dict[str, Any]:
    """Return the content of what the models see, and of what a baseline sees in the same photographs."""
    sights = galleries.sights
    reason, examples = (sights.reason, ()) if isinstance(sights, Missing) else ("", sights)
    if against and not isinstance(against.sights, Missing):
        examples = beside_baseline(examples, against.name, against.sights)
    return {
        "reason": reason,
        "steps": list(map(sight_step, examples)),
        "segmentations": list(_segmentations(galleries)),
    }


def _segmentations(galleries: Galleries) -> Iterator[tuple[str, str, list[SegmentationPanels]]]:
    """Yield title, reason why there are none, and panels of each dataset with segmentations."""
    for dataset in galleries.datasets:
        if isinstance(dataset.answers, SegmentationAnswers):
            yield dataset.title, "", list(map(segmentation_panels, dataset.answers.samples))


ShownDirection = tuple[str, int, int, list[QueryStep]]
"""Title, numbers of misses and of queries, and the queries to look at of a direction of retrieval."""


@dataclass(frozen=True)
class FailureGallery:
    """Failures on a dataset; parts that its suite does not have are empty."""

    title: str
    reason: str = ""
    """reason why there is no more than figures"""
    directions: Sequence[ShownDirection] = ()
    bars: ClassBars | None = None
    is_classification: bool = False
    without_images: Sequence[str] = ()
    num_without: int = 0
    confusions: Sequence[ConfusionRow] = ()
    matrix: ConfusionMatrix | None = None
    worst_classes: Sequence[tuple[str, float, SegmentationPanels]] = ()
    kinds: Sequence[tuple[str, int, int]] = ()
    items: Sequence[ShownItem] = ()


def failures_content(galleries: Galleries) -> dict[str, Any]:
    """Return the content of where a model fails."""
    return {
        "datasets": [failure_gallery(part, galleries.num_shown(part.suite)) for part in galleries.datasets],
        "missing": [part.reason for part in galleries.missing],
    }


def failure_gallery(dataset: DatasetGallery, num_datasets: int = 1) -> FailureGallery:
    """Return the failures on a dataset; of one without answers, the bars of its classes and the reason."""
    match dataset.answers:
        case RetrievalAnswers() as answers:
            return FailureGallery(dataset.title, directions=_shown_directions(answers, num_datasets))
        case ClassAnswers() as answers:
            return _class_failures(dataset, answers, num_datasets)
        case PairAnswers() as answers:
            kinds = failures_by_kind(answers)[:MAX_KINDS]
            return FailureGallery(dataset.title, kinds=kinds, items=failed_items(answers, num_datasets))
        case SegmentationAnswers() as answers:
            return _segmentation_failures(dataset, answers)
        case Missing(reason):
            return FailureGallery(dataset.title, reason, bars=dataset_bars(dataset))


def _shown_directions(answers: RetrievalAnswers, num_datasets: int) -> list[ShownDirection]:
    return [
        (
            direction.title,
            int(np.count_nonzero(direction.ranked.ranks)),
            len(direction.ranked.ranks),
            query_steps(direction, num_datasets),
        )
        for direction in directions(answers)
    ]


def _class_failures(dataset: DatasetGallery, answers: ClassAnswers, num_datasets: int) -> FailureGallery:
    without = classes_without_images(answers)
    return FailureGallery(
        dataset.title,
        bars=dataset_bars(dataset),
        is_classification=True,
        without_images=without[:MAX_NAMES],
        num_without=len(without),
        confusions=confusion_rows(answers, num_datasets),
        matrix=confusion_matrix(answers),
    )


def _segmentation_failures(dataset: DatasetGallery, answers: SegmentationAnswers) -> FailureGallery:
    figures = dataset.figures[dataset.model]
    family = class_family(figures)
    worst = [
        (name, figures[f"{family}{name}"], segmentation_panels(sample))
        for name, sample in answers.of_classes.items()
    ]
    return FailureGallery(dataset.title, bars=dataset_bars(dataset), worst_classes=worst)


def dataset_bars(dataset: DatasetGallery) -> ClassBars | None:
    """Return bars of the classes of a dataset; None where no class has a figure."""
    family = class_family(dataset.figures.get(dataset.model, {}))
    if not family:
        return None
    heading = "Accuracy" if family == CLASS_ACCURACY.name else f"IoU ({family.partition('_')[0]} attention)"
    return class_bars(dataset.figures, family, f"{heading} of each class, the worst first", dataset.model)


@dataclass(frozen=True)
class ChangeGallery:
    """Changes on a dataset; parts that its suite does not have are empty."""

    title: str
    samples: Sequence[Changes] = ()
    classes: Sequence[ChangedClass] = ()
    items: Sequence[tuple[str, list[ShownItem], int]] = ()
    """better or worse, items and their number"""
    segmentations: Sequence[tuple[SegmentationPanels, EmbeddedPicture, float]] = ()


def changes_content(galleries: Galleries, against: Galleries) -> dict[str, Any]:
    """Return the content of what changed from a baseline to a run."""
    matched = matched_datasets(galleries, against)
    compared = {id(own) for own, _ in matched}
    return {
        "now": galleries.name,
        "before": against.name,
        "datasets": [change_gallery(own, other) for own, other in matched],
        "missing": [
            f"{dataset.suite} on {dataset.dataset}: not compared: only one has answers on this data"
            for dataset in galleries.datasets
            if id(dataset) not in compared
        ],
    }


def change_gallery(own: DatasetGallery, other: DatasetGallery) -> ChangeGallery:
    """Return what changed on a dataset of which both have comparable answers."""
    title = f"{own.suite.capitalize()} on {own.dataset}"
    family = class_family(own.figures[own.model])
    classes = changed_classes(own, other, family) if family else []
    match own.answers, other.answers:
        case RetrievalAnswers() as now, RetrievalAnswers() as before:
            return ChangeGallery(title, retrieval_changes(now, before))
        case ClassAnswers() as now, ClassAnswers() as before:
            return ChangeGallery(title, [classification_changes(now, before)], classes)
        case PairAnswers() as now, PairAnswers() as before:
            better, worse, num_better, num_worse = pair_changes(now, before)
            return ChangeGallery(title, items=[("better", better, num_better), ("worse", worse, num_worse)])
        case SegmentationAnswers() as now, SegmentationAnswers() as before:
            return ChangeGallery(title, classes=classes, segmentations=segmentation_changes(now, before))
    return ChangeGallery(title)
