"""List of experiments: the needs of each on this machine, and the figures to expect."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cosmos.config.evaluate_params import EvaluateParams, SuiteName
from cosmos.config.experiment import (
    EXPERIMENTS,
    Experiment,
    experiment_file,
    experiment_names,
    load_experiment,
)
from cosmos.config.figures import Figures
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_share
from cosmos.config.printable_text import cosmos_command, printable
from cosmos.data.order import batch_per_rank
from cosmos.errors import CosmosError, InputError
from cosmos.report.columns import fitting_columns, gaps_to_widest, text_width
from cosmos.report.published import published_figures
from cosmos.report.terminal import Terminal, plain_text

ExpectedFigures = Mapping[str, Mapping[str, Figures]]
"""Published figures by suite and dataset."""

_HEADINGS = ("experiment", "data", "model", "GPUs", "per GPU")


@dataclass(frozen=True)
class ExperimentPlan:
    """Settings, needs and expectations of an experiment on this machine."""

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
    """reason why processes cannot share a batch equally; "" where they can"""
    request: dict[str, Any]
    """request of a job: needs of the experiment, overridden by this machine's settings"""
    expected: str
    """expectation in the words of the experiment's file"""
    published: ExpectedFigures
    """figures published of the checkpoint that it is compared with"""


@dataclass(frozen=True)
class ExperimentListing:
    """Experiment by name, with its plan or the problem of its file."""

    name: str
    file: str
    plan: ExperimentPlan | None
    problem: str = ""


def list_experiments(names: Sequence[str], machine: Machine, quiet: bool = False) -> list[ExperimentListing]:
    """Return the experiments of these names or files, or all that lie directly in experiments/.

    They are printed, too, unless `quiet`. An experiment whose file is wrong or missing is listed with its
    problem; `refuse_invalid_experiments` makes an error of it.
    """
    chosen = names or experiment_names()
    if not chosen:
        raise InputError(f"{EXPERIMENTS}: holds no experiments; run from the root of the project")
    listed = [inspect_experiment(name, machine) for name in chosen]
    if not quiet:
        print_experiments(listed, bool(names))
    return listed


def refuse_invalid_experiments(listed: Sequence[ExperimentListing]) -> None:
    """Raise InputError that lists the problems of invalid files, if there are any."""
    problems = [item.problem for item in listed if item.problem]
    if problems:
        raise InputError("\n  ".join(["not every experiment is valid:", *problems]))


def inspect_experiment(name: str, machine: Machine) -> ExperimentListing:
    """Return an experiment as it would run on this machine, or with the problem of its file."""
    file = str(experiment_file(name))
    try:
        return ExperimentListing(name, file, plan_experiment(name, load_experiment(name), machine.slurm))
    except CosmosError as error:
        return ExperimentListing(name, file, None, str(error))


def plan_experiment(name: str, experiment: Experiment, site: JobRequest) -> ExperimentPlan:
    """Return the plan of an experiment where the machine's settings of jobs are `site`."""
    params, request = experiment.params, site.over(experiment.needs)
    share, warning = batch_share(params.pretrain.batch_size, request.num_ranks)
    return ExperimentPlan(
        about=experiment.about,
        cost=experiment.cost,
        commands=experiment_commands(name, experiment.name),
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
        published=figures_to_expect(params.evaluate),
    )


def experiment_commands(name: str, run: str) -> tuple[str, ...]:
    """Return the commands that run an experiment, step by step."""
    return (
        cosmos_command("prepare", "--experiment", name),
        cosmos_command("pretrain", "--experiment", name, "--run", run),
        cosmos_command("evaluate", "--experiment", name, "--run", run),
    )


def batch_share(batch_size: int, num_ranks: int) -> tuple[int, str]:
    """Return the samples of a step on each rank; or 0, and the reason why ranks cannot share them equally."""
    try:
        return batch_per_rank(batch_size, num_ranks), ""
    except InputError as error:
        return 0, str(error)


def figures_to_expect(evaluate: EvaluateParams) -> ExpectedFigures:
    """Return the published figures of the checkpoint to compare with, on the datasets to be measured."""
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


def print_experiments(listed: Sequence[ExperimentListing], in_detail: bool) -> None:
    """Print a table of experiments, or the details of each."""
    console = Terminal()
    if in_detail:
        for item in listed:
            console.print(plain_text(printable(item.name), "bold"), experiment_details(item), "")
        return
    console.print(experiments_table(listed, console.width))
    console.print(
        "GPUs: nodes x GPUs of each; per GPU: samples of a step; figures in percent. "
        "`cosmos experiments NAME` shows all of one",
        style="dim",
    )


def experiments_table(listed: Sequence[ExperimentListing], width: int) -> Group:
    """Return a line for each experiment, of columns that have room, with what it is and expects below."""
    rows = [_HEADINGS, *(experiment_cells(item) for item in listed)]
    columns = [
        [cell + gap for cell, gap in zip(column, gaps_to_widest(column), strict=True)]
        for column in zip(*rows, strict=True)
    ]
    fitting = fitting_columns([text_width(column[0]) for column in columns], width, kept=1)
    heading, *lines = (
        "  ".join(row).rstrip() for row in zip(*(columns[number] for number in fitting), strict=True)
    )
    parts: list[RenderableType] = [plain_text(heading, "underline")]
    for item, line in zip(listed, lines, strict=True):
        parts += [
            plain_text(line, "bold"),
            *(Padding(words, (0, 0, 0, 2), expand=False) for words in experiment_remarks(item)),
        ]
    return Group(*parts)


def experiment_cells(item: ExperimentListing) -> tuple[str, ...]:
    """Return the texts of an experiment's line, below _HEADINGS."""
    name, plan = printable(item.name), item.plan
    if plan is None:
        return (name, *["-"] * (len(_HEADINGS) - 1))
    nodes, gpus = plan.request["nodes"], plan.request["gpus_per_node"]
    share = str(plan.batch_per_gpu) if plan.batch_per_gpu else "uneven"
    return name, plan.data, printable(plan.model), f"{nodes} x {gpus}" if gpus else "none", share


def experiment_remarks(item: ExperimentListing) -> list[Text]:
    """Return the lines below an experiment's: description and expectation, or the problem."""
    if item.plan is None:
        return [plain_text(item.problem, "red")]
    expected = ", ".join(first_published_figures(item.plan.published)) or item.plan.expected
    return [plain_text(printable(item.plan.about)), plain_text(printable(f"expected: {expected}"), "dim")]


def first_published_figures(expected: ExpectedFigures) -> list[str]:
    """Return the first figure on the first dataset of each suite."""
    firsts = (next(iter(datasets.items())) for datasets in expected.values())
    return [f"{dataset} {share_in_percent(next(iter(figures.values())))}" for dataset, figures in firsts]


def share_in_percent(share: float) -> str:
    """Return a share in percent, without the sign."""
    return format_share(share).removesuffix("%")


def experiment_details(item: ExperimentListing) -> Table:
    """Return the details of an experiment, a line for each field."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    fields = plan_fields(item.plan) if item.plan else {}
    for key, value in {"file": item.file, "problem": item.problem, **fields}.items():
        if value:
            shown = value if isinstance(value, Table) else plain_text(str(value))
            lines.add_row(f"  {key.replace('_', ' ')}", shown)
    return lines


def plan_fields(plan: ExperimentPlan) -> dict[str, Any]:
    """Return the fields of a plan as they are shown, without the keys of the request that are unset."""
    asked = (f"{key.replace('_', ' ')}: {value}" for key, value in plan.request.items() if value)
    return {
        **{key: printable(str(value)) for key, value in asdict(plan).items() if value},
        "commands": "\n".join(map(printable, plan.commands)),
        "request": printable(", ".join(asked)),
        "published": figures_table(plan.published),
    }


def figures_table(expected: ExpectedFigures) -> Table | None:
    """Return published figures in percent, a row for each dataset; None where there are none."""
    rows = Table.grid(padding=(0, 2))
    for suite, datasets in expected.items():
        for dataset, figures in datasets.items():
            metrics = (f"{metric} {share_in_percent(value)}" for metric, value in figures.items())
            rows.add_row(suite, dataset, plain_text(", ".join(metrics)))
    return rows if rows.row_count else None
