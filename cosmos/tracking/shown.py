"""What Weights & Biases is shown of a run directory; W&B itself is not needed for that."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import read_mapping
from cosmos.config.figures import Direction, metric_of
from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.metrics import MetricsTail
from cosmos.run.results import Results, overall_figures

Row = dict[str, Any]
Best = dict[str, dict[str, float]]
"""{"loss": {"min": ..., "last": ...}}"""

SUITES = get_args(SuiteName)

MAX_TAG, MAX_NAME = 64, 128
"""Characters that W&B takes."""


@dataclass(frozen=True)
class Described:
    """What a run is called, belongs to and was made with."""

    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """As its directory says now. ValueError where a file of it is damaged."""
        labels, config = RunLabels.of(run), config_of(run)
        is_search = labels.job_type == "search"
        in_group = run.path.parent.name == labels.group
        of_params = (config.get("experiment"), config.get("data", {}).get("name"))
        tags = dict.fromkeys(str(tag)[:MAX_TAG] for tag in (*labels.tags, *of_params) if tag)
        return cls(
            name=(f"{labels.group}/{run.path.name}" if in_group else run.path.name)[-MAX_NAME:],
            group=labels.group[:MAX_NAME],
            job_type=labels.job_type if run.params.exists() or is_search else "evaluate",
            tags=tuple(tags),
            config=config,
        )


def config_of(run: RunDir) -> dict[str, Any]:
    """Params, nested as they are, and beside them what the run was made from and on.

    W&B shows nested values as columns named by their path (pretrain.momentum), and finds them by it in
    filters and in parallel coordinates; there it would not find a flat key with dots in it.
    """
    params = read_mapping(run.params) if run.params.exists() else {}
    trial = read_json(run.trial)
    return {
        **params,
        **({"trial": {key: trial[key] for key in ("number", "seed") if key in trial}} if trial else {}),
        "provenance": {**made_from(read_json(run.provenance)), **measured(run)},
    }


def made_from(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Commit, data, device and job of a run's newest session; {} where nothing is known."""
    sessions = provenance.get("sessions", [])
    if not sessions:
        return {}
    newest = sessions[-1]
    return {
        "commit": newest["commit"],
        "changed": bool(newest["diff"]),
        "data": provenance["data"],
        "device": newest["hardware"]["device"],
        "job": newest.get("job", {}),
        "requeues": provenance.get("requeues", 0),
    }


def measured(run: RunDir) -> dict[str, Any]:
    """The checkpoint that results are of, where the run has not trained it."""
    entries = (
        []
        if run.params.exists()
        else [entry for file in run.result_files for entry in entries_of(file).values()]
    )
    return {"checkpoint": entries[-1]["checkpoint"]} if entries else {}


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; {} where there is none. ValueError where it is damaged."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path}: no JSON ({error}); delete it") from None
    return value


class Rows:
    """The lines of a growing metrics file as rows, one a step: an evaluation joins its step's other figures.

    The newest row is held back, since its step may have more to come: W&B takes a step once.
    """

    def __init__(self, path: Path) -> None:
        self.lines, self.held = MetricsTail(path), Row()

    def news(self) -> list[Row]:
        """Rows that are complete since the last look; all of them again where the file was written anew."""
        lines = self.lines.new_lines()
        if self.lines.is_anew:
            self.held = {}
        done = []
        for line in lines:
            if self.held and line["step"] != self.held["step"]:
                done.append(self.held)
                self.held = {}
            self.held |= flat(line)
        return done


def flat(line: Mapping[str, Any]) -> Row:
    """A line of metrics, groups of values (an evaluation's) named by path, without what is not finite."""
    row = Row()
    for key, value in line.items():
        inner = (
            {f"{key}/{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
        )
        row |= {name: one for name, one in inner.items() if one is not None}
    return row


@dataclass(frozen=True)
class Axis:
    """How far a row is: in samples seen, and in evaluations that are due."""

    batch_size: int
    """0: nothing is trained"""
    evaluate_every_epochs: int

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """As the run's parameters say."""
        pretrain = read_mapping(run.params)["pretrain"] if run.params.exists() else {}
        return cls(pretrain.get("batch_size", 0), pretrain.get("evaluate_every_epochs", 0))

    def placed(self, row: Row) -> Row:
        """A row with the samples seen by its step, which a line of an evaluation does not say."""
        return {"samples": row["step"] * self.batch_size, **row} if self.batch_size else row

    def owes_evaluation(self, row: Row) -> bool:
        """Whether a row's evaluation is still to come: a resume makes up for one that was interrupted."""
        every, epoch = self.evaluate_every_epochs, row.get("epoch", 0)
        is_due = every > 0 and epoch > 0 and epoch % every == 0
        return is_due and not any(key.startswith("evaluation/") for key in row)


def curve_direction(key: str) -> Direction:
    """Return which value of a curve is its best; "" where neither is, and for what is no curve of quality."""
    metric = metric_of(key)
    return metric.direction if metric and metric.role == "quality" else ""


def better(known: Best, row: Row) -> Best:
    """The best and last values of curves, `row` included, as W&B's summaries have them."""
    found = dict(known)
    for key, value in row.items():
        if way := curve_direction(key):
            pick = max if way == "max" else min
            found[key] = {way: pick(value, known.get(key, {}).get(way, value)), "last": value}
    return found


def entries_of(file: Path) -> dict[str, Any]:
    """The entries of a results file, by dataset."""
    return Results(file, file.stem).entries()


def table(file: Path) -> tuple[list[str | int], list[Iterable[Any]]]:
    """Columns and rows of a results file: a row for each dataset and model."""
    rows = [
        {"dataset": dataset, "model": model, "images": entry["num_images"], **overall_figures(found)}
        for dataset, entry in entries_of(file).items()
        for model, found in entry["models"].items()
    ]
    columns: list[str | int] = list(dict.fromkeys(key for row in rows for key in row))
    return columns, [[row.get(str(column)) for column in columns] for row in rows]
