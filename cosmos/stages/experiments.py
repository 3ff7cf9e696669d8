"""Experiments: which ones there are, what each needs on this machine, and what to expect of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cosmos.config.evaluate_params import EvaluateParams, SuiteName
from cosmos.config.experiment import EXPERIMENTS, Experiment, experiment_file, load_experiment
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.data.order import batch_per_rank
from cosmos.errors import InputError
from cosmos.report.published import Figures, published_figures
from cosmos.report.text import printable

Expected = Mapping[str, Mapping[str, Figures]]
"""Published figures by suite and dataset."""

_HEADINGS = ("experiment", "data", "model", "GPUs", "per GPU")


@dataclass(frozen=True)
class Plan:
    """What an experiment comes to on this machine."""

    about: str
    cost: str
    commands: tuple[str, ...]
    data: str
    source: str
    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    momentum: float
    precision: str
    batch_per_gpu: int
    """samples of a step on each GPU, or process without one; 0 where they cannot be shared equally"""
    warning: str
    """why they cannot"""
    request: dict[str, Any]
    """what a job asks for: what the experiment needs, and what this machine's settings say instead"""
    expected: str
    """what the experiment's file says comes out"""
    published: Expected
    """what is published of the checkpoint that it is compared with"""


@dataclass(frozen=True)
class Listed:
    """An experiment, or what is wrong with its file."""

    name: str
    file: str
    plan: Plan | None
    problem: str = ""


def experiments(names: Sequence[str], machine: Machine, quiet: bool = False) -> list[Listed]:
    """Lists the experiments of these names or files, or all that lie directly in experiments/.

    One whose file is wrong or missing is listed with its problem; `refuse_invalid` makes an error of it.
    """
    listed = [look(name, machine) for name in names or known()]
    if not quiet:
        show(listed, bool(names))
    return listed


def refuse_invalid(listed: Sequence[Listed]) -> None:
    """Raises ValueError that says what is wrong with which files, if any."""
    problems = [item.problem for item in listed if item.problem]
    if problems:
        raise InputError("\n  ".join(["not every experiment is valid:", *problems]))


def known() -> list[str]:
    """Names of the experiments, in order. ValueError where there are none."""
    names = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
    if not names:
        raise InputError(f"{EXPERIMENTS}: holds no experiments; run from the root of the project")
    return names


def look(name: str, machine: Machine) -> Listed:
    """An experiment as it would run on this machine."""
    file = str(experiment_file(name))
    try:
        return Listed(name, file, plan(name, load_experiment(name), machine.slurm))
    except ValueError as error:
        return Listed(name, file, None, str(error))


def plan(name: str, experiment: Experiment, site: JobRequest) -> Plan:
    """What `experiment` comes to where the machine's settings of jobs are `site`."""
    params, request = experiment.params, site.over(experiment.needs)
    share, warning = shared(params.pretrain.batch_size, request.num_ranks)
    return Plan(
        about=experiment.about,
        cost=experiment.cost,
        commands=commands(name, experiment.name),
        data=params.data.name,
        source=params.data.source,
        model=params.model.architecture,
        epochs=params.pretrain.epochs,
        batch_size=params.pretrain.batch_size,
        learning_rate=params.pretrain.learning_rate,
        warmup_steps=params.pretrain.warmup_steps,
        momentum=params.pretrain.momentum,
        precision=params.pretrain.precision,
        batch_per_gpu=share,
        warning=warning,
        request=request.model_dump(mode="json"),
        expected=experiment.expected,
        published=published(params.evaluate),
    )


def commands(name: str, run: str) -> tuple[str, ...]:
    """What runs an experiment, step by step."""
    return (
        f"cosmos prepare --experiment {name}",
        f"cosmos pretrain --experiment {name} --run {run}",
        f"cosmos evaluate --experiment {name} --run {run}",
    )


def shared(batch_size: int, num_ranks: int) -> tuple[int, str]:
    """Samples of a step on each rank; or 0, and why ranks cannot share them equally."""
    try:
        return batch_per_rank(batch_size, num_ranks), ""
    except ValueError as error:
        return 0, str(error)


def published(evaluate: EvaluateParams) -> Expected:
    """What is published of the checkpoint to compare with, on the datasets that are to be measured."""
    if not evaluate.published:
        return {}
    by_suite = {
        suite: {
            dataset: figures
            for dataset in getattr(evaluate, suite).datasets
            if (figures := published_figures(evaluate.published, suite, dataset))
        }
        for suite in get_args(SuiteName)
    }
    return {suite: figures for suite, figures in by_suite.items() if figures}


def show(listed: Sequence[Listed], in_detail: bool) -> None:
    """Prints a table of all, or all that is known of some."""
    console = Console()
    if in_detail:
        for item in listed:
            console.print(Text(printable(item.name), "bold"), description(item), "")
        return
    console.print(table(listed))
    console.print(
        "GPUs: nodes x GPUs of each; per GPU: samples of a step; figures in percent. "
        "`cosmos experiments NAME` shows all of one",
        style="dim",
    )


def table(listed: Sequence[Listed]) -> Group:
    """An aligned line for each experiment; below it what it is and what to expect of it."""
    rows = [_HEADINGS, *(cells(item) for item in listed)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    heading, *lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    parts: list[RenderableType] = [Text(heading, "underline")]
    for item, line in zip(listed, lines, strict=True):
        parts += [Text(line, "bold"), *(Padding(words, (0, 0, 0, 2)) for words in remarks(item))]
    return Group(*parts)


def cells(item: Listed) -> tuple[str, ...]:
    """An experiment's line, below _HEADINGS."""
    name, plan = printable(item.name), item.plan
    if plan is None:
        return (name, *["-"] * (len(_HEADINGS) - 1))
    nodes, gpus = plan.request["nodes"], plan.request["gpus_per_node"]
    share = str(plan.batch_per_gpu) if plan.batch_per_gpu else "uneven"
    return name, plan.data, printable(plan.model), f"{nodes} x {gpus}" if gpus else "none", share


def remarks(item: Listed) -> list[Text]:
    """What is below an experiment's line."""
    if item.plan is None:
        return [Text(item.problem, "red")]
    expected = ", ".join(headline(item.plan.published)) or item.plan.expected
    return [Text(printable(item.plan.about)), Text(printable(f"expected: {expected}"), "dim")]


def headline(expected: Expected) -> list[str]:
    """The first figure on the first dataset of each suite."""
    firsts = (next(iter(datasets.items())) for datasets in expected.values())
    return [f"{dataset} {percent(next(iter(figures.values())))}" for dataset, figures in firsts]


def percent(share: float) -> str:
    """A share in percent, without the sign."""
    return f"{share:.1%}".removesuffix("%")


def description(item: Listed) -> Table:
    """All that is known of an experiment, a line for each thing."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for key, value in {"file": item.file, "problem": item.problem, **described(item.plan)}.items():
        if value:
            shown = value if isinstance(value, Table) else Text(str(value))
            lines.add_row(f"  {key.replace('_', ' ')}", shown)
    return lines


def described(plan: Plan | None) -> dict[str, Any]:
    """The fields of a plan as they are shown. What a job does not ask for is left out."""
    if plan is None:
        return {}
    asked = (f"{key.replace('_', ' ')}: {value}" for key, value in plan.request.items() if value)
    return {
        **{key: printable(str(value)) for key, value in asdict(plan).items() if value},
        "commands": "\n".join(map(printable, plan.commands)),
        "request": printable(", ".join(asked)),
        "published": figures_table(plan.published),
    }


def figures_table(expected: Expected) -> Table | None:
    """Published figures in percent, a row for each dataset; None where there are none."""
    rows = Table.grid(padding=(0, 2))
    for suite, datasets in expected.items():
        for dataset, figures in datasets.items():
            metrics = (f"{metric} {percent(value)}" for metric, value in figures.items())
            rows.add_row(suite, dataset, Text(", ".join(metrics)))
    return rows if rows.row_count else None
