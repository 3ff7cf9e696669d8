"""Lines of a pretraining's metrics: those of steps, as a CSV, and the figures that it ended with."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from statistics import median
from typing import Any

from cosmos.config.figures import DISTILL_LOSSES, LOSS, SAMPLES, SAMPLES_PER_SECOND, STEP, TOTAL_LOSSES
from cosmos.config.printable_text import harmless_cell
from cosmos.errors import DamagedDataError

MetricsLine = Mapping[str, Any]
"""Line of metrics.jsonl."""

TOTALS = tuple(metric.name for metric in TOTAL_LOSSES)
TERMS = tuple(metric.name for metric in DISTILL_LOSSES)

ENDING = (STEP.name, SAMPLES.name, SAMPLES_PER_SECOND.name)
"""Values that the last line of a training has."""


def training_lines(lines: Sequence[MetricsLine]) -> list[MetricsLine]:
    """Return the lines of training steps: not of evaluations, nor of steps that were skipped."""
    return [line for line in lines if line.get(LOSS.name) is not None]


def final_figures(lines: Sequence[MetricsLine]) -> dict[str, float]:
    """Return the losses of the last line, the steps and samples until then, and the median speed.

    Raises DamagedDataError for no line, and where the last one lacks one of them.
    """
    last = lines[-1] if lines else {}
    if lacking := [key for key in ENDING if last.get(key) is None]:
        raise DamagedDataError(f"the last line of training has no {', '.join(lacking)}")
    rates = [line[SAMPLES_PER_SECOND.name] for line in lines if line.get(SAMPLES_PER_SECOND.name) is not None]
    losses = {term: last[term] for term in (*TOTALS, *TERMS) if last.get(term) is not None}
    ended = {"steps": last[STEP.name], SAMPLES.name: last[SAMPLES.name]}
    return {**ended, **losses, SAMPLES_PER_SECOND.name: median(rates)}


def lines_as_csv(lines: Sequence[MetricsLine]) -> str:
    """Return the lines as CSV, with a column for every key. Missing values stay empty."""
    columns = dict.fromkeys(column for line in lines for column in line)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(harmless_cell, columns))
    writer.writerows([line.get(column) for column in columns] for line in lines)
    return text.getvalue()
