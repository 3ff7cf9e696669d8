"""Galleries as tables for other tools: a row for each answer on a sample, with its pictures."""

import math
from collections.abc import Iterator

from cosmos.report.galleries.classes import confusion_rows
from cosmos.report.galleries.content import DatasetGallery, Galleries, Missing, SegmentationAnswers
from cosmos.report.galleries.pairs import failed_items
from cosmos.report.galleries.pictures import EmbeddedPicture, segmentation_panels
from cosmos.report.galleries.retrieval import ShownSample, directions, query_steps
from cosmos.report.galleries.sights import SightRow, sight_step
from cosmos.run.gallery_tables import GalleryCell, GalleryPicture, GalleryTable
from cosmos.run.statistics.answers import ClassAnswers, PairAnswers, RetrievalAnswers

Row = list[GalleryCell]


def gallery_tables(galleries: Galleries) -> dict[str, GalleryTable]:
    """Return a table of each dataset that has answers, by suite and dataset, and one of what models see.

    Pictures are read and drawn here; one that cannot be read leaves its reason in its place.
    """
    tables = {
        f"{dataset.suite}/{dataset.dataset}": table
        for dataset in galleries.datasets
        if (table := dataset_table(dataset))
    }
    rows = [] if isinstance(galleries.sights, Missing) else list(sight_rows(galleries))
    sights = GalleryTable(["photograph", "caption", "model", "map of", "word", "map", "range"], rows)
    return {**tables, **({"sights": sights} if rows else {})}


def dataset_table(dataset: DatasetGallery) -> GalleryTable | None:
    """Return the table of a dataset; None where it has no answers to show."""
    match dataset.answers:
        case RetrievalAnswers() as answers:
            columns, rows = ["query", "kind", "place", "score", "candidate", "own"], retrieval_rows(answers)
        case PairAnswers() as answers:
            columns, rows = ["kind", "image", "caption", "score", "margin"], pair_rows(answers)
        case ClassAnswers() as answers:
            columns, rows = ["class", "taken for", "images", "of", "example"], confusion_cells(answers)
        case SegmentationAnswers() as answers:
            columns, rows = ["image", "truth", "prediction", "accuracy"], segmentation_rows(answers)
        case Missing():
            return None
    return GalleryTable(columns, list(rows))


def retrieval_rows(answers: RetrievalAnswers) -> Iterator[Row]:
    """Yield the first candidates of the worst and typical queries, both ways."""
    for direction in directions(answers):
        for step in query_steps(direction):
            for row in step.rows:
                candidate = sample_cell(row.candidate)
                yield [sample_cell(step.query), step.title, row.place, row.score, candidate, row.is_own]


def pair_rows(answers: PairAnswers) -> Iterator[Row]:
    """Yield each image and caption of the items that are wrong, with its score."""
    for item in failed_items(answers):
        for caption, scores in item.captions:
            for picture, score in zip(item.pictures, scores, strict=True):
                yield [item.kind, picture_cell(picture), caption, score, item.margin]


def confusion_cells(answers: ClassAnswers) -> Iterator[Row]:
    """Yield the largest confusions, each with its clearest image."""
    for row in confusion_rows(answers):
        example = picture_cell(row.pictures[0]) if row.pictures else None
        yield [row.own, row.predicted, row.count, row.num_images, example]


def segmentation_rows(answers: SegmentationAnswers) -> Iterator[Row]:
    """Yield segmentations beside the truth: of images spread over the dataset, then of the worst classes."""
    for panels in map(segmentation_panels, (*answers.samples, *answers.of_classes.values())):
        pictures = [picture_cell(each) for each in (panels.image, panels.label, panels.prediction)]
        yield [*pictures, None if math.isnan(panels.accuracy) else panels.accuracy]


def sight_rows(galleries: Galleries) -> Iterator[Row]:
    """Yield the maps of what models see in photographs."""
    for example in () if isinstance(galleries.sights, Missing) else galleries.sights:
        step = sight_step(example)
        for row in step.rows:
            yield from ([picture_cell(step.photograph), step.caption, *cells] for cells in map_cells(row))


def map_cells(row: SightRow) -> Iterator[Row]:
    """Yield the maps of a model on a photograph."""
    for name, maps in (("attention", row.attention), ("similarity", row.similarities)):
        for shown in () if isinstance(maps, Missing) else maps:
            yield [row.model, name, shown.text, picture_cell(shown.picture), shown.remark]


def sample_cell(sample: ShownSample) -> GalleryCell:
    """Return a photograph or a caption as a cell."""
    return picture_cell(sample.picture) if sample.picture else sample.text


def picture_cell(picture: EmbeddedPicture) -> GalleryPicture:
    """Return a picture as a cell."""
    return GalleryPicture(str(picture.uri), picture.text)
