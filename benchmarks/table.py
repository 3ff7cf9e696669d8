"""Run the benchmarks one after the other, and print all of their rows as one table (docs/speed.md).

python benchmarks/table.py [NAME ...] [--json FILE] [--page FILE]
python benchmarks/table.py loss views                 # these alone
python benchmarks/table.py --from build/bench.json --page docs/speed.md     # tables of an earlier run

A benchmark that fails or takes too long is told below the table, and the others are run all the same.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rows import Row, markdown_table, print_rows

FOLDER = Path(__file__).parent
SCRIPTS = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem not in ("rows", "table")}
PLACE = re.compile(r"(<!-- rows of (\w+) -->\n).*?(<!-- end of rows -->)", re.DOTALL)
"""Pattern of the place of a benchmark's table in a page, with the benchmark's name."""


def run_script(name: str, limit: float) -> list[Row] | str:
    """Return the rows of a script, or the reason why there are none."""
    print(f"benchmarks/{name}.py ...", file=sys.stderr)
    command = [sys.executable, str(SCRIPTS[name]), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return f"no end within {limit:g} s"
        raise
    if process.returncode:
        return f"exit status {process.returncode}"
    try:
        return [Row.of(row) for row in json.loads(output)["rows"]]
    except (ValueError, LookupError, TypeError) as error:
        return f"no rows in its output ({error})"


def read_rows(file: Path) -> dict[str, list[Row]]:
    """Return the rows in a file by benchmark; {} where there is no file."""
    if not file.exists():
        return {}
    return {
        name: list(map(Row.of, rows)) for name, rows in json.loads(file.read_text())["benchmarks"].items()
    }


def write_rows(file: Path, rows: Mapping[str, list[Row]]) -> None:
    """Write rows into a file, in place of those of the same benchmarks; others in it stay."""
    merged = {**read_rows(file), **rows}
    values = {name: [row.as_json() for row in merged[name]] for name in sorted(merged)}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"benchmarks": values}, indent=2) + "\n")


def fill_page(page: Path, rows: Mapping[str, list[Row]]) -> None:
    """Write tables of the rows into a page, each between its marks; tables of other benchmarks stay."""

    def fill(place: re.Match[str]) -> str:
        before, name, behind = place.groups()
        return f"{before}{markdown_table(rows[name])}{behind}" if name in rows else place[0]

    page.write_text(PLACE.sub(fill, page.read_text()))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCRIPTS)}; default: all")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there, too; others in it stay"
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables into this page, too")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="file", help="rows of --json; run nothing")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="of a benchmark (300)")
    return parser


def main() -> None:
    parser = make_parser()
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - SCRIPTS.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    if arguments.file and not arguments.file.exists():
        parser.error(f"{arguments.file}: no such file; --json FILE writes one")
    names, failures = arguments.names or list(SCRIPTS), dict[str, str]()
    rows = dict[str, list[Row]]()
    if arguments.file:
        rows = {name: part for name, part in read_rows(arguments.file).items() if name in names}
    for name in names if not arguments.file else ():
        result = run_script(name, arguments.limit)
        if isinstance(result, str):
            failures[name] = result
        else:
            rows[name] = result
    if arguments.json:
        write_rows(arguments.json, rows)
    if arguments.page:
        fill_page(arguments.page, rows)
    print_rows([row for part in rows.values() for row in part], as_json=False)
    for name, reason in failures.items():
        print(f"benchmarks/{name}.py failed: {reason}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
