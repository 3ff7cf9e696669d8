"""Tries: a copy of the world that meets one fault, and the promises that are held against what follows."""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from cosmos.config.figures import TIME_SHARES
from tests.faults.commands import Ended, Running, start
from tests.faults.world import LAST_STEP, World

STATUSES = {0, 1, 2, 74, 75}
"""Exit statuses of the table in README.md for commands that no signal ended."""

TINY_RUN = ("--experiment", "tiny", "--run")

CLOCKS = {
    *(
        "seconds",
        "device_seconds",
        "device_memory",
        "samples_per_second",
        "data_wait",
        "flops_per_second",
        "mfu",
    ),
    *(metric.name for metric in TIME_SHARES.values()),
}
"""Values of a line of metrics that differ between machines and sessions: times and memory."""


class SkippedTry(Exception):  # noqa: N818 - no error
    """A try that this machine cannot make; the message says why."""


@dataclass
class Try:
    """Copy of the world, and the random numbers that decide its fault."""

    world: World
    place: Path
    rng: Random
    number: int
    story: list[str] = field(default_factory=list)
    """what was done, a line each, for the report of a failure"""
    damaged: Path | None = None
    """file that is damaged"""

    def tell(self, line: str) -> None:
        """Add a line to the story."""
        self.story.append(line)

    def copy_world(self) -> None:
        """Copy the world to the place."""
        self.world.copy_to(self.place)

    def start(self, *arguments: str, meddle: Callable[[], Any] = lambda: None, **machine: str) -> Running:
        """Start a command in the copy, with machine settings."""
        settings = {f"COSMOS_{key.upper()}": value for key, value in machine.items()}
        self.tell(f"$ cosmos {' '.join(arguments)}   {machine or ''}")
        return start(self.place, arguments, settings, meddle)

    def cosmos(self, *arguments: str, meddle: Callable[[], Any] = lambda: None, **machine: str) -> Ended:
        """Run a command in the copy. Raises AssertionError for a traceback, a stray file or no answer."""
        ended = self.start(*arguments, meddle=meddle, **machine).wait()
        check_manners(ended)
        return ended

    def succeeds(self, *arguments: str, meddle: Callable[[], Any] = lambda: None) -> Ended:
        """Run a command. Raises AssertionError unless it succeeds."""
        ended = self.cosmos(*arguments, meddle=meddle)
        assert ended.status == 0, f"did not go on\n{ended.describe()}"
        return ended


def check_manners(ended: Ended) -> None:
    """Raise AssertionError for a traceback, or a file that was changed outside of the folder."""
    assert "Traceback" not in ended.output, f"a traceback\n{ended.describe()}"
    assert not ended.strays, f"files outside of the folder: {ended.strays}\n{ended.describe()}"


def check_answer(ended: Ended, names: Iterable[str]) -> None:
    """Raise AssertionError unless a command succeeded, or failed with a message that has one of the names."""
    assert ended.status in STATUSES, f"not a status of ours\n{ended.describe()}"
    named = any(name in "".join(ended.output.split()) for name in names)
    assert ended.status == 0 or named, f"names none of {list(names)}\n{ended.describe()}"


def weights(checkpoint: Path) -> str:
    """Return a hash of all that a checkpoint trains on from: weights, optimiser, generator."""
    import torch

    content = torch.load(checkpoint, weights_only=True, map_location="cpu")
    parts = {key: content[key] for key in ("state_dict", "teacher", "optimizer", "rng") if key in content}
    return sha256("\n".join(describe_tensors(parts)).encode()).hexdigest()


def describe_tensors(value: Any, name: str = "") -> Iterable[str]:
    """Yield the path and the content of each value in nested containers."""
    import torch

    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from describe_tensors(value[key], f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from describe_tensors(item, f"{name}.{index}")
    elif isinstance(value, torch.Tensor):
        yield f"{name} {sha256(value.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()}"
    else:
        yield f"{name} {value!r}"


def final_weights(run: Path) -> str:
    """Return the hash of a run's last checkpoint."""
    return weights(run / "checkpoints" / f"step-{LAST_STEP:08}.pt")


def lines_of_training(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics without times and memory."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in CLOCKS} for line in lines]


def figures(run: Path, suite: str) -> dict[str, Any]:
    """Return the figures of a suite's results, by dataset."""
    entries = json.loads((run / "results" / f"{suite}.json").read_text())["datasets"]
    return {name: entry["models"] for name, entry in entries.items()}


def check_trained_alike(attempt: Try, run: str) -> None:
    """Raise AssertionError unless a run ended in the weights and lines of the one that nothing stopped."""
    check_same_weights(attempt, run)
    lines, expected = (lines_of_training(root / "runs" / name) for root, name in both(attempt, run))
    assert lines == expected, f"{run} has other lines of metrics"


def check_same_weights(attempt: Try, run: str) -> None:
    """Raise AssertionError unless a run ended in the weights of the one that nothing stopped."""
    ours, expected = (final_weights(root / "runs" / name) for root, name in both(attempt, run))
    assert ours == expected, f"{run} ended in other weights"


def both(attempt: Try, run: str) -> tuple[tuple[Path, str], tuple[Path, str]]:
    """Return the place and the name of a run, and those of the run to compare it with."""
    return (attempt.place, run), (attempt.world.path, "whole")


def role(path: Path) -> str:
    """Return a path without its numbers and hashes: each role is damaged as often as any other."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "#", str(path))


def draw_file(files: Iterable[Path], rng: Random) -> Path:
    """Return one of the files, each role as likely as any other."""
    by_role: dict[str, list[Path]] = {}
    for file in sorted(files):
        by_role.setdefault(role(file), []).append(file)
    return rng.choice(by_role[rng.choice(sorted(by_role))])


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
