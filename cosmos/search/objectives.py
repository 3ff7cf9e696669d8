"""Figures of a trial, read from its run directory: those reported while it trains, and the final ones."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from cosmos.config.sweep import Objective
from cosmos.errors import InputError
from cosmos.run.directory import RunDir
from cosmos.run.metrics import last_line_with
from cosmos.run.results import read_result_figures


def read_trial_figures(run: RunDir, num_ranks: int) -> dict[str, float]:
    """Return the final figures of a run: those of its last training line, device_seconds, and its results.

    NaN stands for a value that was not finite.
    """
    last = last_line_with("loss", run.metrics)
    training = {key: math.nan if value is None else float(value) for key, value in last.items()}
    return {
        **training,
        "device_seconds": training.get("seconds", 0.0) * num_ranks,
        **{name: value for file in run.result_files for name, value in read_result_figures(file).items()},
    }


def select_objectives(objectives: Iterable[Objective], figures: Mapping[str, float]) -> dict[str, float]:
    """Return the objectives among figures. InputError names one that is missing, and lists the figures."""
    values = {}
    for objective in objectives:
        if objective.figure not in figures:
            names = "\n  ".join(figures)
            raise InputError(f"objectives: {objective.figure}: a trial has no such figure; it has\n  {names}")
        values[objective.figure] = figures[objective.figure]
    return values


def intermediate_value(objective: Objective, line: Mapping[str, Any]) -> tuple[int, float] | None:
    """Return the step and value to report to the study of a line of metrics.jsonl; None if it has no value.

    Figures of retrieval are reported by epoch, which is the same for trials of other batch sizes; those of
    training by optimisation step.
    """
    if objective.suite:
        _, dataset, model, metric = objective.figure.split("/", 3)
        value = line.get("evaluation", {}).get(f"{model}/{dataset}/{metric}")
        return None if value is None else (int(line["epoch"]), value)
    value = line.get(objective.figure)
    return None if value is None else (int(line["step"]), value)
