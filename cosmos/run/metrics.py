"""metrics.jsonl: the record of a run, one JSON object per line."""

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cosmos.run.files import write_text

BLOCK = 1 << 16
"""Bytes of a metrics file that are read at a time, from its end."""


class MetricsWriter:
    """Appends to a metrics file; every line is on its way to disk when `log` returns."""

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        """Lines of steps after `resume_step` are dropped: they will be computed, and logged, again."""
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] <= resume_step]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def log(self, values: dict[str, Any]) -> None:
        """Appends one line. Values that are not finite become null: JSON has no word for them."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean) + "\n")


class MetricsTail:
    """The lines that a growing metrics file has got since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_anew = False
        """whether the last look told all of the file: it was the first, or the file was written anew"""
        self._inode = self._offset = 0

    def news(self) -> list[dict[str, Any]]:
        """Those that are whole, since the last look; all of them again where the file was written anew."""
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
    """The lines of a metrics file; [] where there is none. A last line that was cut short is left out."""
    return list(_parsed(path.read_text(encoding="utf-8").splitlines() if path.exists() else []))


def last_line_with(key: str, path: Path) -> dict[str, Any]:
    """The last line of a metrics file that has `key`; {} where none has."""
    return last_lines_with((key,), path).get(key, {})


def last_lines_with(keys: Iterable[str], path: Path) -> dict[str, dict[str, Any]]:
    """For each key the last line of a metrics file that has it; without keys that none has.

    No more is read than that takes, from the end.
    """
    wanted = {key: json.dumps(key).encode() for key in keys}
    found: dict[str, dict[str, Any]] = {}
    for raw in _lines_backwards(path):
        if not any(word in raw for word in wanted.values()):
            continue
        line: Any = next(iter(_parsed([raw])), None)
        for key in [key for key in wanted if isinstance(line, dict) and key in line]:
            found[key] = line
            del wanted[key]
        if not wanted:
            break
    return found


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """The lines of a file, the last first; none where there is no file."""
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
            yield json.loads(line)
