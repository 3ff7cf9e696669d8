"""True captions beside false ones, captioned pairs of images, and how many of them an encoder gets right."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from torch import Tensor

from cosmos.evaluation.card import Measurement, OpenDataset
from cosmos.evaluation.dataset_files import listing_hash
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.evaluation.images import ImageFiles, image_listings
from cosmos.evaluation.perception.metrics import (
    COMPOSITION_CHANCE,
    PAIR_CHANCE,
    PREFERENCE_CHANCE,
    captions_preferred,
    chance_by_kind,
    composed_pairs,
    images_chosen,
    share_of_right,
    shares_by_kind,
    values_by_kind,
)
from cosmos.run.statistics.image_values import AnswerCounts


@dataclass(frozen=True)
class SharedImages:
    """Image of each of N items. Items may share an image, which is embedded once."""

    images: ImageFiles
    index: tuple[int, ...]
    """place among the images, (N,)"""

    @classmethod
    def of(cls, folder: Path, paths: Sequence[Path], max_pixels: int) -> Self:
        """Return the images of items, one path for each, all below `folder`."""
        places = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        return cls(ImageFiles(folder, tuple(places), max_pixels), tuple(places[path] for path in paths))

    def embed(self, embedder: Embedder) -> Tensor:
        """Return embeddings of the items' images, (N, D)."""
        return embedder.images(self.images)[list(self.index)]

    def keys(self) -> list[str]:
        """Return the key of each item's image, N strings."""
        return [self.images.key(place) for place in self.index]

    def listings(self) -> dict[Path, str]:
        """Return the hash of the images' names and sizes by their folder."""
        return image_listings(self.images, self.keys())

    def image_set(self) -> str:
        """Return the hash of the names of the images without repetitions."""
        return listing_hash(map(self.images.key, range(len(self.images))))


@dataclass(frozen=True)
class HardNegatives:
    """N images, each with a caption and one that is false of it. Source: SugarCrepe."""

    images: SharedImages
    captions: tuple[str, ...]
    negatives: tuple[str, ...]
    kinds: tuple[str, ...]
    """kind of each negative, (N,)"""


@dataclass(frozen=True)
class CaptionedPairs:
    """P pairs of images with a caption each, one pair after the other."""

    images: SharedImages
    """images of 2 P items"""
    captions: tuple[str, ...]
    """(2 P,)"""
    kinds: tuple[str, ...]
    """kind of each pair, (P,)"""
    images_choose: bool = True
    """True where an image must choose its caption, too, for its pair to be right"""

    def embed(self, embedder: Embedder) -> tuple[Tensor, Tensor]:
        """Return embeddings of the images (P, 2, D) and of the captions (P, 2, D)."""
        images, captions = self.images.embed(embedder), embedder.texts(self.captions)
        return images.view(-1, 2, images.shape[1]), captions.view(-1, 2, captions.shape[1])

    def fingerprint(self) -> str:
        """Return a string that differs once an image, a caption or a kind does."""
        return fingerprint_strings([*self.images.keys(), *self.captions, *self.kinds])

    def image_set(self) -> str:
        """Return the hash of the names of the images, pair by pair."""
        return listing_hash(self.images.keys())

    def size(self) -> dict[str, int]:
        """Return the numbers of images and pairs."""
        return {"num_images": len(self.images.images), "num_pairs": len(self.kinds)}


def measure_hard_negatives(dataset: HardNegatives, embedder: Embedder) -> Measurement:
    """Return the share of captions preferred to their negatives: of each kind, and the mean over kinds."""
    images, texts = dataset.images.embed(embedder), embedder.texts(dataset.captions + dataset.negatives)
    right, shared = captions_preferred(images, *texts.chunk(2)), dataset.images
    values = values_by_kind(right, dataset.kinds, shared.index, len(shared.images))
    return Measurement(shares_by_kind(right, dataset.kinds), values)


def measure_statements(pairs: CaptionedPairs, embedder: Embedder) -> Measurement:
    """Return the share of pairs whose statements both choose their image: of each kind, and the mean."""
    right, num_pairs = images_chosen(*pairs.embed(embedder)), len(pairs.kinds)
    values = values_by_kind(right, pairs.kinds, range(num_pairs), num_pairs)
    return Measurement(shares_by_kind(right, pairs.kinds), values)


def measure_composition(pairs: CaptionedPairs, embedder: Embedder) -> Measurement:
    """Return text, image and group score."""
    scores = composed_pairs(*pairs.embed(embedder))
    values = {name: AnswerCounts.of_images(right.cpu().numpy()).values() for name, right in scores.items()}
    return Measurement({name: share_of_right(right) for name, right in scores.items()}, values)


def open_hard_negatives(dataset: HardNegatives, sources: Sequence[Path]) -> OpenDataset:
    """Return hard negatives as suites measure them; `sources` are their files."""
    texts = (*dataset.captions, *dataset.negatives, *dataset.kinds)
    return OpenDataset(
        size={"num_images": len(dataset.images.images), "num_captions": len(dataset.captions)},
        chance=chance_by_kind(dataset.kinds, PREFERENCE_CHANCE),
        sources=tuple(sources),
        fingerprint=fingerprint_strings([*dataset.images.keys(), *texts]),
        measure=partial(measure_hard_negatives, dataset),
        listings=dataset.images.listings(),
        content=dataset,
        image_set=dataset.images.image_set(),
    )


def open_statements(pairs: CaptionedPairs, source: Path) -> OpenDataset:
    """Return pairs of statements as suites measure them; `source` is their file."""
    return OpenDataset(
        size=pairs.size(),
        chance=chance_by_kind(pairs.kinds, PAIR_CHANCE),
        sources=(source,),
        fingerprint=pairs.fingerprint(),
        measure=partial(measure_statements, pairs),
        listings=pairs.images.listings(),
        content=pairs,
        image_set=pairs.image_set(),
    )


def open_composition(pairs: CaptionedPairs, source: Path) -> OpenDataset:
    """Return pairs of captions of the same words as suites measure them; `source` is their file."""
    return OpenDataset(
        size=pairs.size(),
        chance=COMPOSITION_CHANCE,
        sources=(source,),
        fingerprint=pairs.fingerprint(),
        measure=partial(measure_composition, pairs),
        listings=pairs.images.listings(),
        content=pairs,
        image_set=pairs.image_set(),
    )
