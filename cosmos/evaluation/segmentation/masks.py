"""Masks: image files that hold the label of each pixel."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cosmos.config.disk_reading import open_regular
from cosmos.config.evaluate_params import SegmentationProtocol
from cosmos.data.image_decoding import open_image
from cosmos.data.shards.index import MAX_IMAGE_BYTES
from cosmos.errors import DamagedDataError
from cosmos.evaluation.dataset_files import convert_read_error
from cosmos.evaluation.segmentation.metrics import IGNORED_CLASS

MASK_FORMATS = ("PNG", "BMP", "TIFF")
"""Image formats of masks: those that keep every label."""

MASK_MODES = ("1", "L", "P", "I", "I;16")
"""Pillow's modes with one number per pixel; a palette image's is the place in the palette."""


def read_mask_labels(
    path: Path, size: tuple[int, int], num_classes: int, protocol: SegmentationProtocol
) -> Tensor:
    """Return the classes of a mask for an image of `size` (width, height).

    They are (H, W) int32, IGNORED_CLASS where none counts. Errors name the mask: DamagedDataError where
    it cannot be decoded, has another size than the image or several numbers per pixel, or a label that is no
    class; InputError where it is missing, and TransientError where the disk or the network fails.
    """
    labels = torch.from_numpy(_read_mask(path, size))
    ignored = labels == protocol.ignore_label
    if protocol.zero_is_ignored:
        ignored |= labels == 0
        labels -= 1
    labels[ignored] = IGNORED_CLASS
    wrong = labels[(labels < IGNORED_CLASS) | (labels >= num_classes)]
    if wrong.numel():
        label = int(wrong[0]) + protocol.zero_is_ignored
        raise DamagedDataError(
            f"{path}: label {label} is none of the {num_classes} classes (is ignore_label "
            f"{protocol.ignore_label} or zero_is_ignored {protocol.zero_is_ignored} wrong?)"
        )
    return labels


def _read_mask(path: Path, size: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """Return the numbers in a mask, (H, W)."""
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise DamagedDataError(f"{path}: mask of more than {MAX_IMAGE_BYTES} bytes")
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise convert_read_error(error, path, "mask cannot be used") from None
    try:
        with open_image(content, MASK_FORMATS) as mask:
            _check_mask(mask, size)
            return np.array(mask, dtype=np.int32)
    except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
        raise DamagedDataError(f"{path}: mask cannot be used: {error}") from error


def _check_mask(mask: Image.Image, size: tuple[int, int]) -> None:
    """Raise DamagedDataError for a mask of another size, or with several numbers per pixel."""
    if mask.size != size:
        turned = ", which is taken as stored, not turned by EXIF" if mask.size == size[::-1] else ""
        raise DamagedDataError("it has {} x {} pixels, its image {} x {}".format(*mask.size, *size) + turned)
    if mask.mode not in MASK_MODES:
        raise DamagedDataError(f"it is {mask.mode}, and no palette or greyscale image of labels")
