"""Figures of a trial: what its run directory says of its objectives, while it trains and after."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from cosmos.config.sweep import Objective
from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.metrics import last_line_with
from cosmos.run.results import read_result_figures


def figures(run: RunDir, num_ranks: int) -> dict[str, float]:
    """What a run came to: values of its last training line, device_seconds, and results of suites.

    NaN stands for what was not finite.
    """
    last = last_line_with("loss", run.metrics)
    training = {key: math.nan if value is None else float(value) for key, value in last.items()}
    return {
        **training,
        "device_seconds": training.get("seconds", 0.0) * num_ranks,
        **{name: value for file in run.result_files for name, value in read_result_figures(file).items()},
    }


def values_of(objectives: Iterable[Objective], found: Mapping[str, float]) -> dict[str, float]:
    """The objectives among figures. ValueError names one that is not there, and those that are."""
    values = {}
    for objective in objectives:
        if objective.figure not in found:
            there = "\n  ".join(found)
            raise InputError(f"objectives: {objective.figure}: a trial has no such figure; it has\n  {there}")
        values[objective.figure] = found[objective.figure]
    return values


def intermediate(objective: Objective, line: Mapping[str, Any]) -> tuple[int, float] | None:
    """A line of metrics.jsonl as a report: when, and the objective as it stood; None where it tells nothing.

    Retrieval is reported by epoch, which is the same for trials of other batch sizes; training by its step.
    """
    if objective.suite:
        _, dataset, model, metric = objective.figure.split("/", 3)
        value = line.get("evaluation", {}).get(f"{model}/{dataset}/{metric}")
        return None if value is None else (int(line["epoch"]), value)
    value = line.get(objective.figure)
    return None if value is None else (int(line["step"]), value)
