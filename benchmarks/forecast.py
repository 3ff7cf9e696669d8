"""Forecasts of thirty runs from the first 40% of their steps, held against their ends.

The straightforward ways are the last value carried forward, and a power law in steps, fitted to the same
points. Errors are on the scale of the figure: the logarithm of the loss, the log-odds of recalls. A width in
hindsight is that of the narrowest interval, one for all runs, that holds 80% of these very ends.

The curves are those of tests/run/statistics/demo_curves.json; --train trains the runs anew (25 minutes
beside other work), and writes that file.

    python benchmarks/forecast.py [--json]
    python benchmarks/forecast.py --train build/forecast-runs
"""

import json
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row, benchmark_parser, print_rows

from cosmos.config.figures import LOSS
from cosmos.registry.run_forecast import schedule_of
from cosmos.run.statistics.annealing_law import LearningSchedule
from cosmos.run.statistics.forecasts import (
    FORECAST_LEVEL,
    HINDSIGHT,
    FigureCurve,
    Forecast,
    end_score,
    forecast_fan,
)
from cosmos.run.statistics.value_scales import ValueScale, scale_of

CURVES = Path(__file__).parents[1] / "tests" / "run" / "statistics" / "demo_curves.json"

NUM_RUNS, FIRST_RUN = 30, 30
"""Number of runs, and the first of their numbers: those before were at hand when the forecast was written."""

KEPT_FIGURES = (
    LOSS.name,
    "evaluation/student/heldout/image_to_text_R@5",
    "evaluation/student/heldout/text_to_image_R@5",
    "evaluation/teacher/heldout/text_to_image_R@5",
    "evaluation/student/heldout/text_to_image_mean_rank",
)
"""Figures whose curves are kept."""

WORLD = ("--data.name", "forecast-demo", "--data.demo.num_train", "480", "--data.demo.num_heldout", "200")

LOSSES = (
    ("--loss.distillation", "cross-modal"),
    ("--loss.distillation", "cross-modal"),
    ("--loss.distillation", "no-cross-attention"),
    ("--loss.distillation", "none"),
    ("--loss.contrastive", "siglip", "--loss.siglip_bias", "-2.8", "--loss.distillation", "none"),
)
"""Options of the losses that runs take in turn."""

MAX_POWER = 3.0
"""Largest exponent of the plain power law."""


@dataclass(frozen=True, eq=False)
class JudgedRun:
    """Finished run whose end is forecast."""

    name: str
    loss: tuple[str, ...]
    schedule: LearningSchedule
    curves: dict[str, FigureCurve]

    def past(self, figure: str) -> FigureCurve:
        return self.curves[figure].until(HINDSIGHT * self.schedule.last_step)

    def end(self, figure: str) -> float:
        return float(self.curves[figure].values[-1])

    @classmethod
    def of(cls, values: dict[str, Any]) -> "JudgedRun":
        schedule = schedule_of(values["warmup_steps"], values["total_steps"])
        curves = {
            name: FigureCurve(np.array(steps, float), np.array(points, float))
            for name, (steps, points) in values["curves"].items()
        }
        return cls(values["name"], tuple(values["loss"]), schedule, curves)


def run_options(number: int) -> list[str]:
    """Return the parameters of a run: seed, learning rate, momentum, crops, captions, epochs and loss."""
    draw = random.Random(number)
    options = {
        "--pretrain.seed": 100 + number,
        "--pretrain.learning_rate": round(5e-4 * 8 ** draw.random(), 6),
        "--pretrain.momentum": round(1 - 0.5 * 0.02 ** draw.random(), 4),
        "--pretrain.epochs": draw.randint(5, 9),
        "--views.num_local_crops": draw.randint(0, 3),
        "--views.num_captions": draw.randint(2, 6),
        "--pretrain.log_every_steps": 5,
        "--pretrain.evaluate_every_epochs": 1,
    }
    named = [str(part) for option in options.items() for part in option]
    return ["--experiment", "small-demo", *WORLD[:2], *named, *LOSSES[number % len(LOSSES)]]


def train_runs(folder: Path) -> None:
    """Train the runs that are not there yet, in this process, and write their curves."""
    from cosmos.cli import run_arguments
    from cosmos.registry.index import list_runs
    from cosmos.registry.record import RunRecord

    settings = {
        "RUNS_ROOT": folder,
        "DATA_ROOT": folder / "data",
        "CLUSTER": "debug",
        "WORKERS": 0,
        "THREADS": 1,
    }
    os.environ |= {f"COSMOS_{key}": str(value) for key, value in settings.items()}
    os.environ["COSMOS_WANDB__MODE"] = "disabled"
    run_arguments(["prepare", "--experiment", "small-demo", *WORLD])
    for number in range(FIRST_RUN, FIRST_RUN + NUM_RUNS):
        run_arguments(["pretrain", "--run", f"run-{number:02}", *run_options(number)])
    records: list[RunRecord] = [record for record in list_runs(folder) if record.name.startswith("run-")]
    runs = ",\n".join(json.dumps(kept_curves(record, folder), separators=(",", ":")) for record in records)
    CURVES.write_text(f"[\n{runs}\n]\n")


def kept_curves(record: Any, folder: Path) -> dict[str, Any]:
    """Return what is kept of a run: schedule, kind of loss, curves."""
    from cosmos.registry.run_forecast import loss_kind, read_run_curves
    from cosmos.run.directory import RunDir

    curves = read_run_curves(record, RunDir(folder / record.name))
    shown = {
        name: [list(map(int, curve.steps)), [float(f"{value:.5g}") for value in curve.values]]
        for name, curve in curves.curves.items()
        if name in KEPT_FIGURES
    }
    return {
        "name": record.name,
        "loss": loss_kind(record),
        "warmup_steps": record.params["pretrain.warmup_steps"],
        "total_steps": curves.total_steps,
        "curves": shown,
    }


def read_runs() -> list[JudgedRun]:
    return [JudgedRun.of(values) for values in json.loads(CURVES.read_text())]


def forecasts(runs: Sequence[JudgedRun], figure: str, *, with_siblings: bool) -> Iterator[Forecast]:
    """Yield the forecast of each run's end, with the others as finished runs, or without."""
    scale = scale_of(figure)
    assert scale
    for run in runs:
        is_loss = figure == LOSS.name
        others = [o for o in runs if o.name != run.name and (o.loss == run.loss or not is_loss)]
        scores = [
            end_score(other.curves[figure], other.schedule, scale, HINDSIGHT)
            for other in (others if with_siblings else [])
        ]
        kept = [score for score in scores if score is not None]
        yield forecast_fan(run.past(figure), run.schedule, scale, kept).end


def carried(past: FigureCurve, schedule: LearningSchedule, scale: ValueScale) -> float:
    """Return the last value, on its scale."""
    return float(scale.to_scale(past.values[-1:])[0])


def plain_power_law(past: FigureCurve, schedule: LearningSchedule, scale: ValueScale) -> float:
    """Return the end by a straight line through logarithms: value by step, on its scale."""
    places, logs = scale.to_scale(past.values), np.log(past.steps)
    slope, level = np.polyfit(logs, places, 1)
    return float(level + np.clip(slope, -MAX_POWER, MAX_POWER) * np.log(schedule.last_step))


def hindsight_width(errors: Sequence[float]) -> float:
    """Return the width of the narrowest constant interval that holds FORECAST_LEVEL of these errors."""
    ordered = np.sort(errors)
    count = int(np.ceil(FORECAST_LEVEL * len(ordered)))
    return float(min(ordered[count - 1 :] - ordered[: len(ordered) - count + 1]))


def judge(runs: Sequence[JudgedRun], figure: str) -> dict[str, Any]:
    """Return shares of ends that intervals hold, and mean errors and widths by the way of forecasting."""
    scale = scale_of(figure)
    assert scale
    judged = [run for run in runs if len(run.past(figure).steps) > 1]
    ends = scale.to_scale(np.array([run.end(figure) for run in judged]))
    result: dict[str, Any] = {"figure": figure, "runs": len(judged), "spread": hindsight_width(list(ends))}
    for way, with_siblings in {"alone": False, "with finished runs": True}.items():
        ours = list(forecasts(judged, figure, with_siblings=with_siblings))
        values = [scale.to_scale(np.array([f.value, f.low, f.high])) for f in ours]
        result[way] = {
            "held": sum(f.holds(run.end(figure)) for f, run in zip(ours, judged, strict=True)),
            "error": float(np.mean([abs(v[0] - end) for v, end in zip(values, ends, strict=True)])),
            "width": float(np.mean([v[2] - v[1] for v in values])),
            "hindsight": hindsight_width([v[0] - end for v, end in zip(values, ends, strict=True)]),
        }
    ways: dict[str, Callable[..., float]] = {"carried": carried, "power law": plain_power_law}
    for way, forecast in ways.items():
        errors = [
            forecast(run.past(figure), run.schedule, scale) - end
            for run, end in zip(judged, ends, strict=True)
        ]
        result[way] = {"error": float(np.mean(np.abs(errors))), "hindsight": hindsight_width(errors)}
    return result


def rows_of(result: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of a figure."""
    name = result["figure"].removeprefix("evaluation/").replace("/heldout", "")
    for way in ("alone", "with finished runs"):
        ours = result[way]
        for other in ("carried", "power law"):
            for part in ("error", "hindsight"):
                yield Row(f"{name}, {way}: {part} beside {other}", "scale", result[other][part], ours[part])
        held = f"{ours['held']} of {result['runs']} ends in the interval"
        yield Row(f"{name}, {way}: width beside spread", "scale", result["spread"], ours["width"], limit=held)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--train", type=Path, help="folder of runs to train")
    arguments = parser.parse_args()
    if arguments.train:
        train_runs(arguments.train.absolute())
    if not CURVES.exists():
        sys.exit(f"{CURVES}: missing; --train makes it")
    runs = read_runs()
    figures = [figure for figure in KEPT_FIGURES if any(figure in run.curves for run in runs)]
    print_rows([row for figure in figures for row in rows_of(judge(runs, figure))], arguments.json)


if __name__ == "__main__":
    main()
