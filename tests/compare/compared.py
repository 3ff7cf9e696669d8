"""Runs and sweeps that tests compare, written by hand or by a runner whose trials take no time."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cosmos.config.experiment import load_params
from cosmos.config.machine import Machine
from cosmos.run.directory import RunDir, open_run
from cosmos.run.metrics import MetricsWriter
from cosmos.run.results import Results
from cosmos.run.statistics.seed_statistics import SeedStatistics
from cosmos.run.sweep_directory import SweepDir
from tests.search.examples import Bench, controller, small_sweep

R1 = "image_to_text_R@1"
RESULT = f"retrieval/heldout/teacher/{R1}"


def make_run(folder: Path, name: str, recall: float = 0.5, done: bool = True, **pretrain: Any) -> RunDir:
    """A run of ten steps of 32 samples, evaluated at the end; one that is not done lacks its checkpoint."""
    params = load_params("", {"pretrain": {"epochs": 2, "batch_size": 32, **pretrain}})
    run = open_run(folder / name, params)
    metrics = MetricsWriter(run.metrics)
    for step in range(1, 11):
        loss = 3 - recall - step / 10
        metrics.log(
            {"step": step, "epoch": step / 5, "samples": 32 * step, "loss": loss, "seconds": 2.0 * step}
        )
        if step == 5:
            metrics.log({"step": 5, "epoch": 1, "evaluation": {f"teacher/heldout/{R1}": recall / 2}})
    if done:
        run.checkpoint(10).parent.mkdir(exist_ok=True)
        run.checkpoint(10).touch()
        measure(run, {R1: recall, "image_to_text_mean_rank": 10 - recall, "image_to_text_ties": 0.0})
    return run


def measure(run: RunDir, figures: Mapping[str, float], dataset: str = "heldout", data: str = "") -> None:
    entry = {"models": {"teacher": dict(figures)}, "data_hash": data, "own_data": bool(data)}
    Results(run.result_file("retrieval"), "retrieval").put(dataset, entry)


def spread(mean: float, deviation: float = math.nan, seeds: int = 2) -> SeedStatistics:
    """Statistics of seeds of this mean and deviation; of one seed where the deviation is NaN."""
    if math.isnan(deviation):
        return SeedStatistics.over([mean])
    half = deviation * ((seeds - 1) / 2) ** 0.5
    return SeedStatistics.over([mean - half, *[mean] * (seeds - 2), mean + half])


def train_on(run: RunDir, manifest: str, **evaluated: str) -> None:
    """Record the data that a run was trained on, and what was measured meanwhile."""
    session = {"started": "2026-07-20T10:00:00+00:00", "commit": "c0ffee"}
    run.provenance.write_text(json.dumps({"data": {"train": manifest, **evaluated}, "sessions": [session]}))


def make_sweep(folder: Path, bench: Bench, trials: int = 6, repeat: bool = True, **changes: Any) -> SweepDir:
    """A sweep that has ended."""
    lead = controller(small_sweep(folder, **changes), folder, bench)
    list(lead.search(trials))
    if repeat:
        list(lead.repeat())
    return lead.folder


def machine(folder: Path) -> Machine:
    return Machine(runs_root=folder)
