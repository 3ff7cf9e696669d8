"""Sweeps for a person: the space, trials as they come and go, what came out."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cosmos.config.identity import flatten_sections
from cosmos.config.search_space import CategoricalChoices, Distribution, IntegerRange, LogOneMinusRange
from cosmos.config.sweep import Sweep
from cosmos.registry.candidates import Candidate
from cosmos.registry.sweep_directory import TrialRecord
from cosmos.report.text import format_parameter, parameter_label
from cosmos.search.conclusion import Conclusion

NUM_SHOWN = 10
"""Configurations of a table."""

MARKS = {"running": "begun", "finished": "finished", "pruned": "pruned", "failed": "failed"}


def print_sweep(sweep: Sweep) -> None:
    """What a sweep would search."""
    base = flatten_sections(sweep.base.model_dump(mode="json"))
    table = Table("parameter", "searched", "where", "base", box=box.SIMPLE_HEAD)
    for path, searched in sweep.file.space.items():
        where = ", ".join(f"{other} = {format_parameter(wanted)}" for other, wanted in searched.when.items())
        table.add_row(path, described(searched), where, format_parameter(base[path]))
    console = Console()
    console.print(f"{sweep.name}: {sweep.file.about}", markup=False)
    console.print(table)
    goals = ", ".join(f"{objective.goal} {objective.figure}" for objective in sweep.file.objectives)
    file = sweep.file
    console.print(
        f"{goals}\n{file.trials} trials of {sweep.base.pretrain.epochs} epochs; sampler {file.sampler.name}, "
        f"pruner {file.pruner.name}; {file.repeats.seeds} further seeds of the best {file.repeats.best}",
        markup=False,
    )


def described(searched: Distribution) -> str:
    """A distribution, in a few words."""
    if isinstance(searched, CategoricalChoices):
        return format_parameter(searched.choices)
    span = f"{searched.low:g} to {searched.high:g}"
    if isinstance(searched, LogOneMinusRange):
        return f"{span}, log of 1 - x"
    whole = ["whole"] if isinstance(searched, IntegerRange) else []
    steps = [f"by {searched.step:g}"] if searched.step not in (0, 1) else []
    return ", ".join([span, *whole, *(["log"] if searched.log else []), *steps])


def trial_line(trial: TrialRecord) -> str:
    """How a trial stands, in a line."""
    job = f" (job {trial.job})" if trial.job and trial.state == "running" else ""
    told = {
        "running": values_in_words({parameter_label(path): value for path, value in trial.asked.items()}),
        "failed": trial.problem,
    }.get(trial.state, values_in_words(trial.values))
    return f"{trial.name}: {MARKS[trial.state]}{job}: {told}"


def values_in_words(values: Mapping[str, Any]) -> str:
    """Values by name, in a line."""
    return ", ".join(f"{name} {format_parameter(value)}" for name, value in values.items())


def print_conclusion(found: Conclusion, sweep: Sweep) -> None:
    """What a sweep came to."""
    console = Console()
    searched = list(sweep.file.space)
    figures = [objective.figure for objective in sweep.file.objectives]
    columns = ["", "trial", "seeds", *(figure.rpartition("/")[2] for figure in figures)]
    table = Table(*columns, *map(parameter_label, searched), box=box.SIMPLE_HEAD)
    for one in found.candidates[:NUM_SHOWN]:
        table.add_row(*cells(one, searched), style="bold" if one.is_best else "")
    console.print(f"{found.sweep}: {', '.join(figures)}", markup=False)
    console.print(table)
    for line in remarks(found):
        console.print(line, markup=False, soft_wrap=True)


def cells(one: Candidate, searched: list[str]) -> list[str]:
    """A row of the table."""
    figures = [str(figure) for figure in one.figures.values()]
    asked = [format_parameter(one.asked[path]) if path in one.asked else "" for path in searched]
    return ["*" if one.is_best else "", str(one.number), str(one.num_seeds), *figures, *asked]


def remarks(found: Conclusion) -> Iterator[str]:
    """What there is to say beside the table."""
    yield ", ".join(f"{count} {state}" for state, count in found.states.items()) or "no trial has begun"
    if any(figure.is_repeated for one in found.candidates for figure in one.figures.values()):
        yield "± is the standard deviation over seeds; * marks what no other beats"
    for objective, shares in found.importances.items():
        ranked = sorted(shares.items(), key=lambda share: -share[1])
        yield f"importance for {objective}: " + ", ".join(
            f"{parameter_label(path)} {share:.0%}" for path, share in ranked
        )
    if found.overlay:
        yield f"experiment: {found.overlay}\nrun: {found.run}"
