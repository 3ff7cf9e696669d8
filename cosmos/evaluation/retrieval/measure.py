"""Images with their captions, and an encoder's recalls and ranks on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import torch

from cosmos.errors import InputError
from cosmos.evaluation.card import Measurement, OpenDataset
from cosmos.evaluation.dataset_files import listing_hash
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.evaluation.images import Images, image_listings
from cosmos.evaluation.retrieval.metrics import rank_retrieval, retrieval_chance


@dataclass(frozen=True)
class RetrievalDataset:
    """I images, C captions, and the image of each caption."""

    images: Images
    captions: tuple[str, ...]
    caption_to_image: tuple[int, ...]
    """index of each caption's image, (C,)"""

    @classmethod
    def of(cls, name: str, images: Images, captions: Sequence[Sequence[str]]) -> Self:
        """Return the dataset from the captions of each image. Raises InputError when there is no image."""
        if not captions:
            raise InputError(f"{name}: the dataset is empty; `cosmos prepare` says what was left out of it")
        owners = tuple(image for image, own in enumerate(captions) for _ in own)
        return cls(images, tuple(caption for own in captions for caption in own), owners)


def measure(dataset: RetrievalDataset, embedder: Embedder) -> Measurement:
    """Return an encoder's recalls and ranks in both directions, and the values of images for recalls."""
    images, captions = embedder.images(dataset.images), embedder.texts(dataset.captions)
    ranks = rank_retrieval(images, captions, torch.tensor(dataset.caption_to_image))
    return Measurement(ranks.figures(), ranks.image_values())


def open_captioned_images(dataset: RetrievalDataset, source: Path) -> OpenDataset:
    """Return a dataset as suites measure it; `source`: its manifest or captions file."""
    images, owners = dataset.images, dataset.caption_to_image
    keys = [images.key(index) for index in range(len(images))]
    return OpenDataset(
        size={"num_images": len(images), "num_captions": len(dataset.captions)},
        chance=retrieval_chance(len(images), torch.tensor(owners)),
        sources=(source,),
        fingerprint=fingerprint_strings([images.collection, *keys, *dataset.captions, *map(str, owners)]),
        measure=partial(measure, dataset),
        listings=image_listings(images, keys),
        content=dataset,
        image_set=listing_hash(keys),
    )
