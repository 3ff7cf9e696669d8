"""Images with the classes of their pixels, and an encoder's segmentation of them.

Images are read and resized, their windows encoded, and pixels counted by true and predicted class.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from cosmos.config.evaluate_params import Attention, SegmentationProtocol
from cosmos.config.figures import MEAN_IOU, PIXEL_ACCURACY, name_with_attention
from cosmos.data.image_crops import MAX_ASPECT, normalise
from cosmos.data.worker_processes import load, report_unsent_batches
from cosmos.distributed.exchange import on_each_rank, on_every_rank, sum_over_ranks
from cosmos.distributed.group import rank, world_size
from cosmos.errors import CosmosError, DamagedDataError, InputError
from cosmos.evaluation.card import Measurement, SegmentedImage
from cosmos.evaluation.embed import (
    NOT_FINITE,
    Embedder,
    Encoder,
    progress_bar,
    raise_read_errors,
    suggesting_smaller_batches,
)
from cosmos.evaluation.images import Images, spread_numbers
from cosmos.evaluation.prompts import IMAGENET_TEMPLATES
from cosmos.evaluation.segmentation.masks import read_mask_labels
from cosmos.evaluation.segmentation.metrics import (
    IGNORED_CLASS,
    confusion,
    cut_windows,
    hits_and_unions,
    predict,
    segmentation_logits,
    segmentation_metrics,
)
from cosmos.run.statistics.image_values import AnswerCounts, FloatArray

logger = logging.getLogger(__name__)

_Value = TypeVar("_Value")

MAX_LONG_SIDE = 2048
"""Largest number of pixels that a long side is resized to."""

NUM_PICTURES = 8
"""Number of images that are shown of a dataset."""

MAX_SEARCHED = 200
"""Largest number of images that are searched for classes to show."""


@dataclass(frozen=True)
class SegmentationDataset:
    """Images with the classes of their pixels."""

    name: str
    images: Images
    masks: tuple[Path, ...]
    """label files, one for each image"""
    classes: tuple[tuple[str, ...], ...]
    """query words of each class, in the order of labels"""
    names: tuple[str, ...]
    """name of each class in results"""
    protocol: SegmentationProtocol


def measure(dataset: SegmentationDataset, attention: Sequence[Attention], embedder: Embedder) -> Measurement:
    """Return <attention>_mIoU, _accuracy and _IoU/<class>, for every kind of attention in one pass.

    In a process group each rank takes its share of the images. An image or mask that cannot be read or does
    not fit is an error that names it: DamagedDataError, InputError, or TransientError where the disk failed.
    """
    window, short_side = embedder.encoder.image_size, dataset.protocol.short_side
    if short_side < window and rank() == 0:
        logger.warning(
            "%s: images are enlarged to the %d pixels that the model sees: short_side is %d",
            *(dataset.name, window, short_side),
        )
    queries = _embed_queries(dataset, embedder)
    counts = on_each_rank(lambda: _count_pixels(dataset, attention, embedder, queries)).over_ranks()
    try:
        figures = [segmentation_metrics(matrix, dataset.names) for matrix in counts.confusion]
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from None
    return Measurement(
        _by_attention(attention, figures),
        _by_attention(attention, [counts.image_values(number) for number in range(len(attention))]),
    )


def _by_attention(attention: Sequence[Attention], parts: Sequence[Mapping[str, _Value]]) -> dict[str, _Value]:
    """Return what belongs to metrics, by the names that these have with each kind of attention."""
    return {
        name_with_attention(name, kind): value
        for kind, part in zip(attention, parts, strict=True)
        for name, value in part.items()
    }


@dataclass(frozen=True)
class _PixelCounts:
    """Numbers of pixels of N images, for A kinds of attention and C classes."""

    confusion: Tensor
    """(A, C, C) int64: pixels of each class (row) by predicted class (column), of all images"""
    by_image: Tensor
    """(N, A, 2, C) int64: intersections and unions of predicted and true pixels of each image, on the CPU"""

    def over_ranks(self) -> "_PixelCounts":
        """Return the counts of all images from those of each rank, which took every n-th image."""
        parts = on_every_rank(lambda: self.by_image)
        by_image = torch.cat(parts)  # of the right shape and type
        for number, part in enumerate(parts):
            by_image[number :: len(parts)] = part
        return _PixelCounts(sum_over_ranks(self.confusion).cpu(), by_image)

    def image_values(self, attention: int) -> dict[str, FloatArray]:
        """Return the values of the images, (N,), of mIoU and pixel accuracy by a kind of attention."""
        hits, unions = self.by_image[:, attention].numpy().swapaxes(0, 1)
        pixels = (unions + hits).sum(
            axis=1, keepdims=True
        ) // 2  # a wrong one is in the unions of two classes
        accuracy = AnswerCounts.of_table(hits.sum(axis=1, keepdims=True), pixels)
        return {
            MEAN_IOU.name: AnswerCounts.of_table(hits, unions).values(),
            PIXEL_ACCURACY.name: accuracy.values(),
        }


def segment_examples(
    dataset: SegmentationDataset, attention: Sequence[Attention], embedder: Embedder
) -> list[SegmentedImage]:
    """Return some images of a dataset, with their pixels' classes by the first kind of attention."""
    return segment_images(dataset, attention, embedder, spread_numbers(len(dataset.images), NUM_PICTURES))


def segment_images(
    dataset: SegmentationDataset, attention: Sequence[Attention], embedder: Embedder, numbers: Sequence[int]
) -> list[SegmentedImage]:
    """Return the images at these places, with their pixels' classes by the first kind of attention."""
    queries = _embed_queries(dataset, embedder)

    def segmented() -> list[SegmentedImage]:
        predictions = _predict_images(dataset, attention[:1], embedder, queries, numbers)
        return [
            SegmentedImage(dataset.images.read(number), sample.labels, predicted.cpu(), dataset.names)
            for number, (sample, (predicted,)) in zip(numbers, predictions, strict=True)
        ]

    return on_each_rank(segmented)


def find_class_images(dataset: SegmentationDataset, classes: Sequence[int]) -> dict[int, int]:
    """Return an image of each of these classes: the place of the one with most pixels of it.

    No more than the first MAX_SEARCHED images are read; classes that have no pixel in them are left out.
    Raises as `measure`.
    """
    most: dict[int, tuple[int, int]] = {}
    for number in range(min(len(dataset.images), MAX_SEARCHED)):
        labels = read_labels(dataset, number, dataset.images.read(number).size)
        counts = labels[labels != IGNORED_CLASS].bincount(minlength=len(dataset.classes)).tolist()
        most |= {label: max(most.get(label, (0, 0)), (counts[label], number)) for label in classes}
    return {label: number for label, (pixels, number) in most.items() if pixels}


def read_labels(dataset: SegmentationDataset, number: int, size: tuple[int, int]) -> Tensor:
    """Return the classes of the pixels of an image of `size` (width, height); see `read_mask_labels`."""
    return read_mask_labels(dataset.masks[number], size, len(dataset.classes), dataset.protocol)


def _embed_queries(dataset: SegmentationDataset, embedder: Embedder) -> Tensor:
    """Return embeddings of the query words, (Q, D)."""
    return embedder.classes([word for words in dataset.classes for word in words], IMAGENET_TEMPLATES)


def _count_pixels(
    dataset: SegmentationDataset, attention: Sequence[Attention], embedder: Embedder, queries: Tensor
) -> _PixelCounts:
    """Return the counts of this rank's images."""
    mine, num_classes = range(len(dataset.images))[rank() :: world_size()], len(dataset.classes)
    device = embedder.encoder.device
    counts = torch.zeros(len(attention), num_classes, num_classes, dtype=torch.long, device=device)
    by_image = torch.zeros(len(mine), len(attention), 2, num_classes, dtype=torch.long, device=device)
    with progress_bar("images", len(mine), embedder.quiet) as advance:
        images = _predict_images(dataset, attention, embedder, queries, mine)
        for parts, (sample, predictions) in zip(by_image, images, strict=True):
            labels = sample.labels.to(device)
            for kind, predicted in enumerate(predictions):
                matrix = confusion(labels, predicted, num_classes)
                counts[kind] += matrix
                parts[kind] = hits_and_unions(matrix)
            advance(1)
    return _PixelCounts(counts, by_image.cpu())


def _predict_images(
    dataset: SegmentationDataset,
    attention: Sequence[Attention],
    embedder: Embedder,
    queries: Tensor,
    indices: Sequence[int],
) -> Iterator[tuple["_LabelledImage", list[Tensor]]]:
    """Yield the images at these places, each with its pixels' classes (H, W) by every kind of attention."""
    encoder, machine = embedder.encoder, embedder.machine
    loader: DataLoader[_LabelledImage | CosmosError] = DataLoader(
        _LabelledImages(dataset, indices, encoder.image_size),
        batch_size=None,
        num_workers=machine.workers,
        worker_init_fn=report_unsent_batches,
        generator=torch.Generator(),
    )
    num_queries = [len(words) for words in dataset.classes]
    windows = _encode_windows(
        raise_read_errors(load(loader)), attention, encoder, queries, embedder.window_batch_size
    )
    with suggesting_smaller_batches("COSMOS_WINDOW_BATCH_SIZE", embedder.window_batch_size):
        for sample, patches in _group_windows(windows):
            logits = (
                segmentation_logits(kind, sample.resized, encoder.image_size, sample.size)
                for kind in patches.unbind(1)
            )
            yield sample, [predict(of_kind, num_queries, dataset.protocol) for of_kind in logits]


def _encode_windows(
    samples: Iterable["_LabelledImage"],
    attention: Sequence[Attention],
    encoder: Encoder,
    queries: Tensor,
    batch_size: int,
) -> Iterator[tuple["_LabelledImage", Tensor]]:
    """Yield every window of every sample, as the logits (attention, p, p, Q) of its patches.

    A batch takes windows of several images, or a part of one's.
    """
    columns = queries.T.to(encoder.device)
    windows = ((s, window) for s in samples for window in cut_windows(s.pixels, encoder.image_size))
    while batch := list(islice(windows, batch_size)):
        patches = encoder.encode_patches(torch.stack([window for _, window in batch]), attention)
        yield from zip((s for s, _ in batch), torch.stack(patches, dim=1) @ columns, strict=True)


def _group_windows(
    windows: Iterable[tuple["_LabelledImage", Tensor]],
) -> Iterator[tuple["_LabelledImage", Tensor]]:
    """Yield each sample with the logits (windows, attention, p, p, Q) of all its windows.

    InputError names the mask of an image whose logits are not finite.
    """
    for sample, group in groupby(windows, key=lambda pair: pair[0]):
        logits = torch.stack([window for _, window in group])
        if not logits.isfinite().all():
            raise InputError(f"the embedding of the image of {sample.mask} {NOT_FINITE}")
        yield sample, logits


@dataclass(frozen=True, eq=False)
class _LabelledImage:
    """Image and its labels, resized and normalised. Compared by identity."""

    mask: Path
    pixels: Tensor
    """(3, h, w) the resized image, normalised"""
    labels: Tensor
    """(H, W) int32 classes, IGNORED_CLASS where none counts"""

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width of the resized image."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the labels."""
        return self.labels.shape[0], self.labels.shape[1]


class _LabelledImages(Dataset[_LabelledImage | CosmosError]):
    """Images and masks, read in worker processes. Errors are returned: raised, they would be tracebacks."""

    def __init__(self, dataset: SegmentationDataset, indices: Sequence[int], window: int) -> None:
        self._dataset, self._indices, self._window = dataset, indices, window

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> _LabelledImage | CosmosError:
        number, dataset = self._indices[index], self._dataset
        mask = dataset.masks[number]
        try:
            image = dataset.images.read(number)
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise DamagedDataError(f"the image of {mask} is more than {MAX_ASPECT} times as long as wide")
            labels = read_labels(dataset, number, image.size)
        except CosmosError as error:
            return error
        pixels = resize_image(image, resized_size(image.size, dataset.protocol.short_side, self._window))
        return _LabelledImage(mask, pixels, labels)


def resized_size(size: tuple[int, int], short_side: int, window: int) -> tuple[int, int]:
    """Return the (height, width) that an image of `size` (width, height) is resized to, its aspect kept.

    The short side gets `short_side` pixels, or fewer where the long side would exceed 2048; but never fewer
    than a window's.
    """
    short, long = min(size), max(size)
    scale = max(min(MAX_LONG_SIDE / long, short_side / short), window / short)
    width, height = (int(side * scale + 0.5) for side in size)
    return height, width


def resize_image(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """Return an RGB image resized and normalised, (3, *size) float32.

    Bilinear without antialiasing and rounded to bytes, as OpenCV does it for the published pipeline.
    """
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    return normalise(interpolate(pixels, size=size, mode="bilinear", align_corners=False)[0].round_())
