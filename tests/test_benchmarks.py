"""Benchmarks: rows of one form, which `make bench` joins into a table (docs/speed.md)."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = [path for path in FOLDER.glob("*.py") if path.stem not in ("rows", "table")]


PLACE = re.compile(r"(<!-- rows of (\w+) -->\n)(.*?)<!-- end of rows -->", re.DOTALL)


def run_script(name: str | Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, FOLDER / name, *arguments], capture_output=True, text=True)


def test_a_benchmark_prints_rows_with_a_ratio() -> None:
    rows = json.loads(run_script("runs.py", "--runs", "2", "--repeats", "1", "--json").stdout)["rows"]
    assert {"path", "unit", "straightforward", "ours", "ratio", "goal", "limit"} == rows[0].keys()
    assert rows[0]["ratio"] == rows[0]["ours"] / rows[0]["straightforward"]


def test_the_table_names_the_benchmarks_that_there_are() -> None:
    failed = run_script("table.py", "lose")
    assert failed.returncode == 2
    assert all(path.stem in failed.stderr for path in SCRIPTS)


ROWS = {"rows": [{"path": "p", "unit": "s", "straightforward": 4, "ours": 1, "goal": 0.5, "limit": None}]}


def test_benchmarks_that_fail_or_hang_are_told_below_the_table_of_the_others(tmp_path: Path) -> None:
    for name in ("rows", "table"):
        shutil.copy(FOLDER / f"{name}.py", tmp_path)
    (tmp_path / "differ.py").write_text("import sys; sys.exit('the two differ')")
    (tmp_path / "hang.py").write_text("import time; time.sleep(100)")
    (tmp_path / "noise.py").write_text("print('no JSON')")
    (tmp_path / "whole.py").write_text(f"print({json.dumps(json.dumps(ROWS))})")
    (tmp_path / "page.md").write_text("# Head\n<!-- rows of whole -->\nold\n<!-- end of rows -->\ntail\n")
    done = run_script(tmp_path / "table.py", "--limit", "1", "--json", tmp_path / "build" / "b.json")
    assert done.returncode == 1
    head, *failures = done.stdout.rpartition("benchmarks/differ")[0], *done.stdout.splitlines()[-3:]
    assert "0.25" in head
    assert failures == [
        "benchmarks/differ.py failed: exit status 1",
        "benchmarks/hang.py failed: no end within 1 s",
        "benchmarks/noise.py failed: no rows in its output (Expecting value: line 1 column 1 (char 0))",
    ]
    assert "the two differ" in done.stderr
    filled = run_script(
        tmp_path / "table.py", "--from", tmp_path / "build" / "b.json", "--page", tmp_path / "page.md"
    )
    assert filled.returncode == 0
    assert (
        "\n| p | s | 4 | 1 | 0.25 | 0.5 |  |\n<!-- end of rows -->\ntail"
        in (tmp_path / "page.md").read_text()
    )


def test_every_benchmark_is_explained() -> None:
    page = (FOLDER.parent / "docs" / "speed.md").read_text()
    assert not [path.name for path in SCRIPTS if f"benchmarks/{path.name}" not in page]
    assert {name for _, name, _ in PLACE.findall(page)} <= {path.stem for path in SCRIPTS}
