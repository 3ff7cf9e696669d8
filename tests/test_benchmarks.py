"""Benchmarks: rows of one form, which `make bench` joins into a table (docs/speed.md)."""

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = [path for path in FOLDER.glob("*.py") if path.stem not in ("rows", "table")]


def run_script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, FOLDER / name, *arguments], capture_output=True, text=True)


def test_a_benchmark_prints_rows_with_a_ratio() -> None:
    rows = json.loads(run_script("runs.py", "--runs", "2", "--repeats", "1", "--json").stdout)["rows"]
    assert {"path", "unit", "straightforward", "ours", "ratio", "goal", "limit"} == rows[0].keys()
    assert rows[0]["ratio"] == rows[0]["ours"] / rows[0]["straightforward"]


def test_the_table_names_the_benchmarks_that_there_are() -> None:
    failed = run_script("table.py", "lose")
    assert failed.returncode == 2
    assert all(path.stem in failed.stderr for path in SCRIPTS)


def test_every_benchmark_is_explained() -> None:
    page = (FOLDER.parent / "docs" / "speed.md").read_text()
    assert not [path.name for path in SCRIPTS if f"benchmarks/{path.name}" not in page]
