"""Tables and lines about sweeps for the terminal: the search space, trials, the conclusion."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table

from cosmos.config.identity import flatten_sections
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_share
from cosmos.config.printable_text import printable
from cosmos.config.search_space import CategoricalChoices, Distribution, IntegerRange, LogOneMinusRange
from cosmos.config.sweep import Sweep
from cosmos.registry.candidates import Candidate
from cosmos.report.terminal import Terminal
from cosmos.report.text import format_parameter, parameter_label
from cosmos.run.statistics.intervals import LEVEL_TEXT
from cosmos.run.sweep_directory import TrialRecord
from cosmos.search.conclusion import SweepConclusion
from cosmos.search.study import Importances
from cosmos.search.trial_forecast import describe_forecast

MAX_CANDIDATES = 10
"""Largest number of configurations that the table of a conclusion shows."""


def print_search_space(sweep: Sweep, machine: Machine, trials: int) -> None:
    """Print the search space and objectives of a sweep, and the budget and time of this number of trials."""
    base = flatten_sections(sweep.base.model_dump(mode="json"))
    table = Table("parameter", "searched", "where", "base", box=box.SIMPLE_HEAD)
    for path, distribution in sweep.file.space.items():
        where = ", ".join(
            f"{other} = {format_parameter(wanted)}" for other, wanted in distribution.when.items()
        )
        cells = path, describe_distribution(distribution), where, format_parameter(base[path])
        table.add_row(*map(printable, cells))
    console = Terminal()
    console.print(f"{sweep.name}: {sweep.file.about}")
    console.print_table(table, kept=2)
    goals = ", ".join(f"{objective.goal} {objective.figure}" for objective in sweep.file.objectives)
    file = sweep.file
    if limits := describe_limits(sweep):
        console.print(f"within {limits}", soft_wrap=True)
    console.print(
        f"{goals}\n{trials} trials of {sweep.base.pretrain.epochs} epochs; sampler {file.sampler.name}, "
        f"pruner {file.pruner.name}; {file.repeats.seeds} further seeds of the best {file.repeats.best}",
    )
    if forecast := describe_forecast(sweep, machine, trials):
        console.print(forecast, soft_wrap=True)


def describe_limits(sweep: Sweep) -> str:
    """Return the limits of a sweep's constraints in a line."""
    return ", ".join(words for constraint in sweep.file.constraints for words in constraint.excesses(0.0))


def describe_distribution(distribution: Distribution) -> str:
    """Return a distribution in a few words: `0.1 to 10, log`."""
    if isinstance(distribution, CategoricalChoices):
        return format_parameter(distribution.choices)
    span = f"{distribution.low:g} to {distribution.high:g}"
    if isinstance(distribution, LogOneMinusRange):
        return f"{span}, log of 1 - x"
    whole = ["whole"] if isinstance(distribution, IntegerRange) else []
    steps = [f"by {distribution.step:g}"] if distribution.step not in (0, 1) else []
    return ", ".join([span, *whole, *(["log"] if distribution.log else []), *steps])


def describe_trial(trial: TrialRecord) -> str:
    """Return a line with a trial's state, and its values, its objectives or the reason of its failure."""
    begun = f"goes on from epoch {trial.epochs_reached}" if trial.rungs else "begun"
    state = begun if trial.state == "running" else trial.standing
    job = f" (job {trial.job})" if trial.job and trial.state == "running" else ""
    details = {
        "running": format_values({parameter_label(path): value for path, value in trial.asked.items()}),
        "failed": trial.problem,
    }.get(trial.state, format_values(trial.values))
    origin = f", as {trial.origin}" if trial.origin and trial.state == "running" else ""
    broken = f"; breaks {', '.join(trial.breaches)}" if trial.breaches else ""
    return f"{trial.name}: {state}{job}: {details}{origin}{broken}"


def format_values(values: Mapping[str, Any]) -> str:
    """Return values by name in a line: `momentum 0.996, num_captions 4`."""
    return ", ".join(f"{name} {format_parameter(value)}" for name, value in values.items())


def print_conclusion(conclusion: SweepConclusion, sweep: Sweep) -> None:
    """Print the best candidates of a sweep as a table, and remarks below it."""
    console = Terminal()
    searched = list(sweep.file.space)
    figures = [objective.figure for objective in sweep.file.objectives]
    columns = ["", "trial", "seeds", *(figure.rpartition("/")[2] for figure in figures)]
    table = Table(*columns, *map(parameter_label, searched), box=box.SIMPLE_HEAD)
    for candidate in conclusion.candidates[:MAX_CANDIDATES]:
        table.add_row(*candidate_cells(candidate, searched), style="bold" if candidate.is_best else "")
    console.print(f"{conclusion.sweep}: {', '.join(figures)}")
    console.print_table(table, kept=3 + len(figures))
    for line in conclusion_remarks(conclusion):
        console.print(line, soft_wrap=True)


def candidate_cells(candidate: Candidate, searched: list[str]) -> list[str]:
    """Return a candidate's row of the table; `searched`: the parameters that have a column."""
    figures = [str(figure) for figure in candidate.figures.values()]
    values = [format_parameter(candidate.asked[path]) if path in candidate.asked else "" for path in searched]
    mark = "*" if candidate.is_best else "!" if candidate.breaches else ""
    return [mark, str(candidate.number), str(candidate.num_seeds), *figures, *map(printable, values)]


def conclusion_remarks(conclusion: SweepConclusion) -> Iterator[str]:
    """Yield the lines below the table: states of trials, meaning of signs, importances, files of the best."""
    yield ", ".join(f"{count} {state}" for state, count in conclusion.states.items()) or "no trial has begun"
    figures = [figure for candidate in conclusion.candidates for figure in candidate.figures.values()]
    if any(figure.is_repeated for figure in figures):
        yield "± is the standard deviation over seeds; * marks a winner"
    if any(figure.interval and not figure.is_repeated for figure in figures):
        yield f"in brackets: the {LEVEL_TEXT} interval over images, by one seed"
    if any(candidate.breaches for candidate in conclusion.candidates):
        yield f"! breaks a constraint: {describe_breaches(conclusion.candidates)}"
    yield conclusion.verdict
    for objective, importances in conclusion.importances.items():
        yield f"importance for {objective}: {describe_importances(importances)}"
    yield from (*conclusion.kept, *conclusion.problems)
    if conclusion.run:
        yield f"experiment: {conclusion.overlay or 'not written'}\nrun: {conclusion.run}"


def describe_breaches(candidates: Iterable[Candidate]) -> str:
    """Return the constraints that candidates break, each with their numbers."""
    numbers: dict[str, list[str]] = {}
    for candidate in candidates:
        for limit in candidate.breaches:
            numbers.setdefault(limit, []).append(str(candidate.number))
    return "; ".join(f"{limit}: {', '.join(broken_by)}" for limit, broken_by in numbers.items())


def describe_importances(importances: Importances) -> str:
    """Return the importances in a line, the largest first, or the reason for which there are none."""
    ranked = sorted(importances.shares.items(), key=lambda share: -share[1])
    shares = ", ".join(f"{parameter_label(path)} {format_share(share)}" for path, share in ranked)
    return shares or f"withheld: {importances.withheld}"
