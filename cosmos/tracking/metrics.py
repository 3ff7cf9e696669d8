"""metrics.jsonl: the record of a run, one JSON object per line."""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cosmos.files import write_text


class Metrics:
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


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; [] where there is none. A last line that was cut short is left out."""
    return list(_parsed(_lines(path)))


def last_with(key: str, path: Path) -> dict[str, Any]:
    """The last line of a metrics file that has `key`; {} where none has. Lines before it are not parsed."""
    return next((line for line in _parsed(reversed(_lines(path))) if key in line), {})


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(json.JSONDecodeError):
            yield json.loads(line)
