"""Segmentation from embeddings of windows' patches, and its metrics: pure functions of tensors.

Windows overlap. Their patch logits are enlarged to the window, summed where windows lie in the resized image,
divided by the number of windows over a pixel, and resized to the ground truth. Every one of these steps is
linear, and acts on rows and columns apart (the number of windows over a pixel is a product of two), so that
the whole is M_y G M_x^T, with one matrix per axis and G the logits of all patches. Source of the protocol:
SCLIP.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cosmos.config.evaluate_params import SegmentationProtocol
from cosmos.config.figures import CLASS_IOU, MEAN_IOU, PIXEL_ACCURACY, Figures
from cosmos.errors import InputError

STRIP_ELEMENTS = 2**21
"""Number of logits that are held at once: few enough that queries x height x width never are."""

IGNORED_CLASS = -1
"""Class of pixels that do not count, whatever their label in the mask."""


def window_starts(length: int, window: int) -> list[int]:
    """Return the starts of windows along an axis: half a window apart, the last one moved inside.

    Raises InputError for an axis shorter than the window.
    """
    if length < window:
        raise InputError(f"{length} pixels are fewer than a window's {window}")
    stride = window // 2
    count = max(length - window + stride - 1, 0) // stride + 1
    return [min(i * stride, length - window) for i in range(count)]


def cut_windows(image: Tensor, window: int) -> Tensor:
    """Return the windows of an image, row by row: (3, H, W) -> (windows, 3, S, S) for windows of S pixels."""
    rows, columns = (window_starts(length, window) for length in image.shape[-2:])
    return torch.stack([image[:, y : y + window, x : x + window] for y in rows for x in columns])


@dataclass(frozen=True)
class SegmentationLogits:
    """Cosines of an image's pixels with Q queries, factored: rows x grid x columns."""

    grid: Tensor
    """(Q, K_y, K_x) cosines of the patches of all windows, in rows and columns of windows of patches"""
    rows: Tensor
    """(H, K_y) weight of each row of patches in each row of pixels"""
    columns: Tensor
    """(W, K_x) weight of each column of patches in each column of pixels"""

    def of_rows(self, start: int, stop: int) -> Tensor:
        """Return cosines of rows of pixels, (Q, stop - start, W)."""
        return self.rows[start:stop] @ self.grid @ self.columns.T

    def whole(self) -> Tensor:
        """Return cosines of all pixels at once, (Q, H, W), which takes memory."""
        return self.of_rows(0, len(self.rows))


def segmentation_logits(
    patches: Tensor, resized: tuple[int, int], window: int, size: tuple[int, int]
) -> SegmentationLogits:
    """Return logits at the ground truth's `size` (H, W), from those of the patches of `cut_windows`.

    `patches` (windows, p, p, Q) are of an image `resized` to (h, w), cut into windows of `window` pixels.
    """
    num_patches, num_queries = patches.shape[2:]
    rows, columns = (
        axis_map(length, window, num_patches, output).to(patches)
        for length, output in zip(resized, size, strict=True)
    )
    by_window = patches.reshape(-1, columns.shape[1] // num_patches, num_patches, num_patches, num_queries)
    grid = by_window.permute(4, 0, 2, 1, 3).reshape(num_queries, rows.shape[1], columns.shape[1])
    return SegmentationLogits(grid, rows, columns)


def axis_map(length: int, window: int, num_patches: int, output: int) -> Tensor:
    """Return the weight of each patch in each pixel along one axis, (output, windows x num_patches).

    Windows lie in `length` pixels, which are resized to `output`. Each row sums to 1.
    """
    enlarged, starts = resize_map(num_patches, window), window_starts(length, window)
    covering = torch.zeros(length, len(starts), num_patches)
    for i, start in enumerate(starts):
        covering[start : start + window, i] = enlarged
    mean = covering.flatten(1) / covering.sum(dim=(1, 2))[:, None]
    return resize_map(length, output) @ mean


def resize_map(length: int, output: int) -> Tensor:
    """Return linear interpolation as a matrix (output, length), as torch does it without corners aligned."""
    return interpolate(torch.eye(length)[None], size=output, mode="linear", align_corners=False)[0].T


def predict(logits: SegmentationLogits, num_queries: Sequence[int], protocol: SegmentationProtocol) -> Tensor:
    """Return the class of each pixel, (H, W). `num_queries`: number of each class, in the order of queries.

    A class's probability is the highest of its queries'. Without the classes that `area_thd` drops, pixels
    whose highest probability is below `prob_thd` become class 0.
    """
    kept = torch.ones(len(num_queries), dtype=torch.bool, device=logits.grid.device)
    if protocol.area_thd is not None:
        kept = _large_enough(logits, num_queries, protocol.area_thd)
    strips = []
    for strip in _strips(logits):
        best, classes = (
            _class_logits(strip, num_queries).masked_fill_(~kept[:, None, None], -torch.inf).max(0)
        )
        if protocol.prob_thd > 0:
            scaled = strip.mul_(protocol.logit_scale)
            probability = (protocol.logit_scale * best - scaled.logsumexp(dim=0)).exp()
            classes[probability < protocol.prob_thd] = 0
        strips.append(classes)
    return torch.cat(strips)


def _large_enough(logits: SegmentationLogits, num_queries: Sequence[int], threshold: float) -> Tensor:
    """Return True, (C), for class 0, and where the area is above `threshold` x that of all classes but 0."""
    areas = torch.zeros(len(num_queries), dtype=torch.long, device=logits.grid.device)
    for strip in _strips(logits):
        areas += _class_logits(strip, num_queries).argmax(dim=0).flatten().bincount(minlength=len(areas))
    kept = areas > threshold * areas[1:].sum()
    kept[0] = True
    return kept


def _strips(logits: SegmentationLogits) -> Iterator[Tensor]:
    """Yield cosines of strips of rows, (Q, rows, W), from the top to the bottom."""
    height, per_row = len(logits.rows), len(logits.grid) * len(logits.columns)
    at_once = max(1, STRIP_ELEMENTS // per_row)
    return (logits.of_rows(start, min(start + at_once, height)) for start in range(0, height, at_once))


def _class_logits(strip: Tensor, num_queries: Sequence[int]) -> Tensor:
    """Return the highest logit of each class's queries: (Q, rows, W) -> (C, rows, W)."""
    return torch.stack([queries.amax(dim=0) for queries in torch.split(strip, list(num_queries))])


def confusion(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Return the number of pixels of each class (row) by predicted class (column), (C, C) int64."""
    counted = labels != IGNORED_CLASS
    pairs = labels[counted].long() * num_classes + predicted[counted]
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


def hits_and_unions(confusion: Tensor) -> Tensor:
    """Return the pixels of each class that are predicted so, and those in either, (2, C), by (C, C)."""
    hits = confusion.diagonal()
    return torch.stack([hits, confusion.sum(dim=0) + confusion.sum(dim=1) - hits])


def segmentation_metrics(confusion: Tensor, names: Sequence[str]) -> Figures:
    """Return mIoU, pixel accuracy and each class's IoU/<name>, from a (C, C) confusion matrix.

    IoU = I / (P + L - I), of pixels predicted and labelled so. Classes that are neither labelled nor
    predicted have none, and mIoU is the mean without them. Raises InputError when no pixel has a label.
    """
    matrix = confusion.double()
    hits, total = matrix.diagonal(), matrix.sum()
    if not total:
        raise InputError("no pixel has a label; ignore_label or zero_is_ignored may be wrong")
    unions = matrix.sum(dim=0) + matrix.sum(dim=1) - hits
    present = unions.nonzero().flatten()
    shares = (hits / unions)[present]
    by_name = {
        CLASS_IOU.key(names[i]): share for i, share in zip(present.tolist(), shares.tolist(), strict=True)
    }
    return {MEAN_IOU.name: float(shares.mean()), PIXEL_ACCURACY.name: float(hits.sum() / total), **by_name}
