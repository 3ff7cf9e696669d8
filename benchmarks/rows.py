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

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Row":
        """Return the row that `as_json` gave these values."""
        return cls(**{key: value for key, value in values.items() if key != "ratio"})

    def figures(self) -> tuple[str, str, str, str]:
        """Return straightforward, ours, ratio and goal as texts."""
        goal = "" if self.goal is None else f"{self.goal:.3g}"
        return f"{self.straightforward:.4g}", f"{self.ours:.4g}", f"{self.ratio:.3g}", goal


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
        plain, ours, ratio, goal = row.figures()
        table.add_row(
            row.path,
            row.unit,
            plain,
            ours,
            ratio if row.meets_goal else f"[red]{ratio}[/red]",
            goal,
            row.limit,
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows as a table of a page."""
    head = ("path", "unit", "straightforward", "ours", "ratio", "goal", "limit")
    cells = [(row.path, row.unit, *row.figures(), row.limit or "") for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *cells))


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


def resident_megabytes() -> float:
    """Return the memory that this process has now."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
