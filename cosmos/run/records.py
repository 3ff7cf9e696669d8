"""Records: JSON files and lines of a stated shape, read with errors that name the file and the key."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from cosmos.config.disk_reading import NO_FILE, IrregularFileError, open_regular
from cosmos.errors import DamagedDataError, cut_reason, summarize_error
from cosmos.run.files import naming_disk_errors

Record = TypeVar("Record")

LONG_NUMBER = re.compile(rb"\d{400}")
"""Pattern of numbers that no float holds; Python refuses to print those of more than 4,300 digits."""

INFINITE = re.compile(rb"NaN|Infinity|[eE]\+?0*[1-9]\d\d")
"""Pattern of texts that may hold a number which is not finite: pydantic reads it, and no record has it."""


def read_record(path: Path, shape: type[Record], kind: str, remedy: str) -> Record:
    """Return the record in a JSON file as a `shape`: a dataclass, or any other type that pydantic validates.

    Keys that the shape does not have are ignored, so that records of later versions stay readable.
    Raises DamagedDataError ("PATH: not a KIND (reason); REMEDY") for other contents, whatever they are,
    FileNotFoundError where there is no file, and TransientError where the disk fails.
    """
    try:
        with naming_disk_errors(path), open_regular(path) as file:
            content = file.read()
        record = parse_record(content, shape)
        if INFINITE.search(content):
            json.loads(content, parse_constant=_finite_number, parse_float=_finite_number)
        return record
    except IrregularFileError:
        raise DamagedDataError(f"{path}: not a {kind} ({NO_FILE}); {remedy}") from None
    except ValueError as error:
        raise DamagedDataError(f"{path}: not a {kind} ({error}); {remedy}") from None


def _finite_number(text: str) -> float:
    """Return the number in a text. Raises ValueError for infinity and NaN."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def describe_problem(path: Path, error: Exception) -> str:
    """Return the error of a reader of `path` in a line, which names the file."""
    reason = " ".join(summarize_error(error).split())
    return reason if str(path) in reason else f"{path}: {reason}"


def parse_record(content: bytes, shape: type[Record]) -> Record:
    """Return the record in a text of JSON as a `shape`, as `read_record`.

    Raises ValueError, in a line that names the key, for a text that holds none: one of another shape, no
    JSON, nested too deep, or not UTF-8.
    """
    if LONG_NUMBER.search(content):
        raise ValueError("a number of 400 digits or more")
    try:
        return _adapter(shape).validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(shape: type[Record]) -> TypeAdapter[Record]:
    """Return the validator of a shape, which takes a millisecond to make."""
    if shape not in _adapters:
        _adapters[shape] = TypeAdapter(shape)
    return _adapters[shape]


def first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic has with a record, as a line: `key.of.it: reason`."""
    problem: dict[str, Any] = dict(error.errors(include_url=False, include_input=False)[0])
    place = ".".join(map(str, problem["loc"]))
    return cut_reason(f"{place}: {problem['msg']}" if place else problem["msg"])


class TolerantReader:
    """Reader of files that may be missing or damaged; `problems` has the errors of damaged ones."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, path: Path, read: Callable[[], Record], default: Record) -> Record:
        """Return the value of `read`, or `default` where its file is missing or damaged.

        The error of a damaged one is added to `problems`, with its `path`.
        """
        try:
            return read()
        except FileNotFoundError:
            return default
        except Exception as error:  # a damaged file may raise any error in its reader
            self.problems.append(describe_problem(path, error))
            return default
