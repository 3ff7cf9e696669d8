"""Loading of a sweep: finding its file, reading it, and checking it against Params before anything starts."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from cosmos.config.disk_reading import exists, is_dir
from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import EXPERIMENTS, experiment_names, merge_sections, override_experiment
from cosmos.config.figures import DEVICE_SECONDS, SUITE_METRICS, TRAINING_METRICS, metric_of
from cosmos.config.identity import flatten_sections
from cosmos.config.near_names import close_names, near_names
from cosmos.config.search_space import SearchValue, condition_problems
from cosmos.config.section import expand_home
from cosmos.config.settings_file import Layer, read_settings
from cosmos.config.sweep import Constraint, Objective, Sweep, SweepFile, TrialFigure
from cosmos.config.validation import explain_validation
from cosmos.errors import InputError

SWEEPS_FOLDER = EXPERIMENTS / "sweeps"

NUM_RANDOM_TRIALS = 200
"""Number of random trials that Params must accept: they find values that are impossible only together."""


def load_sweep(name: str, experiment: str = "") -> Sweep:
    """Return the sweep of a file, or of a name in experiments/sweeps/; `experiment` replaces its base.

    Raises InputError that names the file, each wrong key and the remedy.
    """
    path = find_sweep_file(name)
    layer = read_settings(path)
    file = validate_sweep_file(layer)
    if experiment:
        file = file.model_copy(update={"experiment": experiment})
    budget = {"pretrain": {"epochs": file.epochs}} if file.epochs else {}
    if budget and "pretrain.epochs" in flatten_sections(file.fixed):
        raise InputError(f"{path}: epochs and fixed.pretrain.epochs set the same; take one of them out")
    try:
        base = override_experiment(file.experiment, layer.below("fixed", merge_sections(file.fixed, budget)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    sweep = Sweep(path.stem, file, base.params, base.needs, samples=base.samples)
    if problems := sweep_problems(sweep):
        raise InputError("\n  ".join([f"{path}, whose parameters are from {base.origin}:", *problems]))
    return sweep


def find_sweep_file(name: str) -> Path:
    """Return the file of a sweep: a path, or a name in experiments/sweeps/. InputError lists those names."""
    for path in (expand_home(Path(name)), SWEEPS_FOLDER / name, SWEEPS_FOLDER / f"{name}.yaml"):
        if exists(path) and not is_dir(path):
            return path
    near = near_names(name, experiment_names(SWEEPS_FOLDER))
    raise InputError(f"{name}: no such file, and no such sweep in {SWEEPS_FOLDER}; {near}")


def validate_sweep_file(layer: Layer) -> SweepFile:
    """Return the settings in a sweep's file. Raises InputError that names each wrong key."""
    try:
        return SweepFile.model_validate(layer.values)
    except ValidationError as error:
        problems = explain_validation(error, SweepFile, "docs/sweeps.md", [layer])
        raise InputError(f"{layer.name}:\n{problems}") from None


def sweep_problems(sweep: Sweep) -> list[str]:
    """Return the problems for which a sweep cannot run; only those of the first check that finds any."""
    for check in (path_problems, value_problems, objective_problems, pruner_problems):
        if problems := list(check(sweep)):
            return problems
    return []


def path_problems(sweep: Sweep) -> Iterator[str]:
    """Yield a message for each path that is no parameter, and each condition on one that is drawn later."""
    parameters = flatten_sections(sweep.base.model_dump(mode="json"))
    fixed = {**flatten_sections(sweep.file.fixed), **({"pretrain.epochs": 0} if sweep.file.epochs else {})}
    for path in sweep.file.space:
        if path in fixed:
            yield f"space.{path}: `fixed` or `epochs` sets it, too; take it out of one of them"
        elif path == "pretrain.seed":
            yield "space.pretrain.seed: not to be searched; `repeats` has the best trained with further seeds"
        elif path not in parameters:
            near = near_names(path, parameters, "`cosmos pretrain --help` lists them all")
            yield f"space.{path}: no such parameter; {near}"
    yield from condition_problems(sweep.file.space)


def value_problems(sweep: Sweep) -> Iterator[str]:
    """Yield a message for values that Params refuses: the ends of each range, then those of random trials."""
    for path, distribution in sweep.file.space.items():
        if path.startswith(("data.", "evaluate.")):
            yield f"space.{path}: decides what is trained on or measured, so that trials would not compare"
        for value in distribution.extremes:
            if reason := refusal(sweep, {path: value}, only=path) or conversion(sweep, path, value):
                yield f"space.{path}: {value!r}: {reason}"
    suggester = RandomSuggester(random.Random(0))
    for _ in range(NUM_RANDOM_TRIALS):
        values = sweep.suggest(suggester)
        if reason := refusal(sweep, values):
            yield f"space: a trial may be asked for {values}: {reason}; use `when`, or narrower ranges"
            return


def refusal(sweep: Sweep, values: Mapping[str, Any], only: str = "") -> str:
    """Return the reason for which Params refuses `values`, or ""; `only`: the path whose reasons count."""
    try:
        sweep.params(values, 0)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        relevant = [p for p in problems if not only or ".".join(map(str, p["loc"])) == only]
        return "; ".join(p["msg"].removeprefix("Value error, ") for p in relevant)
    return ""


def conversion(sweep: Sweep, path: str, value: SearchValue) -> str:
    """Return the value of another type that Params takes `value` for, in words; "" where it is the same."""
    try:
        taken = flatten_sections(sweep.params({path: value}, 0).model_dump(mode="json")).get(path, value)
    except ValidationError:  # impossible only with the base's other values, as random trials will tell
        return ""
    return "" if taken == value else f"is taken for {taken!r}; write it so"


@dataclass(frozen=True)
class RandomSuggester:
    """Source of random values, which takes the place of an Optuna trial without a study."""

    generator: random.Random

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number between `low` and `high`, from a uniform distribution even if `log`."""
        return (
            low + step * self.generator.randint(0, int((high - low) / step))
            if step
            else self.generator.uniform(low, high)
        )

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return an integer from `low` to `high`."""
        return self.generator.randrange(low, high + 1, step)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return an item of `choices`."""
        return self.generator.choice(choices)


def objective_problems(sweep: Sweep) -> Iterator[str]:
    """Yield a message for each objective or constraint that no trial measures, or that could not decide."""
    names = [f"{figure.key}: {figure.figure}" for figure in sweep.figures]
    yield from (f"{name} is named twice" for name in dict.fromkeys(names) if names.count(name) > 1)
    for figure in sweep.figures:
        problems = list(measurement_problems(sweep, figure))
        if not problems and isinstance(figure, Objective):
            problems = list(goal_problems(figure))
        elif not problems and isinstance(figure, Constraint):
            problems = list(limit_problems(figure))
        yield from (f"{figure.key}: {figure.figure}: {problem}" for problem in problems)


def measurement_problems(sweep: Sweep, figure: TrialFigure) -> Iterator[str]:
    """Yield the reasons for which no trial of a sweep measures a figure."""
    if "/" in figure.figure:
        yield from suite_problems(sweep, figure)
    elif not metric_of(figure.figure):
        near = near_names(figure.figure, [metric.name for metric in TRAINING_METRICS])
        yield f"no such figure of training; {near}"


def suite_problems(sweep: Sweep, figure: TrialFigure) -> Iterator[str]:
    """Yield a message for each part of a suite's figure that no evaluation of the sweep has."""
    suite, *parts = figure.figure.split("/", 3)
    if not figure.suite:
        yield f"{suite} is no suite; take {', '.join(get_args(SuiteName))}"
        return
    if len(parts) < 3:
        yield "name it as <suite>/<dataset>/<model>/<metric>"
        return
    dataset, model, metric = parts
    evaluate = sweep.base.evaluate
    datasets = getattr(evaluate, suite).datasets
    if dataset not in datasets:
        yield f"{dataset} is not among evaluate.{suite}.datasets ({', '.join(datasets)})"
    if model not in evaluate.models:
        yield f"{model} is not among evaluate.models ({', '.join(evaluate.models)})"
    yield from metric_problems(sweep, figure, metric)


def metric_problems(sweep: Sweep, figure: TrialFigure, metric: str) -> Iterator[str]:
    """Yield a message for a metric that the figure's suite does not have.

    The kinds of perception are those of the dataset, which is opened later.
    """
    names = suite_metric_names(sweep, figure)
    if "/" in metric:
        yield "trials have no figures of single classes; take one of the whole dataset"
    elif metric not in names and figure.suite != "perception":
        near = close_names(metric, names) or names
        yield f"no metric {metric}; {figure.suite} has {', '.join(near)}"


def suite_metric_names(sweep: Sweep, figure: TrialFigure) -> list[str]:
    """Return the metrics that a figure of a suite may be of: for an objective those that have a direction."""
    attentions = sweep.base.evaluate.segmentation.attention if figure.suite == "segmentation" else ("",)
    names = [
        metric.name
        for metric in SUITE_METRICS[figure.suite]
        if not metric.is_family and (metric.direction or isinstance(figure, Constraint))
    ]
    return [name for name in names if name.startswith(tuple(attentions))]


def limit_problems(constraint: Constraint) -> Iterator[str]:
    """Yield a message for a limit of a share that is not between 0 and 1, such as one in percent."""
    metric = metric_of(constraint.figure)
    if metric and metric.unit == "share" and not all(0 <= limit <= 1 for limit in constraint.limits):
        limits = ", ".join(f"{limit:g}" for limit in constraint.limits)
        yield f"a share lies between 0 and 1, and the limit is {limits}; 20% is 0.2"


def goal_problems(objective: Objective) -> Iterator[str]:
    """Yield a message for an objective without a goal, whose figure has no better direction either."""
    if not objective.goal:
        yield (
            "no metric that is known to be better when larger or smaller; "
            "add `goal: maximize` or `goal: minimize`"
        )


def pruner_problems(sweep: Sweep) -> Iterator[str]:
    """Yield a message when the pruner would get no figures while trials train."""
    if sweep.file.pruner.name == "none":
        return
    where = f"pruner: {sweep.file.pruner.name}"
    yield from rung_problems(sweep)
    suites = {objective.suite for objective in sweep.file.objectives}
    costs_alone = all(objective.figure == DEVICE_SECONDS.name for objective in sweep.file.objectives)
    if unmeasured := suites - {"", *sweep.base.evaluate.while_training}:
        suite = min(unmeasured)
        add = f"fixed: evaluate: while_training: [{suite}] measures them"
        yield f"{where} needs figures while training, which {suite} has none of; {add}"
    elif costs_alone:
        yield f"{where} needs figures while training, and device_seconds is none; take none, or seconds"
    elif suites - {""} and not sweep.base.pretrain.evaluate_every_epochs:
        yield f"{where} needs figures while training; fixed: pretrain: evaluate_every_epochs: 1 measures them"
    elif sweep.prunes_by_dominance and sweep.file.pruner.name == "hyperband":
        yield f"{where} knows one objective without constraints; take median, halving or promote"


def rung_problems(sweep: Sweep) -> Iterator[str]:
    """Yield a message where no trial comes to a rung, and for each rung at which nothing is measured.

    Rungs beyond the budget are left out, so that a sweep fits bases of any length.
    """
    searched = sweep.file.space.get("pretrain.epochs")
    epochs = max([sweep.base.pretrain.epochs] if searched is None else map(int, searched.extremes))
    every = sweep.base.pretrain.evaluate_every_epochs
    if "pretrain.evaluate_every_epochs" in sweep.file.space and sweep.file.pruner.rungs:
        yield "space.pretrain.evaluate_every_epochs: trials with rungs are measured alike; set it in `fixed`"
    is_evaluated = any(objective.suite for objective in sweep.file.objectives)
    if min(sweep.file.pruner.rungs, default=0) >= epochs:
        yield f"pruner.rungs: {min(sweep.file.pruner.rungs)}: a trial has {epochs} epochs; name fewer"
    for rung in sweep.file.pruner.rungs:
        if is_evaluated and every and rung % every and rung < epochs:
            yield f"pruner.rungs: {rung}: evaluations are every {every} epochs; name a multiple of that"
