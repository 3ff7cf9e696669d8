"""Cache of embeddings on disk: rows of D numbers by key, in collections.

A collection is a folder of parts. Parts are only ever added, each written whole, so that a killed evaluation
loses no more than it computed after its last part, and several processes can write at the same time.
"""

import io
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cosmos.evaluation.dataset_files import convert_read_error
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.run.files import replacing

logger = logging.getLogger(__name__)


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
        """Return the rows (D,) of a collection by key. A damaged part is skipped, with a warning.

        Raises TransientError where the disk fails: what cannot be read for now is not damaged.
        """
        rows: dict[str, Tensor] = {}
        for path in sorted(self._collection_folder(collection).glob("*.pt")):
            rows |= _read_part(path)
        return rows

    def add(self, collection: str, keys: Sequence[str], rows: Tensor) -> None:
        """Write rows (N, D) under N keys as a part of a collection; log a warning where that fails."""
        try:
            with replacing(self._collection_folder(collection) / f"{uuid.uuid4().hex}.pt") as temporary:
                torch.save({"keys": list(keys), "rows": rows}, temporary)
        except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
            logger.warning("%s: embeddings cannot be kept (%s); make room", self.folder, error)

    def _collection_folder(self, collection: str) -> Path:
        return self.folder / fingerprint_strings([collection])


def _read_part(path: Path) -> dict[str, Tensor]:
    """Return the rows of a part by key; {} for a part that is damaged, or was deleted in the meantime."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise convert_read_error(error, path) from None
    try:
        part = torch.load(io.BytesIO(content), weights_only=True)
        return dict(zip(part["keys"], part["rows"], strict=True))
    except Exception:  # a damaged stream can end in any exception of the unpickler
        logger.warning("%s: damaged; its embeddings are computed again", path)
        return {}
