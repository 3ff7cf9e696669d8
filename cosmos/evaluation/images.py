"""Images of a dataset: files or samples of shards, read from disk when needed, or an array in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cosmos.config.disk_reading import open_regular
from cosmos.data.image_decoding import decode_image
from cosmos.data.shards.index import MAX_IMAGE_BYTES
from cosmos.data.shards.samples import ShardedSamples
from cosmos.errors import DamagedDataError
from cosmos.evaluation.dataset_files import convert_read_error, file_key, listing_hash


class Images(Protocol):
    """Images by index, read and decoded when asked for. Worker processes get copies."""

    @property
    def collection(self) -> str:
        """Name of the collection that they belong to, whose embeddings are cached together."""

    def __len__(self) -> int:
        """Return the number of images."""

    def key(self, index: int) -> str:
        """Return a key that no other image of the collection has, nor this one once it has changed."""

    def read(self, index: int) -> Image.Image:
        """Return the RGB image. Errors name it: DamagedDataError, InputError, TransientError."""


@dataclass(frozen=True)
class ImageFiles:
    """Images in files of their own, below one folder."""

    folder: Path
    paths: tuple[Path, ...]
    max_pixels: int

    @property
    def collection(self) -> str:
        """Path of the folder."""
        return str(self.folder.resolve())

    def __len__(self) -> int:
        return len(self.paths)

    def key(self, index: int) -> str:
        """Return the path below the folder, size and time of the last change."""
        return file_key(self.paths[index], self.folder)

    def read(self, index: int) -> Image.Image:
        """Return the RGB image. Errors name the file.

        Raises DamagedDataError for a file that is no image or too large, InputError for one that is missing,
        and TransientError where the disk or the network fails.
        """
        path = self.paths[index]
        try:
            if path.stat().st_size > MAX_IMAGE_BYTES:
                raise DamagedDataError(f"{path}: more than {MAX_IMAGE_BYTES} bytes")
            with open_regular(path) as file:
                content = file.read()
        except OSError as error:
            raise convert_read_error(error, path) from None
        try:
            return decode_image(content, self.max_pixels)
        except DamagedDataError as error:
            raise DamagedDataError(f"{path}: {error}") from None


def spread_numbers(total: int, count: int) -> range:
    """Return `count` numbers below `total` at equal distances, or all of fewer."""
    return range(0, total, max(1, total // count))[:count]


def image_listings(images: Images, keys: Sequence[str]) -> dict[Path, str]:
    """Return the hash of the names and sizes of image files by their folder; {} of other images."""
    return {images.folder: listing_hash(keys)} if isinstance(images, ImageFiles) else {}


@dataclass(frozen=True)
class ShardImages:
    """Images of a prepared split."""

    samples: ShardedSamples
    version: str
    """hash of the split's manifest"""
    max_pixels: int

    @property
    def collection(self) -> str:
        """Hash of the split's manifest."""
        return self.version

    def __len__(self) -> int:
        return len(self.samples)

    def key(self, index: int) -> str:
        """Return the place in the split."""
        return str(index)

    def read(self, index: int) -> Image.Image:
        """Return the RGB image. Raises DamagedDataError that names the shard and the sample."""
        sample = self.samples.read(index)
        try:
            return decode_image(sample.image, self.max_pixels)
        except DamagedDataError as error:
            raise DamagedDataError(f"{self.samples.locate(index, sample.key)}: {error}") from None


@dataclass(frozen=True, eq=False)
class PixelImages:
    """Images in one array of pixels."""

    collection: str
    """name of the array: two of the same name are the same"""
    pixels: NDArray[np.uint8]
    """(N, H, W, 3)"""

    def __len__(self) -> int:
        return len(self.pixels)

    def key(self, index: int) -> str:
        """Return the place in the array."""
        return str(index)

    def read(self, index: int) -> Image.Image:
        """Return the RGB image."""
        return Image.fromarray(self.pixels[index])
