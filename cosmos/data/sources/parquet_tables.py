"""Tables of captions in Parquet, as PixelProse publishes them, copied to JSON lines for random access.

Samples are read in shuffled order, and a row of Parquet only with all of its row group: each shard would
decode the whole table. So the columns that matter are copied once, a few rows in memory at a time.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from cosmos.data.shards.index import MAX_ANNOTATION_BYTES
from cosmos.data.sources.caption_files import unreadable_file
from cosmos.errors import InputError
from cosmos.run.files import replacing

SUFFIX = ".parquet"

ROWS_AT_A_TIME = 1024
BUFFER_BYTES = 2**20
"""Bytes of each column that are read at a time; row groups may be far larger than the memory."""

ChooseColumns = Callable[[Path, list[str]], list[str]]
"""(file, names of its columns) -> the columns to copy, that of locations first; raises InputError"""


def parquet_files(table: Path) -> list[Path]:
    """Return `table`, or the .parquet files in it, sorted. Raises InputError when there are none."""
    files = sorted(table.rglob(f"*{SUFFIX}")) if table.is_dir() else [table]
    if not files:
        raise InputError(f"{table}: holds no {SUFFIX} files; correct data.annotations")
    return files


def copy_as_json_lines(table: Path, folder: Path, choose_columns: ChooseColumns) -> Path:
    """Write rows that have a location to a file of JSON lines in `folder`, unless it is there; return it.

    Its name stands for paths, sizes and times of change of the files in `table`. Raises InputError that names
    the file, and the columns or row, of a table in another form, TransientError when a disk fails or is full.
    """
    files = parquet_files(table)
    copy = folder / f"{_digest(files)}.jsonl"
    if not copy.exists():
        with replacing(copy) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as lines:
            for path in files:
                lines.writelines(_json_lines(path, choose_columns))
    return copy


def _digest(files: Sequence[Path]) -> str:
    try:
        states = [(path, path.stat()) for path in files]
    except OSError as error:
        raise unreadable_file(files[0], error, "correct data.annotations") from None
    names = "\0".join(f"{path.absolute()}:{state.st_size}:{state.st_mtime_ns}" for path, state in states)
    return sha256(names.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _json_lines(path: Path, choose_columns: ChooseColumns) -> Iterator[str]:
    for number, (location, row) in enumerate(_rows(path, choose_columns)):
        if not isinstance(location, str) or not location.strip():
            continue
        line = json.dumps(row, ensure_ascii=False) + "\n"
        if len(line.encode()) > MAX_ANNOTATION_BYTES:
            raise InputError(f"{path}: row {number} has more than {MAX_ANNOTATION_BYTES} bytes; remove it")
        yield line


def _rows(path: Path, choose_columns: ChooseColumns) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield (location, chosen columns) of each row."""
    try:
        with path.open("rb") as file:
            table = parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
            columns = choose_columns(path, table.schema_arrow.names)
            _check_text(path, table.schema_arrow, columns)
            for batch in table.iter_batches(ROWS_AT_A_TIME, columns=columns, use_threads=False):
                yield from ((row[columns[0]], row) for row in batch.to_pylist())
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _no_parquet(path, error) from None
    except OSError as error:
        if error.errno is None:  # pyarrow's, for pages that it cannot decode
            raise _no_parquet(path, error) from None
        raise unreadable_file(path, error, "correct data.annotations") from None


def _check_text(path: Path, schema: Any, columns: Sequence[str]) -> None:
    """Raise InputError for a column that holds neither text nor lists of text."""
    for name in columns:
        kind = schema.field(name).type
        values = kind.value_type if pa.types.is_list(kind) or pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_null(values)):
            raise InputError(f"{path}: column {name} holds {kind}, not text; correct data.annotations")


def _no_parquet(path: Path, error: Exception) -> InputError:
    problem = " ".join(str(error).split())
    return InputError(f"{path}: not a whole Parquet file ({problem}); was it downloaded whole?")
