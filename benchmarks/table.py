"""Run the benchmarks one after the other, and print all of their rows as one table (docs/speed.md).

python benchmarks/table.py [NAME ...] [--json FILE]
python benchmarks/table.py loss views       # these alone
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rows import Row, print_rows

FOLDER = Path(__file__).parent
SCRIPTS = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem not in ("rows", "table")}


def run_script(name: str) -> list[Row]:
    """Return the rows of a script; none, and a message, where it fails."""
    print(f"benchmarks/{name}.py ...", file=sys.stderr)
    process = subprocess.run([sys.executable, SCRIPTS[name], "--json"], stdout=subprocess.PIPE)
    if process.returncode:
        print(f"benchmarks/{name}.py failed (exit status {process.returncode})", file=sys.stderr)
        return []
    rows = json.loads(process.stdout)["rows"]
    return [Row(**{key: value for key, value in row.items() if key != "ratio"}) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCRIPTS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    arguments = parser.parse_args()
    names = arguments.names or list(SCRIPTS)
    if unknown := set(names) - SCRIPTS.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    results = {name: run_script(name) for name in names}
    rows = [row for part in results.values() for row in part]
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"rows": [row.as_json() for row in rows]}, indent=2) + "\n")
    print_rows(rows, as_json=False)
    sys.exit(not all(results.values()))


if __name__ == "__main__":
    main()
