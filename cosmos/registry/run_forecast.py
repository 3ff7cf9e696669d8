"""Forecasts of runs: the ends of loss and evaluations, by their own curves and those of finished runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cosmos.config.figures import EPOCH, EVALUATION, LOSS, STEP
from cosmos.config.number_text import format_number, format_share
from cosmos.config.params import PretrainParams
from cosmos.errors import CosmosError, InputError
from cosmos.registry.record import RunRecord
from cosmos.run.directory import RunDir
from cosmos.run.metrics import MAX_STEP, read_thinned_metrics
from cosmos.run.statistics.annealing_law import LearningSchedule
from cosmos.run.statistics.forecasts import (
    FIGURE_POINTS,
    HINDSIGHT,
    MIN_POINTS,
    MIN_SHARE,
    FigureCurve,
    Forecast,
    ForecastFan,
    end_score,
    forecast_fan,
    settled_fan,
    steps_needed,
)
from cosmos.run.statistics.value_scales import SHARE_SCALE, scale_of
from cosmos.training.schedules import learning_rate

SETTINGS = ("pretrain.warmup_steps", "pretrain.epochs")
"""Parameters without which nothing is forecast."""

LOSS_KIND = ("loss.contrastive", "loss.distillation")
"""Parameters in which finished runs agree with one whose loss is forecast by their ends."""

COMPARED_SECTIONS = ("data.", "views.", "model.", "loss.", "pretrain.")
"""Beginnings of the parameters by which finished runs are near to a run."""

MAX_LINES = 2000
"""Number of lines of a run's metrics that its forecast rests on: more are no surer, and take time."""

MAX_SIBLINGS = 30
"""Number of finished runs, the nearest by their parameters, that calibrate a forecast."""


@dataclass(frozen=True, eq=False)
class RunCurves:
    """Curves of a run, and its schedule."""

    record: RunRecord
    schedule: LearningSchedule
    curves: Mapping[str, FigureCurve]
    """curves of what is forecast, by figure: the loss, and evaluation/..."""
    step: int
    """last logged step"""
    remarks: tuple[str, ...] = ()

    @property
    def total_steps(self) -> int:
        """Number of steps of the run."""
        return int(self.schedule.last_step)

    @property
    def has_ended(self) -> bool:
        """True when the last step is logged."""
        return self.step >= self.total_steps


@dataclass(frozen=True)
class FigureForecast:
    """Forecast of a figure of a run."""

    figure: str
    curve: FigureCurve
    """values until now"""
    fan: ForecastFan
    earlier: Forecast | None = None
    """forecast that a finished run had at HINDSIGHT of its steps"""

    @property
    def step(self) -> int:
        """Step of the last value."""
        return int(self.curve.last_step)

    @property
    def last(self) -> float:
        """Last value."""
        return float(self.curve.values[-1])

    @property
    def end(self) -> Forecast:
        """Forecast of the run's last step."""
        return self.fan.end

    @property
    def has_ended(self) -> bool:
        """True when no later value comes."""
        return self.fan.steps[-1] <= self.curve.last_step

    def as_json(self) -> dict[str, Any]:
        """Return the forecast as values of JSON."""
        values = {"figure": self.figure, "step": self.step, "last": self.last, **asdict(self.end)}
        return {**values, "earlier": asdict(self.earlier)} if self.earlier else values

    def describe(self) -> str:
        """Return the last value, the end and its interval: `2.31 -> 1.9 (1.7-2.1)`."""
        text = f"{self.figure_text(self.last)} -> {self.figure_text(self.end.value)}"
        return f"{text} ({self.range_text(self.end)})"

    def figure_text(self, value: float) -> str:
        """Return a value of the figure for people: a share in percent."""
        return format_share(value) if scale_of(self.figure) is SHARE_SCALE else format_number(value)

    def range_text(self, forecast: Forecast) -> str:
        """Return the ends of a forecast's interval."""
        return f"{self.figure_text(forecast.low)}-{self.figure_text(forecast.high)}"


@dataclass(frozen=True)
class RunForecast:
    """Forecasts of a run's figures, or the reason why there is none."""

    run: str
    status: str
    step: int = 0
    total_steps: int = 0
    figures: tuple[FigureForecast, ...] = ()
    siblings: int = 0
    """number of finished runs that calibrate the interval of the loss"""
    problem: str = ""
    """reason why the loss has no forecast; "" where it has"""
    remarks: tuple[str, ...] = ()

    @property
    def loss(self) -> FigureForecast | None:
        """Forecast of the loss; None without one."""
        return next((figure for figure in self.figures if figure.figure == LOSS.name), None)

    def as_json(self) -> dict[str, Any]:
        """Return the forecasts as values of JSON."""
        values = {key: value for key, value in vars(self).items() if key not in ("figures", "remarks")}
        return {
            **values,
            "remarks": list(self.remarks),
            "figures": [figure.as_json() for figure in self.figures],
        }


class Forecaster:
    """Forecasts of runs in a folder; the curves of finished runs are read once."""

    def __init__(self, records: Sequence[RunRecord], runs_root: Path) -> None:
        self.runs_root = runs_root
        self._records = records
        self._curves: dict[str, RunCurves | None] = {}

    @cached_property
    def finished(self) -> list[RunRecord]:
        """Records of runs that have been trained to their end."""
        return [record for record in self._records if record.resting_status == "finished"]

    def forecast(self, record: RunRecord, run: RunDir) -> RunForecast:
        """Return the forecasts of a run; what stands in their way is its problem."""
        try:
            curves = read_run_curves(record, run)
        except CosmosError as error:
            return RunForecast(record.name, record.status, problem=str(error))
        by_kind = {is_loss: self.siblings(record, of_kind=is_loss) for is_loss in (True, False)}
        figures = [forecast_figure(name, curves, by_kind[name == LOSS.name]) for name in curves.curves]
        return RunForecast(
            record.name,
            record.status,
            curves.step,
            curves.total_steps,
            tuple(figure for figure in figures if figure),
            len(by_kind[True]),
            why_no_forecast(curves),
            curves.remarks,
        )

    def loss(self, record: RunRecord, run: RunDir) -> FigureForecast | None:
        """Return the forecast of a run's loss alone; None where there is none."""
        try:
            curves = read_run_curves(record, run)
        except CosmosError:
            return None
        has_loss = LOSS.name in curves.curves
        siblings = self.siblings(record, of_kind=True)
        return forecast_figure(LOSS.name, curves, siblings) if has_loss else None

    def siblings(self, record: RunRecord, *, of_kind: bool) -> list[RunCurves]:
        """Return the curves of the finished runs that are the nearest by parameters.

        `of_kind`: of those with the same kind of loss alone; an evaluation is measured alike for all of them.
        """
        kind = loss_kind(record)
        others = [r for r in self.finished if r.name != record.name]
        alike = [r for r in others if not of_kind or loss_kind(r) == kind]
        nearest = sorted(alike, key=lambda other: num_differences(record, other))[:MAX_SIBLINGS]
        return [curves for other in nearest if (curves := self.curves_of(other))]

    def curves_of(self, record: RunRecord) -> RunCurves | None:
        """Return the curves of a finished run; None where they cannot be read."""
        if record.name not in self._curves:
            try:
                curves = read_run_curves(record, RunDir(self.runs_root / record.name))
            except CosmosError:
                curves = None
            self._curves[record.name] = curves
        return self._curves[record.name]


def loss_kind(record: RunRecord) -> list[Any]:
    """Return the values of the parameters that decide what a loss is made of."""
    return [record.params.get(key) for key in LOSS_KIND]


def num_differences(record: RunRecord, other: RunRecord) -> int:
    """Return the number of parameters of training in which two runs differ."""
    return sum(
        value != other.params.get(key)
        for key, value in record.params.items()
        if key.startswith(COMPARED_SECTIONS)
    )


def read_run_curves(record: RunRecord, run: RunDir) -> RunCurves:
    """Return the curves of a run.

    Raises InputError where its parameters are lost or nothing is logged, and as `read_thinned_metrics`.
    """
    warmup_steps, epochs = (number_of(record, key, run) for key in SETTINGS)
    lines = read_thinned_metrics(run.metrics, MAX_LINES)
    trained = [line for line in lines if line.get(LOSS.name) is not None and line.get(EPOCH.name)]
    if not trained:
        raise InputError(f"{run.metrics}: no loss is logged yet; a forecast needs a few lines of it")
    total = total_steps(trained[-1], epochs, run)
    return RunCurves(
        record,
        schedule_of(int(warmup_steps), total),
        curves_of_lines(lines),
        trained[-1][STEP.name],
        tuple(remarks_on(lines, record)),
    )


def number_of(record: RunRecord, key: str, run: RunDir) -> float:
    """Return a parameter that is a number. InputError where it is none."""
    value = record.params.get(key)
    if not isinstance(value, int | float) or value < 0:
        raise InputError(f"{run.params}: {key}: no number, without which nothing is forecast")
    return value


def total_steps(line: Mapping[str, Any], epochs: float, run: RunDir) -> int:
    """Return the number of steps of a run by a line of its training. InputError where it cannot be."""
    total: float = line[STEP.name] / line[EPOCH.name] * epochs
    if not 0.5 <= total <= MAX_STEP:
        raise InputError(f"{run.metrics}: {total:g} steps by its epochs: no run has these")
    return round(total)


def schedule_of(warmup_steps: int, num_steps: int) -> LearningSchedule:
    """Return the schedule of a learning rate, as shares of its peak, which decides nothing."""
    params = PretrainParams(warmup_steps=warmup_steps)
    return LearningSchedule.of(lambda step: learning_rate(step, num_steps, params), num_steps)


def curves_of_lines(lines: Sequence[Mapping[str, Any]]) -> dict[str, FigureCurve]:
    """Return the curves of what is forecast, by figure; of steps that were logged twice the later line."""
    points: dict[str, dict[int, float]] = {}
    for line in lines:
        measured = {f"{EVALUATION}/{key}": value for key, value in (line.get(EVALUATION) or {}).items()}
        for figure, value in {LOSS.name: line.get(LOSS.name), **measured}.items():
            if value is not None and scale_of(figure):
                points.setdefault(figure, {})[line[STEP.name]] = value
    curves = {
        name: FigureCurve.of(by_step, scale) for name, by_step in points.items() if (scale := scale_of(name))
    }
    return {name: curve for name, curve in curves.items() if len(curve.steps)}


def remarks_on(lines: Sequence[Mapping[str, Any]], record: RunRecord) -> list[str]:
    """Return what is odd about a run's curve: a loss that is not finite, rises or does not change."""
    losses = [(line[STEP.name], line[LOSS.name]) for line in lines if LOSS.name in line]
    numbers = [value for _, value in losses if value is not None]
    remarks = [record.problem] if record.problem else []
    if losses and losses[-1][1] is None:
        remarks.append(f"the loss of step {losses[-1][0]} is not finite")
    if len(numbers) > 2 and len(set(numbers)) == 1:
        remarks.append(f"the loss has been {format_number(numbers[0])} at every step: nothing is learnt")
    tail = numbers[-max(2, len(numbers) // 10) :]
    if len(numbers) > 3 and min(tail) > max(numbers[:2]):
        remarks.append("the loss is above that of the first steps: the run diverges")
    return remarks


def why_no_forecast(curves: RunCurves) -> str:
    """Return the reason why the loss of a run has no forecast; "" where it has."""
    curve = curves.curves.get(LOSS.name)
    if curve is None:
        return "the logged losses are 0 or below, which no law is for"
    needed = steps_needed(curve.steps, curves.total_steps, FIGURE_POINTS[LOSS.name])
    if not needed:
        return ""
    is_sparse = needed > curves.total_steps
    when = "a smaller pretrain.log_every_steps logs more" if is_sparse else f"step {needed:,.0f}"
    return (
        f"{curves.step:,} of {curves.total_steps:,} steps are too few for a forecast, which needs "
        f"{FIGURE_POINTS[LOSS.name]} logged losses and {MIN_SHARE:.0%} of the steps: {when}"
    )


def forecast_figure(name: str, curves: RunCurves, siblings: Sequence[RunCurves]) -> FigureForecast | None:
    """Return the forecast of a figure; None where its curve has too few points."""
    curve, schedule, scale = curves.curves[name], curves.schedule, scale_of(name)
    assert scale
    if curves.has_ended and curve.reaches(schedule.last_step):
        return FigureForecast(name, curve, settled_fan(curve), hindsight(name, curves, siblings))
    if steps_needed(curve.steps, schedule.last_step, FIGURE_POINTS.get(name, MIN_POINTS)):
        return None
    scores = sibling_scores(name, siblings, curve.last_step / schedule.last_step)
    return FigureForecast(name, curve, forecast_fan(curve, schedule, scale, scores))


def hindsight(name: str, curves: RunCurves, siblings: Sequence[RunCurves]) -> Forecast | None:
    """Return the forecast that a finished run had at HINDSIGHT; None where it had too few points then."""
    past = curves.curves[name].until(HINDSIGHT * curves.schedule.last_step)
    scale = scale_of(name)
    assert scale
    if steps_needed(past.steps, curves.schedule.last_step, FIGURE_POINTS.get(name, MIN_POINTS)):
        return None
    scores = sibling_scores(name, siblings, HINDSIGHT)
    return forecast_fan(past, curves.schedule, scale, scores).end


def sibling_scores(name: str, siblings: Sequence[RunCurves], share: float) -> list[float]:
    """Return the scores of the finished runs' forecasts of a figure at a share of their steps."""
    scale = scale_of(name)
    assert scale
    scores = (
        end_score(sibling.curves[name], sibling.schedule, scale, share)
        for sibling in siblings
        if name in sibling.curves
    )
    return [score for score in scores if score is not None]
