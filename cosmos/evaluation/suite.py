"""What all suites share: a named suite, whose dataset is open, takes an encoder and yields named values."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from cosmos.evaluation.datasets import RetrievalDataset, open_retrieval_dataset
from cosmos.evaluation.embed import Encoder, embed_images, embed_texts
from cosmos.evaluation.retrieval import chance_metrics, retrieval_metrics
from cosmos.machine import Machine
from cosmos.params import Params


@dataclass(frozen=True)
class OpenSuite:
    """A suite whose dataset was found whole."""

    name: str
    dataset: str
    size: dict[str, int]
    """what its figures are of: num_images, num_captions, ..."""
    chance: dict[str, float]
    """what guessing is expected to score, for those metrics that have such a value"""
    measure: Callable[[Encoder], dict[str, float]]
    """an encoder's metrics, by name"""


def open_retrieval(params: Params, machine: Machine, quiet: bool) -> OpenSuite:
    """Image-text retrieval on the dataset of `evaluate.retrieval`. ValueError says what it lacks."""
    dataset = open_retrieval_dataset(params, machine)
    num_images, owners = len(dataset.images), torch.tensor(dataset.caption_to_image)
    return OpenSuite(
        name="retrieval",
        dataset=dataset.name,
        size={"num_images": num_images, "num_captions": len(dataset.captions)},
        chance=chance_metrics(num_images, owners),
        measure=partial(_measure_retrieval, dataset, machine, quiet),
    )


def _measure_retrieval(
    dataset: RetrievalDataset, machine: Machine, quiet: bool, encoder: Encoder
) -> dict[str, float]:
    images = embed_images(encoder, dataset.images, machine, quiet)
    texts = embed_texts(encoder, dataset.captions, machine, quiet)
    return retrieval_metrics(images, texts, torch.tensor(dataset.caption_to_image))


SUITES: dict[str, Callable[[Params, Machine, bool], OpenSuite]] = {"retrieval": open_retrieval}
"""Every suite by name: opens its dataset; True shows no progress."""
