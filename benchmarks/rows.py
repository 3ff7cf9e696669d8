"""Rows of the table that `make bench` prints, and processes of their own for what they measure."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Row:
    """Figures of one path, ours beside the straightforward implementation; less is better."""

    path: str
    unit: str
    straightforward: float
    ours: float
    goal: float | None = None
    """largest ratio that is aimed at"""
    limit: str | None = None
    """what bounds the ratio from below"""

    @property
    def ratio(self) -> float:
        return self.ours / self.straightforward

    @property
    def meets_goal(self) -> bool:
        return self.goal is None or self.ratio <= self.goal

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a benchmark's arguments, which so far has --json alone."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    return parser


def print_rows(rows: Sequence[Row], as_json: bool) -> None:
    """Print rows as JSON, or as a table in which a ratio above its goal is red."""
    if as_json:
        print(json.dumps({"rows": [row.as_json() for row in rows]}, indent=2))
        return
    table = Table("path", "unit")
    for name in ("straightforward", "ours", "ratio", "goal"):
        table.add_column(name, justify="right")
    table.add_column("limit")
    for row in rows:
        ratio = f"{row.ratio:.3g}" if row.meets_goal else f"[red]{row.ratio:.3g}[/red]"
        goal = "" if row.goal is None else f"{row.goal:.3g}"
        figures = (f"{row.straightforward:.4g}", f"{row.ours:.4g}", ratio, goal)
        table.add_row(row.path, row.unit, *figures, row.limit)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def measure_alone(script: str, *arguments: object) -> dict[str, Any]:
    """Run a script with `--only` in a process that has its own peak of memory; return what it prints."""
    command = [sys.executable, script, "--only", *map(str, arguments)]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def peak_megabytes() -> float:
    """Return the largest memory that this process has had; getrusage would begin with its parent's."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
