"""Inputs of shards: an opened source, the files of an image and its captions, and how they are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cosmos.config.disk_reading import open_regular
from cosmos.config.params import DataParams
from cosmos.data.captions import caption_form, captions_in
from cosmos.data.manifest import CaptionSchema, Skipped
from cosmos.data.sample import Sample
from cosmos.data.shards.index import MAX_ANNOTATION_BYTES, MAX_IMAGE_BYTES
from cosmos.data.shards.samples import annotation_bytes
from cosmos.errors import DamagedDataError, InputError, convert_os_error

NUM_PROBED = 1000
"""Records among which the schema of the captions is detected."""


class SourceInput(Protocol):
    """An input of a source: cheap to pickle, named for people."""

    @property
    def name(self) -> str:
        """Name of the input, for people."""
        ...


@dataclass(frozen=True)
class OpenedSource:
    """Inputs of each split of a source, in the order of the shards, and the function that reads one."""

    schema: CaptionSchema
    splits: dict[str, Sequence[SourceInput]]
    read: Callable[[Any], Sample]
    """input -> sample; raises DamagedDataError that names the input, TransientError. Can be pickled"""
    skipped: tuple[Skipped, ...] = ()
    """inputs that proved unusable while they were listed"""
    scratch: tuple[Path, ...] = ()
    """files that `read` needs, and nobody once the shards are written"""


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """A file, or `size` of its bytes from `offset`."""

    path: str
    offset: int = 0
    size: int = -1

    def read(self, limit: int) -> bytes:
        """Return the bytes.

        Raises DamagedDataError when they are missing, may not be read, or are more than `limit`;
        TransientError when the disk fails.
        """
        try:
            with open_regular(Path(self.path)) as file:
                file.seek(self.offset)
                content = file.read(limit + 1 if self.size < 0 else min(self.size, limit + 1))
        except OSError as error:
            raise convert_os_error(error, f"{self.path}: {error.strerror}", DamagedDataError) from None
        if len(content) > limit:
            raise DamagedDataError(f"{self.path}: more than the {limit} bytes that are allowed")
        if len(content) < self.size:
            raise DamagedDataError(f"{self.path}: ends too early")
        return content


@dataclass(frozen=True, slots=True)
class PairRecord:
    """Place of an image, with its captions or the place of their annotation."""

    key: str
    image: ByteSpan
    captions: ByteSpan | tuple[str, ...]

    @property
    def name(self) -> str:
        """Path of the image's file, with the offset in it if that is a tar."""
        return self.image.path if self.image.size < 0 else f"{self.image.path} at byte {self.image.offset}"


ParseAnnotation = Callable[[str, bytes], Any]
"""(path, content of an annotation) -> what `captions.caption_form` takes; raises DamagedDataError"""


def read_pair(record: PairRecord, schema: CaptionSchema, parse: ParseAnnotation) -> Sample:
    """Return the sample that a record stands for.

    Raises DamagedDataError when a file or its captions are unusable, TransientError when the disk fails.
    """
    value = _caption_value(record, parse)
    try:
        annotation = captions_in(schema, value)
        annotation_bytes(annotation)
    except DamagedDataError as error:
        raise DamagedDataError(f"{record.name}: {error}") from None
    return Sample(record.key, record.image.read(MAX_IMAGE_BYTES), annotation)


def detect_schema(where: str, records: Sequence[PairRecord], parse: ParseAnnotation) -> CaptionSchema:
    """Return the schema of the first usable captions among the first NUM_PROBED records.

    Raises InputError, naming `where`, when there are none.
    """
    problem = "no inputs"
    for record in records[:NUM_PROBED]:
        try:
            return caption_form(_caption_value(record, parse))[0]
        except DamagedDataError as error:
            problem = f"{record.name}: {error}"
    raise InputError(f"{where}: found no image with captions ({problem}); is data.source right?")


def split_inputs(inputs: Sequence[SourceInput], params: DataParams) -> dict[str, Sequence[SourceInput]]:
    """Shuffle by `params.seed` and set `params.num_heldout` apart, as split `heldout` if there are any.

    Raises InputError when nothing is left to train on.
    """
    if not inputs:
        raise InputError(
            f"data.source: no images for {params.source}; are data.annotations and data.images right?"
        )
    if params.num_heldout >= len(inputs):
        raise InputError(
            f"data.num_heldout: {params.num_heldout} of {len(inputs)} samples leave none to train on"
        )
    order = np.random.default_rng(params.seed).permutation(len(inputs))
    shuffled = [inputs[i] for i in order]
    splits: dict[str, Sequence[SourceInput]] = {"train": shuffled[params.num_heldout :]}
    return splits | ({"heldout": shuffled[: params.num_heldout]} if params.num_heldout else {})


def _caption_value(record: PairRecord, parse: ParseAnnotation) -> Any:
    if not isinstance(record.captions, ByteSpan):
        return record.captions
    content = record.captions.read(MAX_ANNOTATION_BYTES)
    try:
        return parse(record.captions.path, content)
    except DamagedDataError as error:
        raise DamagedDataError(f"{record.captions.path}: {error}") from None
