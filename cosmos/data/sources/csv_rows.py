"""Rows of CSV files, read with errors that name the line."""

import csv
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from cosmos.data.shards.index import MAX_ANNOTATION_BYTES
from cosmos.errors import InputError

_END = ["the end of the file\0"]
"""Row that is read after the last one, unless a double quote that was never closed swallows it."""


def csv_rows(path: Path | str, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) of each row; the cells of a blank line are [].

    Raises InputError, which names `path` and the line, for a double quote that is never closed and a cell of
    more than MAX_ANNOTATION_BYTES characters, which no caption has.
    """
    csv.field_size_limit(MAX_ANNOTATION_BYTES)  # of this process
    reader = csv.reader(chain(lines, [_END[0]]))
    line = 1
    try:
        for row in reader:
            if row == _END:
                return
            if row and row[-1].endswith(_END[0]):
                raise csv.Error("a double quote is never closed")
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {line}: {error}; is a double quote missing, or too many, in this row?"
        ) from None


def decoded_lines(path: Path, file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a text file without a mark of the byte order.

    Raises InputError, which names `path`, line and byte, where it is not in UTF-8.
    """
    for number, line in enumerate(file, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, line {number}: not in UTF-8 ({describe_byte(error)}); save the file as UTF-8"
            ) from None
        yield from StringIO(text, newline="")  # lines of an old Mac end in \r


def describe_byte(error: UnicodeDecodeError) -> str:
    """Return the byte that is no UTF-8, and its place."""
    return f"byte {error.start + 1} is 0x{error.object[error.start]:02x}"
