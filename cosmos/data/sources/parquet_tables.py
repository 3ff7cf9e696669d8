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

from cosmos.config.disk_reading import exists, is_dir, open_regular
from cosmos.data.folders import walk_files
from cosmos.data.shards.index import MAX_ANNOTATION_BYTES
from cosmos.data.sources.caption_files import unreadable_file
from cosmos.errors import InputError, convert_os_error, short_reason
from cosmos.run.abandoned_files import remove_abandoned
from cosmos.run.files import replacing, write_text
from cosmos.run.provenance import file_sha256

SUFFIX = ".parquet"

ROWS_AT_A_TIME = 1024
BUFFER_BYTES = 2**20
"""Bytes of each column that are read at a time; row groups may be far larger than the memory."""

ChooseColumns = Callable[[Path, list[str]], list[str]]
"""(file, names of its columns) -> the columns to copy, that of locations first; raises InputError"""


def parquet_files(table: Path) -> list[Path]:
    """Return `table`, or the .parquet files in it, sorted, without hidden ones.

    Raises InputError when there are none, TransientError when the disk fails.
    """
    files = [table]
    if is_dir(table):
        files = sorted(path for path in walk_files(table) if path.suffix.lower() == SUFFIX)
    if not files:
        raise InputError(f"{table}: holds no {SUFFIX} files; correct data.annotations")
    return files


def copy_as_json_lines(table: Path, folder: Path, owner: str, choose_columns: ChooseColumns) -> Path:
    """Write the rows to a file of JSON lines in `folder`, unless it is there and whole; return it.

    Its name stands for the `owner`, who may delete it, and for paths, sizes and times of change of the files
    in `table`. Other copies of the owner's are removed, and what killed processes left.

    Raises InputError that names the file, and the columns or row, of a table in another form, or a folder
    that cannot be written to; TransientError when a disk fails or is full.
    """
    files = parquet_files(table)
    name = _digest([owner])
    copy = folder / f"{name}-{_digest(list(map(_describe_state, files)))}.jsonl"
    if not _is_whole(copy):
        remove_abandoned(folder)
        for other in folder.glob(f"{name}-*"):
            other.unlink(missing_ok=True)
        try:
            with replacing(copy) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as lines:
                for path in files:
                    lines.writelines(_json_lines(path, choose_columns))
            write_text(checksum_file(copy), file_sha256(copy))
        except OSError as error:
            message = f"{copy}: cannot be written ({error.strerror})"
            raise convert_os_error(error, message, InputError, "correct the machine's cache_root") from None
    return copy


def checksum_file(copy: Path) -> Path:
    """Return the path of the file beside a copy that has its SHA-256."""
    return copy.with_suffix(".sha256")


def _is_whole(copy: Path) -> bool:
    checksum = checksum_file(copy)
    return exists(copy) and exists(checksum) and checksum.read_bytes() == file_sha256(copy).encode()


def _digest(parts: Sequence[str]) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _describe_state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError as error:
        raise unreadable_file(path, error, "correct data.annotations") from None
    return f"{path.absolute()}:{state.st_size}:{state.st_mtime_ns}"


def _json_lines(path: Path, choose_columns: ChooseColumns) -> Iterator[str]:
    for number, row in enumerate(_rows(path, choose_columns)):
        line = json.dumps(row, ensure_ascii=False) + "\n"
        if len(line.encode()) > MAX_ANNOTATION_BYTES:
            raise InputError(f"{path}: row {number} has more than {MAX_ANNOTATION_BYTES} bytes; remove it")
        yield line


def _rows(path: Path, choose_columns: ChooseColumns) -> Iterator[dict[str, Any]]:
    """Yield the chosen columns of each row."""
    try:
        with open_regular(path) as file:
            table = parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
            columns = choose_columns(path, table.schema_arrow.names)
            _check_text(path, table.schema_arrow, columns)
            for batch in table.iter_batches(ROWS_AT_A_TIME, columns=columns, use_threads=False):
                yield from batch.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _no_parquet(path, error) from None
    except OSError as error:
        if error.errno is None:  # pyarrow's, for pages that it cannot decode
            raise _no_parquet(path, error) from None
        raise unreadable_file(path, error, "correct data.annotations") from None


def _check_text(path: Path, schema: Any, columns: Sequence[str]) -> None:
    """Raise InputError for a column that holds neither text nor lists of text, or is there twice."""
    types = pa.types
    for name in columns:
        if schema.names.count(name) > 1:
            raise InputError(f"{path}: two columns are named {name}; rename one of them")
        kind = schema.field(name).type
        is_nested = types.is_list(kind) or types.is_large_list(kind) or types.is_dictionary(kind)
        values = kind.value_type if is_nested else kind
        is_text = types.is_string(values) or types.is_large_string(values) or types.is_string_view(values)
        if not is_text and not types.is_null(values):
            raise InputError(f"{path}: column {name} holds {kind}, not text; correct data.annotations")


def _no_parquet(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a whole Parquet file ({short_reason(error)}); was it downloaded whole?")
