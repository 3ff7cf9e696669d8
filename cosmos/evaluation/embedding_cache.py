"""Cache of embeddings on disk: rows of D numbers by key, in collections.

A collection is a folder of parts. Parts are only ever added, each written whole, so that a killed evaluation
loses no more than it computed after its last part, and several processes can write at the same time. A part
is NumPy's zip archive, whose checksums show any damage of it when it is read; nothing in it is unpickled.
It names the encoder and the collection that it is of, since those of others have the same keys and shapes.
"""

import json
import logging
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cosmos.config.disk_reading import find_paths, open_regular
from cosmos.data.array_archive import read_arrays
from cosmos.errors import DamagedDataError
from cosmos.evaluation.dataset_files import convert_read_error
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.run.files import replacing

logger = logging.getLogger(__name__)

PART_SUFFIX = ".npz"


class EmbeddingCache(Protocol):
    """Embeddings of one encoder that were computed before."""

    def read(self, collection: str) -> dict[str, Tensor]:
        """Return the rows (D,) of a collection by key."""

    def add(self, collection: str, keys: Sequence[str], rows: Tensor) -> None:
        """Add rows (N, D) under N keys to a collection."""


class NoCache:
    """Cache that is always empty, for a model whose weights will have changed the next time."""

    def read(self, collection: str) -> dict[str, Tensor]:
        """Return no rows."""
        return {}

    def add(self, collection: str, keys: Sequence[str], rows: Tensor) -> None:
        """Drop the rows."""


@dataclass(frozen=True)
class CacheFolder:
    """Cache in a folder, which anyone may delete."""

    folder: Path

    def read(self, collection: str) -> dict[str, Tensor]:
        """Return the rows (D,) of a collection by key. A damaged part is removed, with a warning.

        Raises TransientError where the disk fails: what cannot be read for now is not damaged.
        """
        rows: dict[str, Tensor] = {}
        for path in find_paths(self._collection_folder(collection), f"*{PART_SUFFIX}"):
            rows |= _read_part_if_whole(path)
        return rows

    def add(self, collection: str, keys: Sequence[str], rows: Tensor) -> None:
        """Write rows (N, D) under N keys as a part of a collection; log a warning where that fails."""
        try:
            path = self._collection_folder(collection) / f"{uuid.uuid4().hex}{PART_SUFFIX}"
            with replacing(path) as temporary, temporary.open("wb") as file:
                names = json.dumps(list(keys)).encode("ascii")
                owner = np.array(owner_of(path))
                np.savez(file, keys=np.frombuffer(names, np.uint8), rows=rows.numpy(), owner=owner)
        except OSError as error:
            logger.warning("%s: embeddings cannot be kept (%s); make room", self.folder, error)

    def _collection_folder(self, collection: str) -> Path:
        return self.folder / fingerprint_strings([collection])


def owner_of(part: Path) -> str:
    """Return the names of the folders of the encoder and the collection that a part lies in."""
    return "/".join(part.parts[-3:-1])


def _read_part_if_whole(path: Path) -> dict[str, Tensor]:
    """Return the rows of a part by key; {} for a part that is damaged, or was deleted in the meantime."""
    try:
        return read_part(path)
    except FileNotFoundError:
        return {}
    except DamagedDataError as error:
        logger.warning("%s; it is removed, and its embeddings are computed again", error)
        with suppress(OSError):
            path.unlink()
        return {}


def read_part(path: Path) -> dict[str, Tensor]:
    """Return the rows of a part of a collection by key.

    Raises DamagedDataError for a damaged one, and one of another encoder or collection (parts of earlier
    versions do not say), TransientError where the disk fails, and FileNotFoundError.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise convert_read_error(error, path) from None
    try:
        part = read_arrays(content)
        if str(part.get("owner", owner_of(path))) != owner_of(path):
            raise ValueError("of another model or dataset")
        keys, rows = json.loads(part["keys"].tobytes()), torch.from_numpy(part["rows"])
        return dict(zip(keys, rows, strict=True))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedDataError(f"{path}: damaged ({error})") from None
