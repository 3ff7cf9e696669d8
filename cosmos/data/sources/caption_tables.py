"""DreamLIP's and PixelProse's tables of captions, a row per image: CSV, JSON lines or Parquet of any size."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from cosmos.config.disk_reading import exists, is_dir, open_regular
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_share
from cosmos.config.params import DataParams
from cosmos.data.captions import DREAMLIP_KEYS
from cosmos.data.manifest import CaptionSchema, Skipped
from cosmos.data.sample import Sample
from cosmos.data.shards.index import MAX_ANNOTATION_BYTES, unique_keys
from cosmos.data.sources.caption_files import locate_below, unreadable_file
from cosmos.data.sources.csv_rows import csv_rows, describe_byte
from cosmos.data.sources.img2dataset import Downloads, find_downloads
from cosmos.data.sources.inputs import (
    ByteSpan,
    OpenedSource,
    PairRecord,
    ParseAnnotation,
    read_pair,
    split_inputs,
)
from cosmos.errors import DamagedDataError, InputError, TransientError

LOCATION_COLUMNS = ("url", "image path", "image_path", "imagepath", "image", "path")
"""Names, in lower case, of the column of images' URLs or paths; the first that a table has counts."""

CAPTION_COLUMNS: dict[str, tuple[str, ...]] = {
    "dreamlip": DREAMLIP_KEYS,
    "pixelprose": ("original_caption", "vlm_caption"),
}

SCHEMA_COLUMNS: dict[str, tuple[str, ...]] = {
    "dreamlip": DREAMLIP_KEYS,
    "pixelprose": ("original_caption",),
}
"""Columns of captions of which a table must have one: `captions.caption_form` detects the schema by them."""

logger = logging.getLogger(__name__)


def open_caption_table(params: DataParams, machine: Machine, schema: CaptionSchema) -> OpenedSource:
    """List the images in `data.images` that `data.annotations` has a row for.

    A row's location is a URL that img2dataset downloaded, or a path below `data.images`. Downloads without a
    row and rows without a location are skipped inputs. Rows whose URL was never downloaded, since links die,
    and those of an image that had a row before are only counted in the log. Takes a few hundred bytes of
    memory per row, and for Parquet a copy below the machine's cache_root.

    Raises InputError that names the file and what is wrong with it, TransientError when a disk fails.
    """
    published, folder = machine.source(params.annotations), machine.source(params.images)
    table, scratch = published, tuple[Path, ...]()
    if published.suffix == ".parquet" or is_dir(published):
        # Importing pyarrow takes a third of a second, also in every process that writes shards.
        from cosmos.data.sources.parquet_tables import checksum_file, copy_as_json_lines

        columns = partial(_columns_to_copy, schema=schema)
        # Deleted once the dataset is prepared, so that no other dataset may use it.
        owner = f"{(machine.data_root / params.name).absolute()}:{schema}"
        table = copy_as_json_lines(published, machine.cache_root / "tables", owner, columns)
        scratch = (table, checksum_file(table))
    located = locate_rows(table, schema)
    rows = located.places
    if not rows:
        raise InputError(f"{published}: no row has a URL or path of an image; correct data.annotations")
    downloads = find_downloads(folder)
    _check_archives(folder, downloads, params.max_skipped)
    records, skipped = _join(rows, folder, downloads)
    skipped += [
        Skipped(f"{published}: row {number}", "no URL or path of an image") for number in located.empty
    ]
    if located.num_repeated:
        logger.info("%s: %d rows repeat the image of a row before them", published, located.num_repeated)
    if not records:
        raise InputError(
            f"{folder}: holds none of the images that {published} names; set data.images to the folder that "
            "img2dataset wrote into"
        )
    if missing := len(rows) - len(records):
        logger.info("%s: %d of %d rows have no image in %s", published, missing, len(rows), folder)
    read = partial(_read_row, table, schema, _parser(table))
    return OpenedSource(schema, split_inputs(records, params), read, tuple(skipped), scratch)


@dataclass
class LocatedRows:
    """Places of a table's rows by the URL or path of the image, of which the first row counts."""

    places: dict[str, ByteSpan] = field(default_factory=dict)
    empty: list[int] = field(default_factory=list)
    """numbers, from 1, of rows without a URL or path"""
    num_repeated: int = 0
    """rows of an image that had one before"""

    def add(self, number: int, location: Any, place: ByteSpan) -> None:
        """Add row `number`."""
        name = location.strip() if isinstance(location, str) else ""
        if not name:
            self.empty.append(number)
        elif self.places.setdefault(name, place) is not place:
            self.num_repeated += 1


def locate_rows(table: Path, schema: CaptionSchema) -> LocatedRows:
    """Return the place of each image's row in the table.

    Raises InputError that names the file, and the line or columns, when it is no CSV or JSON lines with these
    captions; TransientError when the disk fails.
    """
    try:
        if table.suffix == ".jsonl":
            return _locate_json_lines(table, schema)
        if table.suffix == ".csv":
            return _locate_csv_rows(table, schema)
    except OSError as error:
        raise unreadable_file(table, error, "correct data.annotations") from None
    raise InputError(
        f"{table}: expected a .csv, .jsonl or .parquet file, or a folder of .parquet files; correct "
        "data.annotations"
    )


def _check_archives(folder: Path, downloads: Downloads, max_skipped: float) -> None:
    """Raise DamagedDataError when too many archives are broken: nobody knows how many samples one holds."""
    broken, number = downloads.broken, len(downloads.archives)
    if len(broken) > max_skipped * number:
        raise DamagedDataError(
            f"{folder}: {len(broken)} of {number} archives cannot be read whole, more than data.max_skipped"
            f" allows ({format_share(max_skipped)}); the first is {broken[0].reason}; download them again"
        )


def _join(
    rows: dict[str, ByteSpan], folder: Path, downloads: Downloads
) -> tuple[list[PairRecord], list[Skipped]]:
    """Return rows and the images in `folder` as records, in the order of the images, and skipped inputs."""
    places: list[tuple[str, ByteSpan, ByteSpan]] = []
    skipped, used = [*downloads.skipped, *downloads.broken], set()
    for url, key, image in downloads.images:
        if url not in rows:
            skipped.append(Skipped(f"{image.path}: {key}", f"no row for {url}"))
        elif url not in used:
            used.add(url)
            places.append((key, image, rows[url]))
    for location, row in rows.items():
        if "://" not in location:
            try:
                places.append((location, ByteSpan(str(locate_below(folder, location))), row))
            except InputError as error:
                skipped.append(Skipped(location, str(error)))
    named = {image.path for _, image, _ in places}
    lonely = [str(path) for path in downloads.lonely if str(path) not in named]
    if downloads.images:
        skipped += (
            Skipped(path, "no row names it, and no .json of its name is beside it") for path in lonely
        )
    elif lonely:
        logger.info("%s: %d images have no row", folder, len(lonely))
    keys = unique_keys(key for key, _, _ in places)
    return [PairRecord(key, image, row) for key, (_, image, row) in zip(keys, places, strict=True)], skipped


def _locate_csv_rows(table: Path, schema: CaptionSchema) -> LocatedRows:
    located = LocatedRows()
    with open_regular(table) as file:
        rows = enumerate(_csv_places(table, file))
        _, (header, _) = next(rows, (0, ([], None)))
        column = header.index(_location_column(table, header, schema))
        for number, (row, place) in rows:
            located.add(number, row[column] if len(row) > column else "", place)
    return located


def _csv_places(table: Path, file: BinaryIO) -> Iterator[tuple[list[str], ByteSpan]]:
    """Yield (cells, place) of each row that is not blank."""
    end = start = 0

    def lines() -> Iterator[str]:
        nonlocal end
        for _, size, line in _lines(table, file):
            end += size
            yield line.decode("utf-8", "replace")

    for _, row in csv_rows(table, lines()):
        if row:
            yield row, ByteSpan(str(table), start, end - start)
        start = end


def _locate_json_lines(table: Path, schema: CaptionSchema) -> LocatedRows:
    located = LocatedRows()
    with open_regular(table) as file:
        for number, (offset, size, line) in enumerate(_lines(table, file), 1):
            if line.strip():
                row = _json_row(f"{table}, line {number}", line)
                location = row.get(_location_column(table, list(row), schema))
                located.add(number, location, ByteSpan(str(table), offset, size))
    return located


def _json_row(where: str, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error}); correct or remove the line") from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: expected an object; correct or remove the line")
    return row


def _lines(table: Path, file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield (offset, size, line) of each line, in bytes; without a mark of the byte order in the first."""
    offset = 0
    while line := file.readline(MAX_ANNOTATION_BYTES + 1):
        if len(line) > MAX_ANNOTATION_BYTES:
            raise InputError(
                f"{table}: a line is longer than {MAX_ANNOTATION_BYTES} bytes; is it a text file?"
            )
        yield offset, len(line), line.removeprefix(b"\xef\xbb\xbf") if offset == 0 else line
        offset += len(line)


def _location_column(table: Path, columns: list[str], schema: CaptionSchema) -> str:
    lower = {column.strip().lower(): column for column in columns}
    location = next((lower[name] for name in LOCATION_COLUMNS if name in lower), None)
    if location is None or not any(name in columns for name in SCHEMA_COLUMNS[schema]):
        raise InputError(
            f"{table}: expected a column of URLs or paths ({', '.join(LOCATION_COLUMNS)}) and columns of "
            f"captions ({', '.join(CAPTION_COLUMNS[schema])}); found {', '.join(columns):.200}"
        )
    return location


def _columns_to_copy(table: Path, columns: list[str], schema: CaptionSchema) -> list[str]:
    """Return the column of locations, and those of captions that the table has."""
    captions = [name for name in (*CAPTION_COLUMNS[schema], "caption") if name in columns]
    return [_location_column(table, columns, schema), *captions]


def _read_row(table: Path, schema: CaptionSchema, parse: ParseAnnotation, record: PairRecord) -> Sample:
    """Return the sample of a row. Raises as `read_pair`, and TransientError when the whole table is gone."""
    try:
        return read_pair(record, schema, parse)
    except DamagedDataError:
        if exists(table):
            raise
        raise TransientError(f"{table}: was removed meanwhile; give the same command again") from None


def _parser(table: Path) -> ParseAnnotation:
    """Return the function that parses a row of the table, cut out of it."""
    if table.suffix == ".jsonl":
        return _parse_json_row
    with open_regular(table) as file:
        return partial(_parse_csv_row, next(_csv_places(table, file))[0])


def _parse_json_row(path: str, content: bytes) -> Any:
    try:
        return _json_row(path, content)
    except InputError as error:  # the file is another than when its rows were located
        raise DamagedDataError(str(error)) from None


def _parse_csv_row(header: list[str], path: str, content: bytes) -> Any:
    try:
        text = content.decode("utf-8")
        _, cells = next(csv_rows("the row", io.StringIO(text, newline="")), (1, []))
    except UnicodeDecodeError as error:
        raise DamagedDataError(
            f"a row that is not in UTF-8 ({describe_byte(error)}): {content[:80]!r}"
        ) from None
    except InputError as error:  # the file is another than when its rows were located
        raise DamagedDataError(str(error)) from None
    if len(cells) != len(header):
        raise DamagedDataError(
            f"a row of {len(cells)} cells below a header of {len(header)}: {cells[:1]!r:.100}"
        )
    return dict(zip(header, cells, strict=True))
