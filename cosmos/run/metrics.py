"""Metrics of a training: metrics.jsonl of a run directory, one JSON object per line.

A line has a step, and finite numbers or nulls by name; `evaluation` is an object of these. Any other line is
damaged: readers leave it out, a list of runs names its file, and a resume drops it and says so.

The figures of an evaluation beside training come when later steps are logged already; `read_metrics` returns
all lines in the order of their steps.
"""

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat

from cosmos.config.disk_reading import open_regular
from cosmos.run.files import naming_disk_errors, open_to_append, write_text
from cosmos.run.records import parse_record

logger = logging.getLogger(__name__)

MetricValue = Annotated[int, Field(ge=-(2**63), lt=2**63)] | FiniteFloat | None
LINE_SHAPE: Any = dict[str, MetricValue | dict[str, MetricValue]]
"""Shape of a line, as pydantic validates it."""

MAX_STEP = 2**53
"""Largest step of a line."""

BLOCK = 1 << 16
"""Bytes of a metrics file that are read at a time, from its end."""

MAX_LINE = 1 << 22
"""Bytes from which on no line is read backwards."""

EVALUATED = b'"evaluation"'
"""Key of the figures of an evaluation, as a line has it."""


class MetricsWriter:
    """Writer that appends to a metrics file; `log` leaves no line in a buffer of this process."""

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        """Open the file at `path`; drop its lines of steps after `resume_step`, which will be logged again.

        Damaged lines are dropped, too, with a warning. Raises TransientError where the disk is full or fails.
        """
        self.path = path
        written = MetricsLines.of(path)
        if written.damage:
            logger.warning("%s; dropped", written.damage)
        kept = [line for line in written.lines if line["step"] <= resume_step]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def log(self, values: dict[str, Any]) -> None:
        """Append one line; values that are not finite become null, since JSON has none such.

        Raises TransientError where the disk is full or fails.
        """
        with naming_disk_errors(self.path), open_to_append(self.path) as file:
            file.write(json.dumps(_with_nulls(values)) + "\n")


class MetricsTail:
    """Reader of the lines that a growing metrics file gets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_anew = False
        """True when the last call of `new_lines` read the file from its start"""
        self._inode = self._offset = 0

    def new_lines(self) -> list[dict[str, Any]]:
        """Return the whole lines that came since the last call; all of them where the file was replaced."""
        self.is_anew = False
        with suppress(FileNotFoundError), open_regular(self.path) as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._inode, self._offset, self.is_anew = status.st_ino, 0, True
            file.seek(self._offset)
            text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._offset += len(whole)
            return [line for raw in whole.split(b"\n") if (line := _parse_line(raw))]
        return []


@dataclass(frozen=True)
class MetricsLines:
    """Lines of a metrics file, and the damage among them."""

    lines: list[dict[str, Any]]
    """in the order in which they were logged"""
    damage: str
    """file and number of the damaged lines; "" where there are none"""

    @classmethod
    def of(cls, path: Path) -> "MetricsLines":
        """Read a file; one that is missing has no lines. A last line that a kill cut short is no damage."""
        content = b""
        with suppress(FileNotFoundError), open_regular(path) as file:
            content = file.read()
        *whole, last = content.split(b"\n")
        parsed = [_parse_line(raw) for raw in (*whole, last)]
        damaged = [number for number, line in enumerate(parsed[:-1], 1) if line is None]
        damage = f"{path}: damaged lines: {len(damaged)}, from line {damaged[0]} on" if damaged else ""
        return cls([line for line in parsed if line], damage)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file by their steps; [] without a file. Damaged ones are left out."""
    return sorted(MetricsLines.of(path).lines, key=lambda line: int(line["step"]))


def read_thinned_metrics(path: Path, num_lines: int) -> list[dict[str, Any]]:
    """Return lines of a metrics file by their steps: about `num_lines`, evenly spaced, and all evaluations.

    The last line of training is among them, but not one that is still written. Raises as `read_metrics`.
    """
    content = b""
    with suppress(FileNotFoundError), open_regular(path) as file:
        content = file.read()
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    trained = [raw for raw in lines if EVALUATED not in raw]
    stride = max(1, len(trained) // num_lines)
    chosen = [*trained[(len(trained) - 1) % stride :: stride], *(raw for raw in lines if EVALUATED in raw)]
    return sorted(filter(None, map(_parse_line, chosen)), key=lambda line: int(line["step"]))


@dataclass(frozen=True)
class LastLines:
    """Last lines of a metrics file that have some keys."""

    by_key: dict[str, dict[str, Any]]
    """lines by the key that they have; without keys that none has"""
    damage: str
    """file, where one of the lines that were read is damaged; "" otherwise"""


def last_line_with(key: str, path: Path) -> dict[str, Any]:
    """Return the last line of a metrics file that has `key`; {} where none has."""
    return last_lines_with((key,), path).by_key.get(key, {})


def last_lines_with(keys: Iterable[str], path: Path) -> LastLines:
    """Return, for each key, the last line of a metrics file that has it.

    Reads from the end of the file, and only until all keys are found.
    """
    wanted = {key: json.dumps(key).encode() for key in keys}
    lines: dict[str, dict[str, Any]] = {}
    damage = ""
    for number, raw in enumerate(_lines_backwards(path)):
        if _looks_whole(raw) and not any(quoted in raw for quoted in wanted.values()):
            continue
        line = _parse_line(raw)
        if line is None and number:  # what comes after the last line break may still be written
            damage = f"{path}: a damaged line is left out"
        for key in [key for key in wanted if line and key in line]:
            lines[key] = line or {}
            del wanted[key]
        if not wanted:
            break
    return LastLines(lines, damage)


def _with_nulls(value: Any) -> Any:
    """Return values by name with nulls in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _with_nulls(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _looks_whole(raw: bytes) -> bool:
    """Return True for a line that is empty, or begins and ends as an object does."""
    return not raw or (raw.startswith(b"{") and raw.endswith(b"}"))


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, the last first; none where there is no file."""
    with suppress(FileNotFoundError), open_regular(path) as file:
        end, rest = file.seek(0, 2), b""
        while end and len(rest) < MAX_LINE:
            start = max(0, end - BLOCK)
            file.seek(start)
            rest, *lines = (file.read(end - start) + rest).split(b"\n")
            yield from reversed(lines)
            end = start
        yield rest


def _parse_line(raw: bytes) -> dict[str, Any] | None:
    """Return the values of a line; {} for an empty one, None for one that is damaged."""
    if not raw.strip():
        return {}
    try:
        line: dict[str, Any] = parse_record(raw, LINE_SHAPE)
    except ValueError:
        return None
    step = line.get("step")
    has_step = isinstance(step, int) and 0 <= step <= MAX_STEP
    is_flat = all(isinstance(value, dict) == (key == "evaluation") for key, value in line.items())
    return line if has_step and is_flat else None
