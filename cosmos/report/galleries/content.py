"""Content of galleries: answers of a run's models on single samples, and reasons why parts are missing."""

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from cosmos.config.figures import Figures
from cosmos.report.segmentations import SegmentationSample
from cosmos.run.statistics.answers import ClassAnswers, PairAnswers, RetrievalAnswers
from cosmos.run.statistics.image_values import FloatArray


@dataclass(frozen=True)
class Missing:
    """Part of the galleries that cannot be shown."""

    reason: str


@dataclass(frozen=True)
class AttentionOfModel:
    """Weights of cross-attention between a photograph and its caption."""

    by_caption: FloatArray
    """(rows, columns): of the patches, by the caption"""
    by_words: tuple[FloatArray, ...]
    """(rows, columns) each: of the patches, by each chosen word alone"""
    of_words: tuple[float, ...]
    """weight of each word of the caption, by the photograph"""
    elsewhere: float
    """weight of the tokens that are no words: start, end and padding, by the photograph"""


@dataclass(frozen=True)
class ModelSight:
    """Maps of a model on a photograph."""

    attention: AttentionOfModel | Missing
    similarities: tuple[FloatArray, ...] | Missing
    """(rows, columns) each: cosines of the patches with each chosen word"""


@dataclass(frozen=True)
class SightExample:
    """Photograph with a caption, and what models make of them."""

    image: Image.Image
    """RGB, square: what the models see of the photograph"""
    caption: str
    words: tuple[str, ...]
    """words of the caption as the models read them"""
    chosen: tuple[str, ...]
    """words that have maps"""
    by_model: Mapping[str, ModelSight]


@dataclass(frozen=True)
class SegmentationAnswers:
    """Segmentations of some images."""

    class_names: tuple[str, ...]
    samples: tuple[SegmentationSample, ...]
    """images spread over the dataset, the same for every model"""
    of_classes: Mapping[str, SegmentationSample]
    """an image of each of the classes that are segmented worst"""


Answers = RetrievalAnswers | ClassAnswers | PairAnswers | SegmentationAnswers


@dataclass(frozen=True)
class DatasetGallery:
    """Answers of a model on a dataset, and the figures that were measured of all models."""

    suite: str
    dataset: str
    """name of the dataset and, where need be, of its data"""
    data_hash: str
    figures: Mapping[str, Figures]
    """figures by model, with those of single classes"""
    model: str
    """model that the answers are of"""
    answers: Answers | Missing

    @property
    def title(self) -> str:
        """Heading of the dataset's part of a section."""
        return f"{self.suite.capitalize()} on {self.dataset}, {self.model}"


def divide_room(count: int, num_datasets: int) -> int:
    """Return the number of samples to show of each of several datasets: of one `count`, of many two."""
    return max(min(count, 2), -(-count // max(1, num_datasets)))


@dataclass(frozen=True)
class Galleries:
    """Galleries of a run."""

    name: str
    """name of the run"""
    sights: tuple[SightExample, ...] | Missing
    datasets: tuple[DatasetGallery, ...]
    """by suite, those of each as they were measured"""
    missing: tuple[Missing, ...]
    """reasons why suites have no dataset here"""

    def num_shown(self, suite: str) -> int:
        """Return the number of datasets of a suite that have answers: they share the room of a page."""
        return sum(
            dataset.suite == suite and not isinstance(dataset.answers, Missing) for dataset in self.datasets
        )
