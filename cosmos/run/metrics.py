"""Metrics of a training: metrics.jsonl of a run directory, one JSON object per line."""

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cosmos.run.files import naming_disk_errors, write_text

BLOCK = 1 << 16
"""Bytes of a metrics file that are read at a time, from its end."""


class MetricsWriter:
    """Writer that appends to a metrics file; `log` leaves no line in a buffer of this process."""

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        """Open the file at `path`; drop its lines of steps after `resume_step`, which will be logged again.

        Raises TransientError where the disk is full or fails.
        """
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] <= resume_step]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def log(self, values: dict[str, Any]) -> None:
        """Append one line; values that are not finite become null, since JSON has none such.

        Raises TransientError where the disk is full or fails.
        """
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        with naming_disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean) + "\n")


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
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._inode, self._offset, self.is_anew = status.st_ino, 0, True
            file.seek(self._offset)
            text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._offset += len(whole)
            return list(_parsed(whole.splitlines()))
        return []


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file; [] where there is none. Damaged lines are left out."""
    return list(_parsed(path.read_bytes().splitlines() if path.exists() else []))


def last_line_with(key: str, path: Path) -> dict[str, Any]:
    """Return the last line of a metrics file that has `key`; {} where none has."""
    return last_lines_with((key,), path).get(key, {})


def last_lines_with(keys: Iterable[str], path: Path) -> dict[str, dict[str, Any]]:
    """Return, for each key, the last line of a metrics file that has it; without keys that none has.

    Reads from the end of the file, and only until all keys are found.
    """
    wanted = {key: json.dumps(key).encode() for key in keys}
    lines: dict[str, dict[str, Any]] = {}
    for raw in _lines_backwards(path):
        if not any(quoted in raw for quoted in wanted.values()):
            continue
        line = next(iter(_parsed([raw])), {})
        for key in [key for key in wanted if key in line]:
            lines[key] = line
            del wanted[key]
        if not wanted:
            break
    return lines


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, the last first; none where there is no file."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        end, rest = file.seek(0, 2), b""
        while end:
            start = max(0, end - BLOCK)
            file.seek(start)
            rest, *lines = (file.read(end - start) + rest).split(b"\n")
            yield from reversed(lines)
            end = start
        yield rest


def _parsed(lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(json.JSONDecodeError, UnicodeDecodeError):
            values = json.loads(line)
            if isinstance(values, dict):
                yield values
