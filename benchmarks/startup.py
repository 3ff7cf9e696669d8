"""CPU time of commands as processes, imports included: --help, and lists of what is on a machine.

`--help` is compared with the bare import of pydantic-settings and yaml, `jobs` with a list that reads every
run, and its parameters by YAML's loader in Python, and `datasets` with the import of torch and torchvision,
which opening the datasets takes at least.

    python benchmarks/startup.py [--runs 100] [--repeats 5] [--json]
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from rows import Row, benchmark_parser, print_rows
from runs import write_run

from cosmos.config.params import Params
from cosmos.run.directory import RunDir

BARE_IMPORT = "import pydantic_settings, yaml"
OPENING_IMPORT = "import torch, torchvision"
READ_IN_PYTHON = """
from cosmos.cli import run_arguments
from cosmos.config import settings_file
from cosmos.registry import index
settings_file.MAX_FLAT_BYTES = 0
index.read_index = lambda path: {}
run_arguments(["jobs"])
"""


def command(arguments: str) -> list[str]:
    return ["-m", "cosmos", *arguments.split()]


def add_job(run: RunDir, number: int) -> None:
    """Record a job of this machine, which has ended."""
    token = f"{number:08x}"
    (run.jobs / token).mkdir(parents=True)
    record = {
        "cluster": "debug",
        "token": token,
        "name": f"run-{token}",
        "num_calls": 1,
        "max_requeues": 3,
        "submitted": "2026-07-20T10:00:00+00:00",
        "host": socket.gethostname(),
        "job_id": f"run-{token}",
    }
    run.job.write_text(json.dumps(record))


def make_folder(folder: Path, count: int) -> None:
    params = yaml.safe_dump(Params().model_dump(mode="json"), sort_keys=False)
    (folder / "params.yaml").write_text(params)
    for number in range(count):
        run = RunDir(folder / "runs" / f"run-{number}")
        write_run(run.path, number, params)
        add_job(run, number)


def cpu_seconds(arguments: list[str], folder: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} failed (exit status {process.returncode})")
    return usage.ru_utime + usage.ru_stime


def compare(folder: Path, straightforward: list[str], ours: list[str], repeats: int) -> tuple[float, float]:
    """Return the medians of both, which take turns."""
    turns = [(cpu_seconds(straightforward, folder), cpu_seconds(ours, folder)) for _ in range(repeats)]
    first, second = zip(*turns, strict=True)
    return statistics.median(first), statistics.median(second)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    bare, opening = ["-c", BARE_IMPORT], ["-c", OPENING_IMPORT]
    pairs = {
        "cosmos --help": (bare, command("--help"), 1.5, "bare import of pydantic-settings and yaml: 1"),
        "cosmos pretrain --help": (bare, command("pretrain --help"), None, None),
        "cosmos datasets": (opening, command("datasets"), None, None),
        f"cosmos jobs, {arguments.runs} runs": (["-c", READ_IN_PYTHON], command("jobs"), None, None),
    }
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), arguments.runs)
        rows = [
            Row(path, "s of CPU", *compare(Path(folder), first, second, arguments.repeats), goal, limit)
            for path, (first, second, goal, limit) in pairs.items()
        ]
    print_rows(rows, arguments.json)


if __name__ == "__main__":
    main()
