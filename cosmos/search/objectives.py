"""Objectives and constraints of a sweep: whether its data has their figures, and their values of a trial."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from cosmos.config.figures import EVALUATION, data_of_figure, metric_of, training_figure
from cosmos.config.identity import short_hash
from cosmos.config.machine import Machine
from cosmos.config.near_names import close_names
from cosmos.config.sweep import Objective, Sweep, TrialFigure
from cosmos.errors import DamagedDataError, InputError
from cosmos.registry.record import read_session_summary
from cosmos.run.directory import RunDir
from cosmos.run.metrics import last_line_with
from cosmos.run.results import Results, read_result_figures
from cosmos.run.sweep_directory import TrialRecord


def check_objectives(sweep: Sweep, machine: Machine) -> None:
    """Raise InputError for an objective or constraint whose dataset is missing, or has no such figure.

    Opens the datasets; raises DamagedDataError and TransientError as that does.
    """
    measured = [figure for figure in sweep.figures if figure.suite]
    if not measured:
        return
    from cosmos.evaluation.suite import suites  # imports torch

    by_name = suites(sweep.base.evaluate)
    for figure in measured:
        suite, dataset, _, metric = figure.figure.split("/", 3)
        by_name[suite].requested()
        scored = by_name[suite].cards[dataset].open(sweep.base, machine).chance
        check_scored(figure, metric, list(scored))


def check_scored(figure: TrialFigure, metric: str, scored: list[str]) -> None:
    """Raise InputError for a metric that guessing has a score of, where the dataset's are without it."""
    declared = metric_of(figure.figure)
    if declared and declared.has_chance and metric not in scored:
        near = close_names(metric, scored) or scored
        raise InputError(
            f"{figure.key}: {figure.figure}: the dataset has no {metric}; it has {', '.join(near)}"
        )


def read_trial_figures(run: RunDir, num_ranks: int) -> dict[str, float]:
    """Return the final figures of a run: those of its last training line, device_seconds, and its results.

    NaN stands for a value that was not finite.
    """
    last = last_line_with("loss", run.metrics)
    training = {key: math.nan if value is None else float(value) for key, value in last.items()}
    return {
        **training,
        "device_seconds": training.get("device_seconds", training.get("seconds", 0.0) * num_ranks),
        **{name: value for file in run.result_files for name, value in read_result_figures(file).items()},
    }


def select_figures(wanted: Iterable[TrialFigure], figures: Mapping[str, float]) -> dict[str, float]:
    """Return the wanted ones among figures. InputError names one that is missing, and lists the figures."""
    values = {}
    for figure in wanted:
        if figure.figure not in figures:
            names = "\n  ".join(figures)
            problem = f"{figure.key}: {figure.figure}: a trial has no such figure"
            raise InputError(f"{problem}; it has\n  {names}")
        values[figure.figure] = figures[figure.figure]
    return values


def read_measured_data(run: RunDir, figures: Iterable[TrialFigure]) -> dict[str, str]:
    """Return the hash of the data that figures of a run were measured on, by <suite>/<dataset>."""
    hashes: dict[str, str] = {}
    for file in run.result_files:
        hashes |= Results(file, file.stem).data_hashes()
    datasets = ["/".join(figure.figure.split("/")[:2]) for figure in figures if figure.suite]
    return {dataset: hashes[dataset] for dataset in datasets if dataset in hashes}


def read_evaluated_data(run: RunDir, objectives: Iterable[Objective]) -> dict[str, str]:
    """Return the hash of the data that objectives were measured on while training, by `data_of_figure`.

    Splits of the training data, which trials share, have none here, nor have runs without provenance.
    """
    paths = (objective.figure.split("/", 3) for objective in objectives if objective.suite)
    names = {data_of_figure(f"{EVALUATION}/{training_figure(*path)}") for path in paths}
    with suppress(FileNotFoundError, DamagedDataError):
        hashes = read_session_summary(run).evaluated
        return {name: hashes[name] for name in names if name in hashes}
    return {}


def check_same_data(record: TrialRecord, others: Iterable[TrialRecord], run: RunDir) -> None:
    """Raise InputError where a trial was measured on other data than one of the other trials."""
    for other in others:
        for dataset, digest in record.data.items():
            before = other.data.get(dataset, digest)
            if before != digest:
                hashes = f"sha256 {short_hash(digest)}, and {short_hash(before)} of {other.name}"
                raise InputError(
                    f"{dataset}: {record.name} was measured on other data ({hashes}); restore the dataset "
                    f"and delete {run.path}, or give the sweep's file another name"
                )


def intermediate_value(objective: Objective, line: Mapping[str, Any]) -> tuple[int, float] | None:
    """Return the step and value to report to the study of a line of metrics.jsonl; None if it has no value.

    Figures of suites are reported by epoch, which is the same for trials of other batch sizes; those of
    training by optimisation step.
    """
    if objective.suite:
        evaluation, step = line.get("evaluation"), line.get("epoch")
        figure = training_figure(*objective.figure.split("/", 3))
        value = evaluation.get(figure) if isinstance(evaluation, dict) else None
    else:
        value, step = line.get(objective.figure), line.get("step")
    if not isinstance(value, int | float) or not isinstance(step, int | float):
        return None
    return int(step), float(value)
