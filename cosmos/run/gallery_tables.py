"""Galleries of a run as tables: galleries.json of its directory, from which they are shown in W&B."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from cosmos.run.directory import RunDir
from cosmos.run.files import write_json
from cosmos.run.records import read_record


@dataclass(frozen=True)
class GalleryPicture:
    """Picture in a cell of a table."""

    uri: str
    """data URI of its bytes"""
    text: str
    """description for those who cannot see it"""


GalleryCell = str | float | bool | GalleryPicture | None


@dataclass(frozen=True)
class GalleryTable:
    """Table of single samples: a model's answers on a dataset."""

    columns: Sequence[str]
    rows: Sequence[Sequence[GalleryCell]]


@dataclass(frozen=True)
class GalleryFile:
    """Contents of galleries.json."""

    tables: Mapping[str, GalleryTable]
    """tables by name, such as retrieval/heldout"""


def write_gallery_tables(run: RunDir, tables: Mapping[str, GalleryTable]) -> None:
    """Write the tables of a run's galleries, in place of earlier ones."""
    write_json(run.galleries, asdict(GalleryFile(tables)))


def read_gallery_tables(run: RunDir) -> Mapping[str, GalleryTable]:
    """Return the tables of a run's galleries. DamagedDataError where the file is damaged."""
    remedy = "delete it; `cosmos report` makes it again"
    return read_record(run.galleries, GalleryFile, "file of galleries", remedy).tables
