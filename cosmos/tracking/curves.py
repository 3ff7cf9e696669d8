"""Curves of a run for Weights & Biases: rows of a growing metrics file, and each curve's best value."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

from cosmos.config.disk_reading import exists
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.figures import EVALUATION, Direction, metric_of
from cosmos.config.settings_file import read_mapping
from cosmos.errors import CosmosError
from cosmos.run.directory import RunDir
from cosmos.run.metrics import MetricsTail

CurveRow = dict[str, Any]
"""Values of all curves at one step, by name; `step` is one of them."""
BestValues = dict[str, dict[str, float]]
"""Best and last value by curve: {"loss": {"min": ..., "last": ...}}."""

SUITES = get_args(SuiteName)


class CurveRows:
    """Rows of a growing metrics file, one a step: an evaluation joins the other values of its step.

    The newest row is held back, since its step may have more to come: W&B takes a step once, and none after a
    later one. An evaluation beside training, whose step is shown already, joins the next row without one, and
    names its own step in that.
    """

    def __init__(self, path: Path) -> None:
        self.lines, self.held, self.late = MetricsTail(path), CurveRow(), list[CurveRow]()

    def new_rows(self) -> list[CurveRow]:
        """Return the rows that are complete since the last call; all of them where the file was replaced."""
        lines = self.lines.new_lines()
        if self.lines.is_anew:
            self.held, self.late = {}, []
        complete = []
        for row in map(flatten_line, lines):
            if self.held and row["step"] < self.held["step"]:
                self.late.append({key: row[key] for key in row if is_evaluated(key)})
                continue
            if self.held and row["step"] > self.held["step"]:
                complete.append(self.joined())
                self.held = {}
            self.held |= row
        return complete

    def joined(self) -> CurveRow:
        """Return the row that is held back, with the evaluation that waits for one."""
        if self.late and not any(map(is_evaluated, self.held)):
            self.held |= self.late.pop(0)
        return self.held

    def last_rows(self) -> list[CurveRow]:
        """Return the rows that are left once the file does not grow; evaluations that wait have their own."""
        if not self.held:
            return []
        last = self.joined()
        return [last, *({**row, "step": last["step"] + i} for i, row in enumerate(self.late, 1))]


EVALUATED_STEP = f"{EVALUATION}/step"
"""Step of the model that the evaluation in a row measured."""

EVALUATED_SAMPLES = f"{EVALUATION}/samples"
"""Samples seen by that model: the axis of the curves of evaluations."""


def is_evaluated(key: str) -> bool:
    """Return True for a value of an evaluation."""
    return key.startswith(f"{EVALUATION}/")


def flatten_line(line: Mapping[str, Any]) -> CurveRow:
    """Return a line of metrics as a row, an evaluation's values named by path, without values not finite."""
    row = CurveRow()
    for key, value in line.items():
        inner = (
            {f"{key}/{name}": number for name, number in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
        row |= {name: number for name, number in inner.items() if number is not None}
    return row | {EVALUATED_STEP: line["step"]} if EVALUATION in line else row


@dataclass(frozen=True)
class CurveAxis:
    """Place of a row in training: samples seen by its step, and the evaluation that is due after it."""

    batch_size: int
    """0: nothing is trained"""
    evaluate_every_epochs: int

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """Return the axis that the run's parameters give."""
        pretrain: Any = {}
        with suppress(CosmosError):  # a damaged file is a problem of the run's description
            pretrain = read_mapping(run.params).get("pretrain") if exists(run.params) else {}
        values = pretrain if isinstance(pretrain, dict) else {}
        return cls(*(whole_number(values.get(key)) for key in ("batch_size", "evaluate_every_epochs")))

    def with_samples(self, row: CurveRow) -> CurveRow:
        """Return a row with the samples seen by its step, and by that of its evaluation, where it has one."""
        if not self.batch_size:
            return row
        evaluated = (
            {EVALUATED_SAMPLES: row[EVALUATED_STEP] * self.batch_size} if EVALUATED_STEP in row else {}
        )
        return {"samples": row["step"] * self.batch_size, **row, **evaluated}

    def axis_of(self, key: str) -> str | None:
        """Return the curve over which another is drawn; None for W&B's own steps."""
        if not self.batch_size:
            return None
        return EVALUATED_SAMPLES if is_evaluated(key) else "samples"

    def owes_evaluation(self, row: CurveRow) -> bool:
        """Return True when a row's evaluation is still to come: a resume makes up for an interrupted one."""
        every, epoch = self.evaluate_every_epochs, row.get("epoch") or 0
        is_due = every > 0 and epoch > 0 and epoch % every == 0
        return is_due and not any(map(is_evaluated, row))


def whole_number(value: Any) -> int:
    """Return a whole number above 0; 0 for anything else."""
    return value if isinstance(value, int) and value > 0 else 0


def curve_direction(key: str) -> Direction:
    """Return the direction of a curve's best value; "" for a curve that does not measure quality."""
    metric = metric_of(key)
    return metric.direction if metric and metric.role == "quality" else ""


def update_best(best: BestValues, row: CurveRow) -> BestValues:
    """Return the best and last values of curves, `row` included, as W&B's summaries have them."""
    updated = dict(best)
    for key, value in row.items():
        if direction := curve_direction(key):
            pick = max if direction == "max" else min
            updated[key] = {
                direction: pick(value, best.get(key, {}).get(direction, value)),
                "last": value,
            }
    return updated
