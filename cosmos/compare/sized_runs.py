"""Law over the sizes of finished runs, and the next run that it suggests."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, TypeVar

from cosmos.compare.comparison import LOSS_SETTINGS
from cosmos.config.figures import LOSS, SAMPLES
from cosmos.config.number_text import format_number
from cosmos.config.params import Params
from cosmos.errors import CosmosError
from cosmos.plan.dimensions import ModelDimensions
from cosmos.registry.record import DATASET_PREFIX, RunRecord
from cosmos.run.directory import RunDir, load_saved_params
from cosmos.run.metrics import read_metrics
from cosmos.run.statistics.batch_rules import scale_batch, scale_learning_rate, scale_momentum
from cosmos.run.statistics.forecasts import FORECAST_LEVEL, Forecast
from cosmos.run.statistics.scaling_law import (
    GROWTH,
    NoLawError,
    ScalingLaw,
    SizedRun,
    fit_scaling_law,
)

BATCH_SIZE = "pretrain.batch_size"
"""Path of the parameter of LOSS_SETTINGS that momentum and learning rate follow."""

Value = TypeVar("Value", bound=Hashable)

END_SHARE = 0.1
"""Share of the steps, the last ones, whose mean loss a run counts with: a single batch scatters."""

MIN_AGREEMENT = 0.02
"""Distance of 1 - momentum, as a share, from which on a run's momentum differs from the rule's."""


@dataclass(frozen=True)
class MeasuredRun:
    """Finished run with what a law takes of it, and the parameters that follow the batch."""

    name: str
    sized: SizedRun
    batch_size: int
    momentum: float
    learning_rate: float
    settings: tuple[Any, ...]
    """parameters of LOSS_SETTINGS but the batch size, without which losses do not compare"""
    data: str
    """hash of the training data"""

    def scaled(self, batch_size: int) -> tuple[float, float]:
        """Return momentum and learning rate for another batch size, by the rules of `batch_rules`."""
        ratio = batch_size / self.batch_size
        return scale_momentum(self.momentum, ratio), scale_learning_rate(self.learning_rate, ratio)


@dataclass(frozen=True)
class NextRun:
    """Run that a law suggests."""

    num_parameters: float
    samples: float
    loss: Forecast
    batch_size: int
    momentum: float
    learning_rate: float
    origin: str
    """run whose batch, momentum and learning rate are scaled"""


@dataclass(frozen=True)
class LawForecast:
    """Law over runs with the next one that it suggests, or the reason why there is none."""

    problem: str = ""
    law: ScalingLaw | None = None
    next_run: NextRun | None = None
    checks: tuple[str, ...] = ()
    """momenta of runs beside those of the rule"""
    remarks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the law as values of JSON."""
        values: dict[str, Any] = {"problem": self.problem, "checks": list(self.checks)}
        if self.law and self.next_run:
            fitted = {"floor": self.law.floor, "scatter": self.law.scatter, "exponents": self.law.exponents}
            values |= {"runs": len(self.law.runs), **fitted, "next_run": asdict(self.next_run)}
        return {**values, "remarks": list(self.remarks)}


def law_of_records(records: Sequence[RunRecord], runs: Sequence[RunDir]) -> LawForecast:
    """Return the law over runs: of the largest group that minimises one loss on batches of one size."""
    measured = list(measured_runs(records, runs))
    if not measured:
        return LawForecast("no law: none of the runs has finished")
    settings = most_common([run.settings for run in measured])
    alike = [run for run in measured if run.settings == settings]
    batch_size = most_common([run.batch_size for run in alike])
    group = [run for run in alike if run.batch_size == batch_size]
    checks, remarks = tuple(momentum_checks(alike)), tuple(group_remarks(measured, group))
    try:
        law = fit_scaling_law([run.sized for run in group])
    except NoLawError as error:
        return LawForecast(f"no law: {error}", checks=checks, remarks=remarks)
    return LawForecast("", law, suggest_run(law, group), checks, remarks)


def most_common(values: Sequence[Value]) -> Value:
    """Return the value that there is most of."""
    return Counter(values).most_common(1)[0][0]


def measured_runs(records: Sequence[RunRecord], runs: Sequence[RunDir]) -> Iterator[MeasuredRun]:
    """Yield the finished runs whose files can be read."""
    for record, run in zip(records, runs, strict=True):
        if record.resting_status == "finished":
            with suppress(CosmosError, LookupError):
                measured = measure_run(record, run)
                if measured.sized.loss > 0:
                    yield measured


def measure_run(record: RunRecord, run: RunDir) -> MeasuredRun:
    """Return what a law takes of a finished run. Raises CosmosError or LookupError where that is lost."""
    params = load_saved_params(run)
    lines = [line for line in read_metrics(run.metrics) if line.get(LOSS.name) is not None]
    last = lines[-1]["step"]
    losses = [line[LOSS.name] for line in lines if line["step"] > (1 - END_SHARE) * last]
    sized = SizedRun(size_of_model(params), record.metrics[SAMPLES.name], fmean(losses))
    settings = {key: value for key, value in record.params.items() if key.startswith(LOSS_SETTINGS)}
    settings.pop(BATCH_SIZE, None)
    pretrain = params.pretrain
    return MeasuredRun(
        record.name,
        sized,
        pretrain.batch_size,
        pretrain.momentum,
        pretrain.learning_rate,
        tuple(sorted(settings.items())),
        str(record.dataset.get(f"{DATASET_PREFIX}manifest", "")),
    )


def size_of_model(params: Params) -> int:
    """Return the number of parameters without the table of the vocabulary, of which a caption needs few."""
    dimensions = ModelDimensions.of(params)
    return dimensions.num_parameters - dimensions.vocab_size * dimensions.text.width


def group_remarks(measured: Sequence[MeasuredRun], group: Sequence[MeasuredRun]) -> Iterator[str]:
    """Yield what the law leaves out, and that its runs were trained on different data."""
    if left := len(measured) - len(group):
        yield f"finished runs minimise another loss or have another batch size, and are left out: {left}"
    if (number := len({run.data for run in group})) > 1:
        yield f"the runs are of {number} versions of the training data: the law holds if they are of one kind"


def suggest_run(law: ScalingLaw, group: Sequence[MeasuredRun]) -> NextRun:
    """Return the run that a law suggests, with batch, momentum and rate scaled from the best run."""
    size, samples = law.next_run()
    best = min(group, key=lambda run: run.sized.loss)
    batch_size = scale_batch(best.batch_size, samples / best.sized.samples)
    loss = law.forecast(size, samples)
    return NextRun(size, samples, loss, batch_size, *best.scaled(batch_size), best.name)


def momentum_checks(measured: Sequence[MeasuredRun]) -> Iterator[str]:
    """Yield, for each batch size, the best run's momentum beside the one that the rule gives.

    It is scaled from the smallest batch. There is nothing to check where all runs have one batch size.
    """
    by_batch: dict[int, MeasuredRun] = {}
    for run in sorted(measured, key=lambda run: run.sized.loss):
        by_batch.setdefault(run.batch_size, run)
    if len(by_batch) < 2:
        return
    smallest = by_batch[min(by_batch)]
    for batch_size, run in sorted(by_batch.items())[1:]:
        momentum, _ = smallest.scaled(batch_size)
        differs = abs(run.momentum - momentum) > MIN_AGREEMENT * (1 - momentum)
        yield (
            f"batch {batch_size}: {run.name} has momentum {format_number(run.momentum)}; that of "
            f"{smallest.name} at batch {smallest.batch_size}, {format_number(smallest.momentum)}, "
            f"scales to {format_number(momentum)}{'' if differs else ', which agrees'}"
        )


def describe_law(forecast: LawForecast) -> Iterator[str]:
    """Yield the lines about a law, or about its absence."""
    law, suggested = forecast.law, forecast.next_run
    if law and suggested:
        terms = "".join(
            f" + {format_number(law.factor(name))} x {name}^-{law.exponents[name]:.3g}" for name in law.varied
        )
        scatter = f"{len(law.runs)} runs lie {100 * law.scatter:.2g}% around it"
        yield f"law: loss = {format_number(law.floor)}{terms}; {scatter}"
        loss = suggested.loss
        size, samples = map(format_number, (suggested.num_parameters, round(suggested.samples)))
        yield (
            f"next, at {GROWTH:g} times the compute of the largest: {size} parameters without vocabulary, "
            f"{samples} samples: loss {format_number(loss.value)} "
            f"({FORECAST_LEVEL:.0%}: {format_number(loss.low)}-{format_number(loss.high)})"
        )
        yield (
            f"batch, momentum and rate by rules of thumb from {suggested.origin}: {suggested.batch_size}, "
            f"{format_number(suggested.momentum)}, {format_number(suggested.learning_rate)}; check them"
        )
    else:
        yield forecast.problem
    yield from forecast.checks
    yield from forecast.remarks
