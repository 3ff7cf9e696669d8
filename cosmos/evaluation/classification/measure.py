"""Images with the class of each, and an encoder's accuracy on them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from cosmos.evaluation.card import Measurement, OpenDataset
from cosmos.evaluation.classification.metrics import classification_chance, classify_images
from cosmos.evaluation.dataset_files import listing_hash
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.evaluation.images import Images, image_listings
from cosmos.evaluation.prompts import Prompts


@dataclass(frozen=True)
class ClassificationDataset:
    """Images, the class of each, and the prompts of the classes."""

    images: Images
    labels: tuple[int, ...]
    """class of each image: an index of `prompts.class_names`"""
    prompts: Prompts


def measure(dataset: ClassificationDataset, embedder: Embedder) -> Measurement:
    """Return an encoder's figures, as `classification_metrics` names them, and the values of images."""
    prompts = dataset.prompts
    classified = classify_images(
        embedder.images(dataset.images),
        embedder.classes(prompts.class_names, prompts.templates),
        torch.tensor(dataset.labels),
        prompts.class_names,
    )
    return Measurement(classified.figures(), classified.image_values())


def open_labelled_images(dataset: ClassificationDataset, sources: tuple[Path, ...]) -> OpenDataset:
    """Return a dataset as suites measure it; `sources`: files that define its content."""
    images, prompts = dataset.images, dataset.prompts
    keys = [images.key(index) for index in range(len(images))]
    words = (*prompts.class_names, *prompts.templates)
    return OpenDataset(
        size={"num_images": len(images), "num_classes": len(prompts.class_names)},
        chance=classification_chance(len(prompts.class_names)),
        sources=sources,
        fingerprint=fingerprint_strings([images.collection, *keys, *map(str, dataset.labels), *words]),
        measure=partial(measure, dataset),
        listings=image_listings(images, keys),
        content=dataset,
        image_set=listing_hash(keys),
    )
