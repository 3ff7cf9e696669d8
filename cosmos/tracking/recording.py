"""Last step and end of the files in which Weights & Biases records a run for `wandb sync`.

W&B reports no error when it could not write one, and its processes may be killed while they do. The format is
LevelDB's log: after seven bytes, blocks of records that are whole or in parts, each after its checksum,
length and kind; a record is a protocol buffer.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cosmos.config.disk_reading import exists

START, BLOCK = 7, 32768
HEADER = struct.Struct("<IHB")
WHOLE, LAST = 1, 4
"""Kinds of parts that end a record."""


@dataclass(frozen=True)
class WandbRecording:
    """Last step and end of a recording."""

    step: int
    """last step of its curves; -1: none"""
    has_end: bool
    """True when it ends as the recording of a finished run does"""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file as far as it is whole; one that is missing counts as empty."""
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

        step, kind = -1, ""
        for content in split_records(file.read_bytes() if exists(file) else b""):
            try:
                record = Record.FromString(content)
            except DecodeError:  # of a damaged file, in which nothing more counts
                break
            kind = record.WhichOneof("record_type") or ""
            step = record.history.step.num if kind == "history" else step
        return cls(step, kind == "exit")


def split_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file, up to where it was cut."""
    at, parts = START, b""
    while at + HEADER.size <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER.size:  # padding
            at += left
            continue
        _, length, kind = HEADER.unpack_from(data, at)
        part = data[at + HEADER.size : at + HEADER.size + length]
        if kind == 0 or len(part) < length:
            return
        at += HEADER.size + length
        parts += part
        if kind in (WHOLE, LAST):
            yield parts
            parts = b""
