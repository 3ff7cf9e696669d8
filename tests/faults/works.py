"""Works: commands that may be stopped at any moment, and then go on to the end that they have unstopped."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.tries import TINY_RUN, Try, check_trained_alike, figures, remove
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

    @property
    def name(self) -> str:
        """Name of the command."""
        return self.arguments[0]

    def begin(self, attempt: Try) -> None:
        """Remove what the work makes."""
        for pattern in self.begins_without:
            for path in list(attempt.place.glob(pattern)):
                remove(path)

    def finish(self, attempt: Try, meddle: Callable[[], Any] = lambda: None) -> None:
        """Give the command again; raise AssertionError unless it ends as if nothing had stopped it."""
        attempt.succeeds(*self.arguments, meddle=meddle)
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


def draw_work(attempt: Try) -> Work:
    """Return one of the works, by their weights, in a copy of the world that is ready for it."""
    (work,) = attempt.rng.choices(WORKS, [work.weight for work in WORKS])
    attempt.copy_world()
    work.begin(attempt)
    return work
