"""Annotation files of perception datasets: SugarCrepe's, MMVP-VLM's and Winoground's."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from cosmos.data.captions import clean_caption
from cosmos.data.sources.caption_files import load_json_file, load_text_file
from cosmos.data.sources.csv_rows import csv_rows
from cosmos.errors import InputError


@dataclass(frozen=True)
class SugarCrepeEntry:
    """Entry of a SugarCrepe file."""

    image: str
    caption: str
    negative: str


@dataclass(frozen=True)
class MmvpStatement:
    """Row of MMVP's Questions.csv."""

    line: int
    number: int
    kind: str
    text: str


@dataclass(frozen=True)
class WinogroundExample:
    """Line of Winoground's examples.jsonl: two images and the caption of each."""

    images: tuple[str, str]
    captions: tuple[str, str]


def read_hard_negatives(path: Path) -> list[SugarCrepeEntry]:
    """Return the entries of a file `{id: {filename, caption, negative_caption}}`.

    InputError names file and entry.
    """
    content = load_json_file(path)
    if not isinstance(content, dict) or not content:
        raise InputError(
            f"{path}: expected an object of entries with filename, caption and negative_caption; is it the"
            " right file?"
        )
    return [_hard_negative(f"{path}: entry {name!r}", entry) for name, entry in content.items()]


def read_statements(path: Path) -> list[tuple[MmvpStatement, MmvpStatement]]:
    """Return pairs of statements in a CSV with columns id, type, statement: numbers 2k - 1 and 2k of a type.

    InputError names file and line of a row that is not in this form, or has no partner.
    """
    statements = list(_statements(path))
    by_number = {(statement.kind, statement.number): statement for statement in statements}
    if not statements:
        raise InputError(f"{path}: no statements in it; is it the right file?")
    for statement in statements:
        number, kind = statement.number, statement.kind
        if by_number[kind, number] is not statement:
            raise InputError(
                f"{path}, line {statement.line}: id {number} of type {kind!r:.80} is there twice; remove one"
            )
        if (kind, _partner(number)) not in by_number:
            raise InputError(
                f"{path}, line {statement.line}: id {number} of type {kind!r:.80} has no partner"
                f" {_partner(number)} of this type; add it, or remove the line"
            )
    return [(first, by_number[first.kind, first.number + 1]) for first in statements if first.number % 2]


def read_examples(path: Path) -> list[WinogroundExample]:
    """Return the examples of a file with a JSON object per line: image_0, image_1, caption_0, caption_1.

    Names of images may come without their .png. InputError names file and line.
    """
    lines = enumerate(load_text_file(path).split("\n"), 1)
    examples = [_example(f"{path}, line {number}", line) for number, line in lines if line.strip()]
    if not examples:
        raise InputError(f"{path}: no examples in it; is it the right file?")
    return examples


def _hard_negative(where: str, entry: Any) -> SugarCrepeEntry:
    filename = _string(where, entry, "filename")
    caption, negative = _string(where, entry, "caption"), _string(where, entry, "negative_caption")
    return SugarCrepeEntry(filename, clean_caption(caption), clean_caption(negative))


def _example(where: str, line: str) -> WinogroundExample:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:  # json raises both
        raise InputError(f"{where}: not JSON ({error}); was it downloaded whole?") from None
    first, second = (_with_suffix(_string(where, entry, key)) for key in ("image_0", "image_1"))
    caption, other = (clean_caption(_string(where, entry, key)) for key in ("caption_0", "caption_1"))
    return WinogroundExample((first, second), (caption, other))


def _with_suffix(name: str) -> str:
    return name if PurePosixPath(name).suffix else f"{name}.png"


def _string(where: str, entry: Any, key: str) -> str:
    """Return the string at `key` of an entry. Raises InputError when there is none, or an empty one."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {key} is {value!r:.80}; expected text, correct or remove the entry")
    return value


def _statements(path: Path) -> Iterator[MmvpStatement]:
    """Yield the rows of a CSV with columns id (or question id), type and statement; skip blank lines."""
    rows = csv_rows(path, StringIO(load_text_file(path)))
    header = [name.strip().lower() for name in next(rows, (1, []))[1]]
    columns = ["id" if name == "question id" else name for name in header]
    if sorted(columns) != ["id", "statement", "type"]:
        raise InputError(f"{path}, line 1: expected the columns id, type, statement, found {header!r:.200}")
    for line, row in rows:
        if row:
            yield _statement(path, line, columns, row)


def _statement(path: Path, line: int, columns: Sequence[str], row: Sequence[str]) -> MmvpStatement:
    values = dict(zip(columns, map(str.strip, row), strict=False))
    if len(row) != len(columns) or not all(values.values()):
        raise InputError(
            f"{path}, line {line}: expected id, type and statement, found {row!r:.200}; put statements that"
            " have commas in double quotes"
        )
    if not re.fullmatch("[0-9]{1,9}", values["id"]):
        raise InputError(f"{path}, line {line}: id is {values['id']!r:.80}; expected a number")
    return MmvpStatement(line, int(values["id"]), values["type"], values["statement"])


def _partner(number: int) -> int:
    return number + 1 if number % 2 else number - 1
