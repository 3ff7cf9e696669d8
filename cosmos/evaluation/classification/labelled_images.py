"""Images with the class of each, and how they are measured once they are found."""

from dataclasses import dataclass
from pathlib import Path

import torch

from cosmos.data.sources import FOLDER_EXTENSIONS
from cosmos.errors import InputError
from cosmos.evaluation.card import Figures, OpenDataset
from cosmos.evaluation.classification.metrics import chance_metrics, classification_metrics
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.images import Images, digest
from cosmos.evaluation.prompts import Prompts


@dataclass(frozen=True)
class LabelledFiles:
    """Image files and the class of each."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    """class of each image: an index of `classes`"""
    classes: tuple[str, ...]
    """names of the classes on disk"""


@dataclass(frozen=True)
class ClassificationDataset:
    """Images, the class of each, and how the classes are put into words."""

    images: Images
    labels: tuple[int, ...]
    """class of each image: an index of `prompts.class_names`"""
    prompts: Prompts

    def opened(self, sources: tuple[Path, ...]) -> OpenDataset:
        """As suites get it; `sources` are the files that say what it holds."""
        keys = map(self.images.key, range(len(self.images)))
        prompts = (*self.prompts.class_names, *self.prompts.templates)
        return OpenDataset(
            size={"num_images": len(self.images), "num_classes": len(self.prompts.class_names)},
            chance=chance_metrics(len(self.prompts.class_names)),
            sources=sources,
            fingerprint=digest([self.images.collection, *keys, *map(str, self.labels), *prompts]),
            measure=self.measure,
        )

    def measure(self, embedder: Embedder) -> Figures:
        """An encoder's metrics, as `classification_metrics` names them."""
        return classification_metrics(
            embedder.images(self.images),
            embedder.classes(self.prompts.class_names, self.prompts.templates),
            torch.tensor(self.labels),
            self.prompts.class_names,
        )


def read_class_folders(folder: Path) -> LabelledFiles:
    """Images in folders of classes, in the order of the sorted folders; deeper folders are part of a class.

    What begins with a dot is no part of it. ValueError names a folder that is missing or holds no image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; correct the path")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path, folder))
    if not folders:
        raise InputError(f"{folder}: no folders in it; make a folder for each class, with its images")
    images = [_images(path) for path in folders]
    return LabelledFiles(
        tuple(path for paths in images for path in paths),
        tuple(label for label, paths in enumerate(images) for _ in paths),
        tuple(path.name for path in folders),
    )


def _images(folder: Path) -> list[Path]:
    """Image files below a class's folder, sorted."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in FOLDER_EXTENSIONS and not _is_hidden(path, folder) and path.is_file()
    )
    if not found:
        endings = ", ".join(sorted(FOLDER_EXTENSIONS))
        raise InputError(f"{folder}: no image in it ({endings}); add some, or remove the folder")
    return found


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
