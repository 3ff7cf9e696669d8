"""An image-caption pair as it lies in a shard."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """An encoded image and its annotation, in one of the forms of `manifest.CaptionSchema`."""

    key: str
    """name, unique in its split"""
    image: bytes
    """an encoded image: JPEG, PNG, WebP, ..."""
    annotation: dict[str, Any]
