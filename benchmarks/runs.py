"""Time of listing runs: ours, by the index, and the straightforward way, which parses every file.

Both give the same rows, which is checked. Beside them: the time of `cosmos runs list` as a process, with its
imports.

    python benchmarks/runs.py [--runs 10000] [--repeats 3] [--json]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from rows import Row, benchmark_parser, measure_alone, print_rows

from cosmos.config.params import Params
from cosmos.run.directory import RunDir

MODELS = ("student", "teacher")
DIRECTIONS = ("image_to_text", "text_to_image")
SUITES = {
    "retrieval": [f"{way}_R@{k}" for way in DIRECTIONS for k in (1, 5, 10)],
    "classification": ["top1", "top5", "mean_per_class"],
}
LOSSES = ("loss", "contrastive", "distill", "distill_image_to_image", "distill_text_to_text", "grad_norm")
LONG_AGO = time.time() - 3600
"""Time of change of all files, since the index does not keep files that have just been written."""


def figures(number: int, prefix: str, names: list[str]) -> dict[str, float]:
    return {f"{prefix}{name}": (number * 7919 + place) % 9973 / 9973 for place, name in enumerate(names)}


def metrics_lines(number: int, steps: int) -> str:
    evaluated = [name for model in MODELS for name in figures(0, f"{model}/heldout/", SUITES["retrieval"])]
    lines: list[dict[str, Any]] = [
        {"step": step, "epoch": step / 50, "samples": step * 32, **figures(number + step, "", list(LOSSES))}
        for step in range(10, steps + 1, 10)
    ]
    lines.append({"step": steps, "epoch": steps // 50, "evaluation": figures(number, "", evaluated)})
    return "".join(json.dumps(line) + "\n" for line in lines)


def write_run(path: Path, number: int, params: str) -> None:
    """Write the directory of a finished trial, with all its files."""
    run = RunDir(path)
    for folder in (run.checkpoints, path / "results"):
        folder.mkdir(parents=True)
    run.params.write_text(params.replace("momentum: 0.96", f"momentum: {0.9 + number % 1000 / 1e4}"))
    run.metrics.write_text(metrics_lines(number, 150))
    run.checkpoint(150).touch()
    run.lease.write_text('{"token": "0"}')
    run.labels.write_text(json.dumps({"group": "sweep", "tags": [f"tag{number % 10}"]}))
    session = {"started": f"2026-07-20T10:00:{number % 60:02}+00:00", "commit": "c0ffee", "diff": ""}
    run.provenance.write_text(json.dumps({"sessions": [session], "data": {}}))
    trial = {"number": number, "seed": 0, "state": "finished", "values": {"device_seconds": 40.0}}
    run.trial.write_text(json.dumps(trial))
    for suite, names in SUITES.items():
        models = {model: figures(number, "", names) for model in MODELS}
        measured = {"models": models, "checkpoint": "model.pt", "checkpoint_sha256": "a" * 64, "data": {}}
        run.result_file(suite).write_text(json.dumps({"suite": suite, "datasets": {"heldout": measured}}))
    for place in (path, run.checkpoints, path / "results", *path.iterdir()):
        os.utime(place, (LONG_AGO, LONG_AGO))


def make_runs(root: Path, count: int) -> None:
    params = yaml.safe_dump(Params().model_dump(mode="json"), sort_keys=False)
    for number in range(count):
        write_run(root / "sweep-0c0ffee0" / f"trial-{number:05}", number, params)


def straightforward(root: Path) -> dict[str, float]:
    """Return the loss of each run, reading every file with the library's own readers."""
    from cosmos.run.directory import load_saved_params
    from cosmos.run.metrics import read_metrics

    losses = {}
    for path in sorted(root.glob("*/*/params.yaml")):
        run = RunDir(path.parent)
        load_saved_params(run)
        for file in (run.trial, run.labels, run.provenance, *(path.parent / "results").glob("*.json")):
            json.loads(file.read_text())
        name = str(path.parent.relative_to(root))
        losses[name] = [line["loss"] for line in read_metrics(run.metrics) if "loss" in line][-1]
    return losses


def ours(root: Path) -> dict[str, float]:
    from cosmos.registry.index import list_runs

    records = list_runs(root)
    if problems := [record.problem for record in records if record.problem]:
        sys.exit(problems[0])  # such a run is read each time
    return {record.name: record.metrics["loss"] for record in records}


def measure(kind: str, root: Path) -> dict[str, Any]:
    began = time.process_time()
    losses = straightforward(root) if kind == "straightforward" else ours(root)
    return {"seconds": time.process_time() - began, "losses": losses}


def command_seconds(root: Path) -> float:
    """Return the CPU seconds of `cosmos runs list` as a process, imports included."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "cosmos", "runs", "list"],
        env={**os.environ, "COSMOS_RUNS_ROOT": str(root)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def compare(root: Path, num_runs: int, repeats: int) -> list[Row]:
    plain = measure_alone(__file__, "straightforward", root)
    first = measure_alone(__file__, "ours", root)
    warm = [measure_alone(__file__, "ours", root) for _ in range(repeats)]
    if any(result["losses"] != plain["losses"] for result in (first, *warm)):
        sys.exit("the two lists differ")
    seconds = statistics.median(result["seconds"] for result in warm)
    command = statistics.median(command_seconds(root) for _ in range(repeats))
    path, unit = f"list of {num_runs} runs", "s of CPU"
    return [
        Row(f"{path}, first time", unit, plain["seconds"], first["seconds"]),
        Row(path, unit, plain["seconds"], seconds, limit=f"the whole command: {command:.2f} s"),
    ]


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", nargs=2, help="measure this one, in this process: its kind, and the runs' folder"
    )
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only[0], Path(arguments.only[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), arguments.runs)
        rows = compare(Path(folder), arguments.runs, arguments.repeats)
    print_rows(rows, arguments.json)


if __name__ == "__main__":
    main()
