"""Works: commands that may be stopped at any moment, and then go on to the end that they have unstopped."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.commands import Running
from tests.faults.tries import (
    TINY_RUN,
    Try,
    check_manners,
    check_trained_alike,
    figures,
    lines_of_training,
    remove,
    weights,
)
from tests.faults.world import PHOTOS, SUITES


@dataclass(frozen=True)
class Work:
    """Command, what is removed before it, and what must be true once it has succeeded."""

    arguments: tuple[str, ...]
    begins_without: tuple[str, ...]
    check: Callable[[Try], None]
    writes: tuple[str, ...]
    """folders that it writes into"""
    seconds: float
    """time that it takes, about"""
    weight: int
    """number of times that it is drawn, to one of the others"""
    data_root: str = "data"
    """folder of its datasets"""

    @property
    def name(self) -> str:
        """Name of the command."""
        return self.arguments[0]

    def begin(self, attempt: Try) -> None:
        """Remove what the work makes."""
        for pattern in self.begins_without:
            for path in list(attempt.place.glob(pattern)):
                remove(path)

    def start(self, attempt: Try, meddle: Callable[[], Any] = lambda: None) -> Running:
        """Start the command."""
        return attempt.start(*self.arguments, meddle=meddle, data_root=self.data_root)

    def finish(self, attempt: Try, meddle: Callable[[], Any] = lambda: None) -> None:
        """Give the command again; raise AssertionError unless it ends as if nothing had stopped it."""
        ended = self.start(attempt, meddle).wait()
        check_manners(ended)
        assert ended.status == 0, f"did not go on\n{ended.describe()}"
        self.check(attempt)
        left = [str(path) for folder in self.writes for path in attempt.place.glob(f"{folder}/**/.*.tmp")]
        assert not left, f"left for ever: {left}"


def check_prepared(attempt: Try) -> None:
    """Compare shards, indexes and manifests with those of a preparation that nothing stopped."""
    for path in sorted((attempt.world.path / "data" / "photos").rglob("*")):
        ours = attempt.place / path.relative_to(attempt.world.path)
        if path.suffix == ".tar" or path.name == "manifest.json":
            assert ours.is_file(), f"{ours} is missing"
            assert ours.read_bytes() == path.read_bytes(), f"{ours} is another"


def check_trained(attempt: Try) -> None:
    """Compare weights and metrics of a run."""
    check_trained_alike(attempt, "again")


def check_evaluated(attempt: Try) -> None:
    """Compare the figures of all suites."""
    for suite in SUITES:
        ours, reference = (
            figures(root / "runs" / "mine", suite) for root in (attempt.place, attempt.world.path)
        )
        assert ours == reference, f"{suite} has other figures"


def check_swept(attempt: Try) -> None:
    """Compare the trials that had ended, and count the others."""
    for ours, reference in paired_trials(attempt):
        assert ours == reference, f"a trial that had ended is another: {reference} became {ours}"
    (folder,) = attempt.place.glob("runs/small-*")
    states = [trial["state"] for trial in trials(folder)]
    assert states == ["finished"] * 3, f"trials ended as {states}"


def paired_trials(attempt: Try) -> list[tuple[Any, Any]]:
    """Return the records of the world's trials, each after the same trial's record here."""
    (reference,) = attempt.world.path.glob("runs/small-*")
    return list(zip(trials(attempt.place / "runs" / reference.name), trials(reference), strict=False))


def trials(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a sweep's trials."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("trial-*/trial.json"))]


def check_promoted(attempt: Try) -> None:
    """Check that DVC keeps the model, with the weights of the run."""
    model = attempt.place / "models" / "good"
    assert model.with_suffix(".dvc").is_file(), "DVC does not keep the model"
    (kept,) = model.glob("*.pt")
    reference = attempt.world.path / "runs" / "whole" / "checkpoints" / "step-00000012.pt"
    assert kept.read_bytes() == reference.read_bytes(), "the promoted model is another"


def check_exported(attempt: Try) -> None:
    """Compare an exported model with that of a run's export that nothing stopped."""
    attempt.succeeds("export", "whole", "--to", "again")
    assert bytes_below(attempt.place / "out") == bytes_below(attempt.place / "again"), "another model"


def check_trained_for_pipeline(attempt: Try) -> None:
    """Compare a pipeline's model with that of a training that nothing stopped."""
    models = [root / "pipeline" / "model" for root in roots(attempt)]
    assert len({weights(model / "checkpoint.pt") for model in models}) == 1, "the pipeline has another model"
    assert lines_of_training(models[0]) == lines_of_training(models[1]), "other lines of metrics"


def check_rungs(attempt: Try) -> None:
    """Compare the trials of a sweep that pauses some: their states, epochs and objectives."""
    ours, reference = (
        [trial_at_rungs(record) for folder in root.glob("runs/rungs-*") for record in trials(folder)]
        for root in roots(attempt)
    )
    assert ours == reference, f"trials that were {reference} are {ours}"


def trial_at_rungs(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a trial's record says of its values, its state and its rungs.

    Its number may be a later one: a kill while a trial is asked for leaves the study one that failed.
    """
    return {key: record[key] for key in ("seed", "asked", "state", "values", "rungs")}


def bytes_below(folder: Path) -> dict[str, bytes]:
    """Return the contents of the files below a folder, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def roots(attempt: Try) -> tuple[Path, Path]:
    """Return the folder of a try, and that of the world."""
    return attempt.place, attempt.world.path


PREPARE = Work(("prepare", *PHOTOS), ("data/photos",), check_prepared, ("data",), 0.5, 5)
PRETRAIN = Work(("pretrain", *TINY_RUN, "again"), (), check_trained, ("runs",), 1.5, 6)
EVALUATE = Work(
    ("evaluate", *TINY_RUN, "mine"),
    ("runs/mine/results", "runs/mine/embeddings"),
    check_evaluated,
    ("runs",),
    2.0,
    4,
)
SWEEP = Work(("sweep", "small", "--trials", "3"), (), check_swept, ("runs",), 2.0, 4)
PROMOTE = Work(("promote", "whole", "--name", "good"), (), check_promoted, ("models",), 5.0, 1)
WORKS = (PREPARE, PRETRAIN, EVALUATE, SWEEP, PROMOTE)

EXPORT = Work(("export", "whole", "--to", "out"), (), check_exported, (".", "out"), 1.0, 1)
PIPELINE_PRETRAIN = Work(
    ("pretrain", "--experiment", "pipeline/experiment.yaml", "--output", "pipeline/model"),
    ("pipeline/model", "runs/tiny-*"),
    check_trained_for_pipeline,
    ("pipeline", "runs"),
    2.0,
    2,
    "pipeline/data",
)
RUNGS = Work(("sweep", "rungs", "--like", "small"), ("runs/rungs-*",), check_rungs, ("runs",), 2.0, 3)
STOPPED = (*WORKS, EXPORT, PIPELINE_PRETRAIN, RUNGS)
"""Works that are killed and asked to stop: those of WORKS, and more."""


def draw_work(attempt: Try, works: Sequence[Work] = WORKS) -> Work:
    """Return one of the works, by their weights, in a copy of the world that is ready for it."""
    (work,) = attempt.rng.choices(works, [work.weight for work in works])
    attempt.copy_world()
    work.begin(attempt)
    return work
