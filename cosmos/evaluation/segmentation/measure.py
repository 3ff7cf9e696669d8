"""Measures the segmentation of a dataset: images are read and resized, windows encoded, pixels counted."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from cosmos.config.evaluate_params import Attention, SegmentationProtocol
from cosmos.data.image_crops import MAX_ASPECT, normalise
from cosmos.data.shard_index import MAX_IMAGE_BYTES
from cosmos.distributed.exchange import on_every_rank
from cosmos.distributed.group import rank, world_size
from cosmos.errors import DamagedDataError, InputError
from cosmos.evaluation.card import Figures, SegmentedImage
from cosmos.evaluation.embed import NOT_FINITE, Embedder, Encoder, progress, sound
from cosmos.evaluation.images import Images
from cosmos.evaluation.prompts import IMAGENET_TEMPLATES
from cosmos.evaluation.segmentation.metrics import (
    IGNORED,
    confusion,
    cut_windows,
    predict,
    segmentation_logits,
    segmentation_metrics,
)

logger = logging.getLogger(__name__)

MAX_LONG_SIDE = 2048
"""Pixels that a long side is resized to at most."""

NUM_PICTURES = 8
"""Images that are shown of a dataset."""

MASK_FORMATS = ("PNG", "BMP", "TIFF")
"""Formats of masks: those that keep every label."""

MASK_MODES = ("1", "L", "P", "I", "I;16")
"""Pillow's modes with one number per pixel; a palette's is the place in it."""


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
    """what each class is called in results"""
    protocol: SegmentationProtocol


def measure(dataset: SegmentationDataset, attention: Sequence[Attention], embedder: Embedder) -> Figures:
    """<attention>_mIoU, _accuracy and _IoU/<class>, for every kind of attention in one pass.

    In a process group each rank takes its share of the images. Raises ValueError that names the image or mask
    that cannot be read or does not fit.
    """
    window, short_side = embedder.encoder.image_size, dataset.protocol.short_side
    if short_side < window and rank() == 0:
        logger.warning(
            "%s: images are enlarged to the %d pixels that the model sees: short_side is %d",
            *(dataset.name, window, short_side),
        )
    queries = _queries(dataset, embedder)
    counts = torch.stack(on_every_rank(lambda: _confusions(dataset, attention, embedder, queries))).sum(dim=0)
    try:
        found = [segmentation_metrics(matrix, dataset.names) for matrix in counts]
    except ValueError as error:
        raise InputError(f"{dataset.name}: {error}") from None
    return {
        f"{kind}_{name}": value
        for kind, metrics in zip(attention, found, strict=True)
        for name, value in metrics.items()
    }


def pictures(
    dataset: SegmentationDataset, attention: Sequence[Attention], embedder: Embedder
) -> list[SegmentedImage]:
    """Some images of a dataset, and their pixels' classes by the first kind of attention."""
    some = range(0, len(dataset.images), max(1, len(dataset.images) // NUM_PICTURES))[:NUM_PICTURES]
    queries = _queries(dataset, embedder)

    def found() -> list[SegmentedImage]:
        predictions = _predictions(dataset, attention[:1], embedder, queries, some)
        return [
            SegmentedImage(dataset.images.read(number), sample.labels, predicted.cpu(), dataset.names)
            for number, (sample, (predicted,)) in zip(some, predictions, strict=True)
        ]

    return on_every_rank(found)[0]


def _queries(dataset: SegmentationDataset, embedder: Embedder) -> Tensor:
    """Embeddings of the query words, (Q, D)."""
    return embedder.classes([word for words in dataset.classes for word in words], IMAGENET_TEMPLATES)


def _confusions(
    dataset: SegmentationDataset, attention: Sequence[Attention], embedder: Embedder, queries: Tensor
) -> Tensor:
    """(attention, C, C) int64 on the CPU: confusion matrices of this rank's images."""
    mine, num_classes = range(len(dataset.images))[rank() :: world_size()], len(dataset.classes)
    device = embedder.encoder.device
    counts = torch.zeros(len(attention), num_classes, num_classes, dtype=torch.long, device=device)
    with progress("images", len(mine), embedder.quiet) as advance:
        for sample, predictions in _predictions(dataset, attention, embedder, queries, mine):
            labels = sample.labels.to(device)
            for count, predicted in zip(counts, predictions, strict=True):
                count += confusion(labels, predicted, num_classes)
            advance(1)
    return counts.cpu()


def _predictions(
    dataset: SegmentationDataset,
    attention: Sequence[Attention],
    embedder: Embedder,
    queries: Tensor,
    indices: Sequence[int],
) -> Iterator[tuple["_Sample", list[Tensor]]]:
    """Images at these places, each with its pixels' classes (H, W) by every kind of attention."""
    encoder, machine = embedder.encoder, embedder.machine
    loader: DataLoader[_Sample | DamagedDataError] = DataLoader(
        _Samples(dataset, indices, encoder.image_size),
        batch_size=None,
        num_workers=machine.workers,
        generator=torch.Generator(),
    )
    num_queries = [len(words) for words in dataset.classes]
    windows = _encoded_windows(sound(loader), attention, encoder, queries, embedder.window_batch_size)
    for sample, patches in _by_sample(windows):
        logits = (
            segmentation_logits(kind, sample.resized, encoder.image_size, sample.size)
            for kind in patches.unbind(1)
        )
        yield sample, [predict(one, num_queries, dataset.protocol) for one in logits]


def _encoded_windows(
    samples: Iterable["_Sample"],
    attention: Sequence[Attention],
    encoder: Encoder,
    queries: Tensor,
    batch_size: int,
) -> Iterator[tuple["_Sample", Tensor]]:
    """Every window of every sample, as the logits (attention, p, p, Q) of its patches.

    A batch takes windows of several images, or a part of one's.
    """
    columns = queries.T.to(encoder.device)
    windows = ((s, window) for s in samples for window in cut_windows(s.pixels, encoder.image_size))
    while batch := list(islice(windows, batch_size)):
        patches = encoder.encode_patches(torch.stack([window for _, window in batch]), attention)
        yield from zip((s for s, _ in batch), torch.stack(patches, dim=1) @ columns, strict=True)


def _by_sample(windows: Iterable[tuple["_Sample", Tensor]]) -> Iterator[tuple["_Sample", Tensor]]:
    """Each sample with the logits (windows, attention, p, p, Q) of all its windows.

    ValueError names the mask of an image whose logits are not finite.
    """
    for sample, group in groupby(windows, key=lambda pair: pair[0]):
        logits = torch.stack([window for _, window in group])
        if not logits.isfinite().all():
            raise InputError(f"the embedding of the image of {sample.mask} {NOT_FINITE}")
        yield sample, logits


@dataclass(frozen=True, eq=False)
class _Sample:
    """An image and its labels, as they are measured. Compared by identity."""

    mask: Path
    pixels: Tensor
    """(3, h, w) the resized image, normalised"""
    labels: Tensor
    """(H, W) int32 classes, IGNORED where none counts"""

    @property
    def resized(self) -> tuple[int, int]:
        """(h, w)."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.labels.shape[0], self.labels.shape[1]


class _Samples(Dataset[_Sample | DamagedDataError]):
    """Images and masks, read in a worker process, whose errors are returned: raised, they would be traces."""

    def __init__(self, dataset: SegmentationDataset, indices: Sequence[int], window: int) -> None:
        self._dataset, self._indices, self._window = dataset, indices, window

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> _Sample | DamagedDataError:
        number, dataset = self._indices[index], self._dataset
        mask = dataset.masks[number]
        try:
            image = dataset.images.read(number)
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise DamagedDataError(f"the image of {mask} is more than {MAX_ASPECT} times as long as wide")
            labels = read_labels(mask, image.size, len(dataset.classes), dataset.protocol)
        except DamagedDataError as error:
            return error
        pixels = resize(image, resized_size(image.size, dataset.protocol.short_side, self._window))
        return _Sample(mask, pixels, labels)


def resized_size(size: tuple[int, int], short_side: int, window: int) -> tuple[int, int]:
    """(height, width) that an image of `size` (width, height) is resized to, its aspect kept.

    The short side gets `short_side` pixels, or fewer where the long side would exceed 2048; but never fewer
    than a window's.
    """
    short, long = min(size), max(size)
    scale = max(min(MAX_LONG_SIDE / long, short_side / short), window / short)
    width, height = (int(side * scale + 0.5) for side in size)
    return height, width


def resize(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """An RGB image -> (3, *size) float32, normalised.

    Bilinear without antialiasing and rounded to bytes, as OpenCV does it for the published pipeline.
    """
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    return normalise(interpolate(pixels, size=size, mode="bilinear", align_corners=False)[0].round_())


def read_labels(
    path: Path, size: tuple[int, int], num_classes: int, protocol: SegmentationProtocol
) -> Tensor:
    """Labels of a mask for an image of `size` (width, height): (H, W) int32, IGNORED where none counts.

    Raises DamagedDataError that names the mask: it cannot be decoded, has another size than the image or
    several numbers per pixel, or a label that is no class.
    """
    labels = torch.from_numpy(_read_mask(path, size))
    ignored = labels == protocol.ignore_label
    if protocol.zero_is_ignored:
        ignored |= labels == 0
        labels -= 1
    labels[ignored] = IGNORED
    wrong = labels[(labels < IGNORED) | (labels >= num_classes)]
    if wrong.numel():
        label = int(wrong[0]) + protocol.zero_is_ignored
        raise DamagedDataError(
            f"{path}: label {label} is none of the {num_classes} classes (is ignore_label "
            f"{protocol.ignore_label} or zero_is_ignored {protocol.zero_is_ignored} wrong?)"
        )
    return labels


def _read_mask(path: Path, size: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """The numbers in a mask, (H, W)."""
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise InputError(f"more than {MAX_IMAGE_BYTES} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=MASK_FORMATS) as mask:
                if mask.size != size:
                    raise InputError("it has {} x {} pixels, its image {} x {}".format(*mask.size, *size))
                if mask.mode not in MASK_MODES:
                    raise InputError(f"it is {mask.mode}, and no palette or greyscale image of labels")
                return np.array(mask, dtype=np.int32)
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        raise DamagedDataError(f"{path}: mask cannot be used: {error}") from error
