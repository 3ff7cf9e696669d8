"""Embeddings that were computed before, on disk: rows of D numbers by key, in collections.

A collection is a folder of parts. Parts are only ever added, each written whole, so that a killed evaluation
loses what came after its last part and several processes can write at the same time.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cosmos.evaluation.images import digest
from cosmos.run.files import replacing

log = logging.getLogger(__name__)


class Cache(Protocol):
    """Where embeddings of one encoder are kept."""

    def read(self, collection: str) -> dict[str, Tensor]:
        """What is kept of a collection: rows (D,) by key."""

    def add(self, collection: str, keys: Sequence[str], rows: Tensor) -> None:
        """Keeps rows (N, D) under N keys."""


class NoCache:
    """Keeps nothing: for a model that will have changed the next time."""

    def read(self, collection: str) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def add(self, collection: str, keys: Sequence[str], rows: Tensor) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class CacheFolder:
    """Keeps embeddings of one encoder in a folder, which anyone may delete."""

    folder: Path

    def read(self, collection: str) -> dict[str, Tensor]:
        """What is kept of a collection: rows (D,) by key. A damaged part is passed over, with a warning."""
        rows: dict[str, Tensor] = {}
        for path in sorted(self._place(collection).glob("*.pt")):
            try:
                part = torch.load(path, weights_only=True)
                rows |= dict(zip(part["keys"], part["rows"], strict=True))
            except Exception:  # a damaged stream can end in any exception of the unpickler
                log.warning("%s: damaged; its embeddings are computed again", path)
        return rows

    def add(self, collection: str, keys: Sequence[str], rows: Tensor) -> None:
        """Keeps rows (N, D) under N keys, as a part of their own. What cannot be written is told, no more."""
        try:
            with replacing(self._place(collection) / f"{uuid.uuid4().hex}.pt") as temporary:
                torch.save({"keys": list(keys), "rows": rows}, temporary)
        except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
            log.warning("%s: embeddings cannot be kept (%s); make room", self.folder, error)

    def _place(self, collection: str) -> Path:
        return self.folder / digest([collection])
