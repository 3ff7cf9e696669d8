"""Values of images, kept beside the results that they belong to, in NumPy's zip archive.

A file is of one dataset and model. It has 4 bytes for each image and metric, or 1 where all are right or
wrong: 50,000 images by three metrics take 0.3 MB. The checksums of the archive show any damage; nothing in it
is unpickled. Nothing here imports torch.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosmos.config.disk_reading import open_regular
from cosmos.data.array_archive import read_arrays
from cosmos.errors import DamagedDataError
from cosmos.run.files import naming_disk_errors, replacing
from cosmos.run.records import parse_record
from cosmos.run.statistics.image_values import FloatArray, ImageValues


@dataclass(frozen=True)
class ValueFileHead:
    """Head of a file: the images, and the metrics that have an array of values each, in order."""

    image_set: str
    metrics: list[str]


def write_image_values(path: Path, values: ImageValues) -> None:
    """Write the values of images, whole or not at all."""
    head = json.dumps({"image_set": values.image_set, "metrics": [*values.by_metric]}).encode("ascii")
    columns: dict[str, Any] = {
        f"values_{number}": compact(column) for number, column in enumerate(values.by_metric.values())
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, head=np.frombuffer(head, np.uint8), **columns)


def compact(values: FloatArray) -> NDArray[Any]:
    """Return values as bytes where all are 0 or 1 but for rounding, or else in float32."""
    rounded = np.round(values)
    is_binary = np.all(np.abs(values - rounded) < 1e-9) and np.all((rounded == 0) | (rounded == 1))
    return rounded.astype(np.uint8) if is_binary else values.astype(np.float32)


def read_image_values(path: Path) -> ImageValues:
    """Return the values of images.

    Raises DamagedDataError for a damaged file, TransientError where the disk fails, and FileNotFoundError.
    """
    with naming_disk_errors(path), open_regular(path) as file:
        content = file.read()
    try:
        arrays = read_arrays(content)
        head = parse_record(arrays["head"].tobytes(), ValueFileHead)
        columns = [arrays[f"values_{number}"].astype(np.float64) for number in range(len(head.metrics))]
        if len({column.shape for column in columns}) > 1 or any(column.ndim != 1 for column in columns):
            raise ValueError("arrays of different lengths")
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedDataError(
            f"{path}: damaged ({error}); delete it, and evaluate its checkpoint again"
        ) from None
    return ImageValues(head.image_set, dict(zip(head.metrics, columns, strict=True)))
