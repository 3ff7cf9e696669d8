"""Sweeps that tests run, and a runner whose trials take no time: it writes the files that jobs leave."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.sweep import Sweep
from cosmos.config.sweep_loading import load_sweep
from cosmos.errors import CosmosError
from cosmos.run.directory import RunDir, open_run
from cosmos.run.lease import Lease
from cosmos.run.metrics import MetricsWriter
from cosmos.run.results import Results
from cosmos.run.sweep_directory import SweepDir
from cosmos.search.controller import Controller
from cosmos.search.study_storage import open_study
from cosmos.search.trial_jobs import TrialJobState

RECALL = "retrieval/heldout/student/text_to_image_R@1"
TIME = "device_seconds"
DATA = "da" * 32
"""Hash of the data that trials are measured on."""

SMALL: dict[str, Any] = {
    "fixed": {"pretrain": {"evaluate_every_epochs": 1}, "evaluate": {"models": ["student"]}},
    "space": {
        "pretrain.momentum": {"distribution": "log-one-minus", "low": 0.9, "high": 0.999},
        "loss.distill_weight": {"distribution": "float", "low": 0.1, "high": 10, "log": True},
    },
    "objectives": [{"figure": RECALL}],
    "trials": 6,
    "sampler": {"startup_trials": 3},
    "repeats": {"best": 2, "seeds": 1},
}


def write_sweep(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return path


def small_sweep(folder: Path, **changes: Any) -> Sweep:
    return load_sweep(str(write_sweep(folder / "small.yaml", **changes)))


Curve = Callable[[Params], list[float]]
"""Recall after each epoch, of a pretraining with these parameters."""


def rising(params: Params) -> list[float]:
    """Best at a momentum of 0.98 and a distillation weight of 1."""
    off = abs(params.pretrain.momentum - 0.98) + abs(params.loss.distill_weight - 1) / 10
    best = 0.5 - off + params.pretrain.seed / 1000
    return [best * epoch / params.pretrain.epochs for epoch in range(1, params.pretrain.epochs + 1)]


Extra = Callable[[Params, int], dict[str, float]]
"""Further figures of training after an epoch, of a pretraining with these parameters."""


def nothing_more(params: Params, epoch: int) -> dict[str, float]:
    return {}


@dataclass
class Bench:
    """Runner of trials that writes their files; `dies` has the number of times that a trial dies first."""

    curve: Curve = rising
    num_ranks: int = 2
    max_requeues: int = 20
    dies: Mapping[str, int] = field(default_factory=dict)
    error: type[CosmosError] = CosmosError
    """class of the error that a trial dies of"""
    slow: bool = False
    """True when a trial trains an epoch at each poll, rather than all at once"""
    data: Mapping[str, str] = field(default_factory=dict)
    """hash of the data that trials are measured on, where it is not the same"""
    extra: Extra = nothing_more
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    params: dict[str, Params] = field(default_factory=dict)
    until: dict[str, int] = field(default_factory=dict)
    """epochs after which the newest job of a trial ends; 0: all"""
    shown: dict[str, int] = field(default_factory=dict)
    """epochs that a trial has trained, by all its jobs"""

    def start(self, run: RunDir, params: Params, until: int) -> TrialJobState:
        open_run(run.path, params)
        self.started.append(run.path.name)
        self.params[run.path.name], self.until[run.path.name] = params, until
        return self.state(run)

    def state(self, run: RunDir) -> TrialJobState:
        name = run.path.name
        attempts = self.started.count(name)
        if attempts <= self.dies.get(name, 0):
            left = self.max_requeues - attempts + 1
            return TrialJobState("dead", "1", attempts, "its node failed", self.error, left)
        curve = self.curve(self.params[name])[: self.until[name] or None]
        done = min(self.shown.get(name, 0) + 1, len(curve)) if self.slow else len(curve)
        self.shown[name] = done
        extra = [self.extra(self.params[name], epoch) for epoch in range(1, done + 1)]
        write_metrics(run, curve[:done], extra)
        if done < len(curve):
            return TrialJobState("running", "1", attempts)
        if math.isfinite(curve[-1]) and not self.until[name]:
            data = {"heldout/manifest.json": self.data.get(name, DATA)}
            entry = {"models": {"student": {"text_to_image_R@1": curve[-1]}}, "data": data}
            Results(run.result_file("retrieval"), "retrieval").put("heldout", entry)
        return TrialJobState("finished", "1", attempts)

    def stop(self, run: RunDir) -> bool:
        self.stopped.append(run.path.name)
        return True


def write_metrics(run: RunDir, curve: list[float], extra: Sequence[Mapping[str, float]] = ()) -> None:
    more = dict(enumerate(extra, 1))
    lines = [
        line
        for epoch, recall in enumerate(curve, 1)
        for line in (
            {"step": 10 * epoch, "epoch": float(epoch), "loss": 2 - recall, "seconds": 5.0 * epoch}
            | dict(more.get(epoch, {})),
            {"step": 10 * epoch, "epoch": epoch, "evaluation": {"student/heldout/text_to_image_R@1": recall}},
        )
    ]
    metrics = MetricsWriter(run.metrics)
    for line in lines:
        metrics.log(line)


def controller(sweep: Sweep, folder: Path, bench: Bench, parallel: int = 2) -> Controller:
    """Return a controller as `cosmos sweep` makes it, but with trials on a bench."""
    place = SweepDir(folder / sweep.id)
    place.write_definition(sweep)
    lease = Lease.take(place.own)
    return Controller(sweep, place, open_study(sweep, place, Machine()), bench, parallel, lease)
