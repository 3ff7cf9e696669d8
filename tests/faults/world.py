"""World of the campaign: a small dataset, runs, a sweep and a pipeline, made once and copied for each try."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import yaml
from PIL import Image

from tests.faults.children import fork_child
from tests.faults.commands import Ended, environment, start

ROOT = Path(__file__).parent.parent.parent

TINY: dict[str, Any] = {
    "data": {"samples_per_shard": 16, "demo": {"num_train": 48, "num_heldout": 12, "image_size": 32}},
    "views": {"image_size": 32, "local_size": 16, "num_local_crops": 1},
    "model": {
        "inline": {
            "embed_dim": 8,
            "vision": {"width": 8, "layers": 1, "head_width": 8},
            "text": {"width": 8, "layers": 1, "heads": 1},
        },
        "cross_attention_heads": 1,
    },
    "pretrain": {
        "epochs": 2,
        "batch_size": 8,
        "warmup_steps": 2,
        "log_every_steps": 1,
        "evaluate_every_epochs": 1,
    },
    "evaluate": {"models": ["student"], "segmentation": {"attention": ["plain"]}},
}
"""Experiment of the world: twelve steps, in less than a second."""

SWEEP = {
    "experiment": "tiny",
    "space": {"pretrain.momentum": {"distribution": "float", "low": 0.8, "high": 0.999}},
    "objectives": [{"figure": "retrieval/heldout/student/text_to_image_R@1"}],
    "trials": 2,
    "sampler": {"name": "random"},
    "repeats": {"best": 0},
}

RUNGS = {**SWEEP, "pruner": {"name": "promote", "rungs": [1], "keep": 0.5}}
"""Sweep of which a trial pauses after the first epoch, and waits."""

PHOTOS = (
    *("--experiment", "tiny", "--data.name", "photos", "--data.source", "folder", "--data.images", "photos"),
    *("--data.num_heldout", "4", "--data.samples_per_shard", "8"),
)
"""Arguments that prepare the photographs."""

LAST_STEP = 12
SUITES = ("retrieval", "classification", "segmentation", "perception")
NEVER_WRITTEN_IN_PLACE = {".pt", ".tar", ".npz", ".jpg", ".png"}
"""Endings of files that are only ever replaced, so that copies of the world may share them."""


@dataclass(frozen=True)
class World:
    """Folder of the world, and what its commands end in when nothing is broken."""

    path: Path

    def copy_to(self, place: Path) -> None:
        """Make a copy at `place`, whose records name `place` where they named the world."""
        for folder, _, names in os.walk(self.path):
            target = place / Path(folder).relative_to(self.path)
            target.mkdir(parents=True)
            for name in names:
                copy_file(Path(folder) / name, target / name, (str(self.path), str(place)))

    def fingerprint(self) -> str:
        """Return a hash of all files, which no try may change."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        return sha256(
            b"".join(bytes(path) + sha256(path.read_bytes()).digest() for path in files)
        ).hexdigest()


def copy_file(source: Path, target: Path, moved: tuple[str, str]) -> None:
    """Copy a file, or link one that is only ever replaced."""
    if source.suffix in NEVER_WRITTEN_IN_PLACE:
        os.link(source, target)
        return
    shutil.copy2(source, target)
    if source.name == "job.json":
        target.write_text(source.read_text().replace(*moved))


def make_world(folder: Path) -> World:
    """Make the world at `folder`: in half a minute, with two cores."""
    world = World(folder)
    write_settings(folder)
    in_parallel(lambda: make_data(folder), lambda: make_repository(folder))
    in_parallel(lambda: make_runs(folder), lambda: make_pipeline(folder))
    return world


def write_settings(folder: Path) -> None:
    """Write parameters, experiment, sweep and a folder of photographs."""
    for name in ("experiments/sweeps", "photos", "home", "tmp", "cache"):
        (folder / name).mkdir(parents=True)
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    (folder / "experiments" / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (folder / "experiments" / "long.yaml").write_text(yaml.safe_dump({"pretrain": {"epochs": 100}}))
    for name, sweep in (("small", SWEEP), ("rungs", RUNGS)):
        (folder / "experiments" / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(sweep))
    rng = Random(0)
    for number in range(24):
        Image.frombytes("RGB", (24, 24), rng.randbytes(24 * 24 * 3)).save(
            folder / "photos" / f"{number:02}.jpg"
        )
        (folder / "photos" / f"{number:02}.txt").write_text(f"a photograph of noise, number {number}\n")


def make_data(folder: Path) -> None:
    """Prepare the demo world, and the photographs."""
    run(folder, "prepare", "--experiment", "tiny")
    run(folder, "prepare", *PHOTOS)


def make_repository(folder: Path) -> None:
    """Make the folder a git repository with DVC."""
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=folder, env=environment(folder), check=True)


def make_runs(folder: Path) -> None:
    """Make runs: a whole one, one that was stopped, one by a job, and two sweeps of two trials."""
    tiny = ("--experiment", "tiny")
    run(folder, "pretrain", *tiny, "--run", "whole", keep_checkpoints="9")
    run(folder, "pretrain", *tiny, "--run", "half", meddle=lambda: stop_after_line(7), status=75)
    run(folder, "pretrain", *tiny, "--run", "mine", cluster="local")
    run(folder, "evaluate", *tiny, "--run", "mine")
    run(folder, "sweep", "small")
    run(folder, "sweep", "rungs", "--like", "small")


def make_pipeline(folder: Path) -> None:
    """Run the stages of the pipeline as dvc.yaml has them."""
    resolved, outputs = ("--experiment", "pipeline/experiment.yaml"), folder / "pipeline"
    files = ("--output", "pipeline/experiment.yaml", "--identity", "pipeline/identity.yaml")
    run(folder, "params", "--experiment", "tiny", *files)
    run(folder, "prepare", *resolved, "--output", "pipeline/data")
    run(folder, "pretrain", *resolved, "--output", "pipeline/model", data_root="pipeline/data")
    for suite in SUITES:
        results = ("--checkpoint", "pipeline/model/checkpoint.pt", "--output", f"pipeline/results/{suite}")
        run(folder, "evaluate", suite, *resolved, *results, data_root="pipeline/data")
    run(folder, "report", "pipeline")
    assert (outputs / "report" / "report.html").is_file()


def run(
    place: Path,
    *arguments: str,
    meddle: Callable[[], Any] = lambda: None,
    status: int = 0,
    **machine: str,
) -> Ended:
    """Run a command, with machine settings. Raises AssertionError unless it ends in `status`."""
    settings = {f"COSMOS_{key.upper()}": value for key, value in machine.items()}
    ended = start(place, arguments, settings, meddle).wait()
    assert ended.status == status, ended.describe()
    return ended


def stop_after_line(number: int) -> None:
    """Send SIGTERM to this process once it writes the line `number` of the metrics."""
    lines = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal lines
        if event == "open" and str(arguments[0]).endswith("metrics.jsonl") and "a" in str(arguments[1]):
            lines += 1
            if lines == number:
                os.kill(os.getpid(), signal.SIGTERM)

    sys.addaudithook(count)


def in_parallel(*calls: Callable[[], None]) -> None:
    """Make calls in processes of their own, and wait for them."""
    children = [fork_child(partial(succeed, call)) for call in calls]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert not any(statuses), "the world could not be made"


def succeed(call: Callable[[], None]) -> int:
    """Make a call, and return the exit status of success."""
    call()
    return 0
