"""Comparison of runs and of the trials of sweeps: contenders, differing parameters, the best figures."""

import math
import os.path
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import folders_with, is_file
from cosmos.config.figures import (
    DEVICE_SECONDS,
    LOSS,
    SAMPLES,
    SAMPLES_PER_SECOND,
    SECONDS,
    Direction,
    describe_missing_data,
    direction_of,
    is_cost,
)
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.printable_text import cosmos_command
from cosmos.errors import InputError
from cosmos.registry.candidates import measured_statistics, rank_candidates
from cosmos.registry.index import run_names
from cosmos.registry.kept_values import RunValues, read_statistics
from cosmos.registry.query import data_mark, shared_names
from cosmos.registry.record import DATASET_PREFIX, RunRecord, find_run_dir, read_run_record
from cosmos.run.directory import RunDir
from cosmos.run.statistics.leads import Lead, judge_lead
from cosmos.run.statistics.seed_statistics import SeedStatistics
from cosmos.run.sweep_directory import SweepDir, TrialRecord, find_sweep_dir

TRAINING_FIGURES = tuple(
    metric.name for metric in (SAMPLES, LOSS, SECONDS, DEVICE_SECONDS, SAMPLES_PER_SECOND)
)
"""Figures of training that are compared, beside results and evaluations."""

SEED = "pretrain.seed"
"""Path of the parameter in which the seeds of a configuration differ."""

LOSS_SETTINGS = ("loss.", "pretrain.batch_size", "views.num_")
"""Beginnings of the paths of parameters that decide which terms a loss has, and of how many samples."""

DIRECTION_OF_GOAL: dict[str, Direction] = {"maximize": "max", "minimize": "min"}
"""Direction of a sweep's objective by its goal."""


@dataclass(frozen=True)
class Contender:
    """Run, or trial with its repetitions, that is compared with others."""

    name: str
    """path from the folder of runs"""
    label: str
    """path from the folder that all contenders share"""
    state: str
    """state of the first seed: finished, running, stopped, failed, pruned, waiting, or paused at an epoch"""
    runs: tuple[RunDir, ...]
    """run directories, one per seed"""
    params: Mapping[str, Any]
    """parameters and training data of the first seed, by path"""
    figures: Mapping[str, SeedStatistics]
    """statistics over the seeds, by figure"""
    problem: str = ""
    """files of its runs that cannot be read"""
    is_winner: bool = False
    """True when it is the best of its sweep, or one of the Pareto front"""
    data: Mapping[str, str] = field(default_factory=dict)
    """hashes of the data that figures are of, by figure; of seeds on different data all of them"""
    breaches: tuple[str, ...] = ()
    """constraints of its sweep that a trial breaks, in words"""


@dataclass(frozen=True)
class Comparison:
    """Contenders, their differences, and the best of each figure."""

    contenders: tuple[Contender, ...]
    sweeps: tuple[SweepDir, ...]
    """sweeps whose trials are among the contenders"""

    @cached_property
    def params(self) -> list[str]:
        """Paths of the parameters that differ between contenders."""
        paths = dict.fromkeys(path for contender in self.contenders for path in contender.params)
        return [path for path in paths if len(self.values(path)) > 1]

    def values(self, path: str) -> set[str]:
        """Return the different values of a parameter, as texts; without those that are not recorded."""
        is_recorded = not path.startswith(DATASET_PREFIX)
        return {repr(c.params.get(path)) for c in self.contenders if is_recorded or path in c.params}

    @cached_property
    def objective_directions(self) -> dict[str, Direction]:
        """Directions in which the sweeps search, by the figure of their objectives."""
        objectives = (objective for sweep in self.sweeps for objective in sweep.sweep().file.objectives)
        return {objective.figure: DIRECTION_OF_GOAL[objective.goal] for objective in objectives}

    @property
    def objectives(self) -> list[str]:
        """Figures that are objectives of the sweeps."""
        return list(self.objective_directions)

    @cached_property
    def figures(self) -> list[str]:
        """Figures that any contender has: objectives, training, results, then the last evaluations."""
        names = dict.fromkeys(name for contender in self.contenders for name in contender.figures)
        ordered = dict.fromkeys([*self.objectives, *TRAINING_FIGURES, *names])
        return [name for name in ordered if name in names]

    @cached_property
    def directions(self) -> dict[str, Direction]:
        """Better direction of each figure: that of its sweep for an objective, or else that of its metric.

        It is "" for a loss where the contenders minimise different ones: the smaller is not the better then.
        """
        is_same_loss = not any(path.startswith(LOSS_SETTINGS) for path in self.params)
        own = {name: direction_of(name) for name in self.figures if is_same_loss or not is_loss(name)}
        return {name: self.objective_directions.get(name) or own.get(name, "") for name in self.figures}

    @cached_property
    def leads(self) -> dict[str, Lead]:
        """Verdict by figure on the finished that break no constraint, or on any where none has finished."""
        finished = [c for c in self.contenders if c.state == "finished"]
        return self.judge(self.figures, [c for c in finished or self.contenders if not c.breaches])

    def judge(self, figures: Iterable[str], contenders: Sequence[Contender]) -> dict[str, Lead]:
        """Return the verdict by each figure that has a better direction, and that is of the same data."""
        return {
            name: judge_lead(samples, 1 if direction == "max" else -1)
            for name in figures
            if (direction := self.directions[name])
            and name not in self.mixed
            and len(samples := samples_of(name, contenders)) > 1
        }

    @cached_property
    def best(self) -> dict[str, frozenset[str]]:
        """Name of the contender that wins by a figure, by figure; empty where another may be as good.

        Of a figure whose spread nothing shows the best value is marked, unless another is the same.
        """
        winners = {name: frozenset([lead.leader]) for name, lead in self.leads.items() if lead.is_largest}
        return {name: winners.get(name, frozenset()) for name in self.figures}

    def describe_lead(self, figure: str) -> str:
        """Return the verdict by a figure in a line."""
        labels = {contender.name: contender.label for contender in self.contenders}
        return f"{figure}: {self.leads[figure].describe(labels.__getitem__)}"

    @cached_property
    def mixed(self) -> frozenset[str]:
        """Figures that are of different data."""
        return frozenset(name for name in self.figures if is_mixed(name, self.contenders))

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as values of JSON; the deviation of one seed is null."""
        return {
            "params": self.params,
            "figures": self.figures,
            "leads": {name: lead.as_json() for name, lead in self.leads.items()},
            "runs": [
                {
                    "name": contender.name,
                    "state": contender.state,
                    "seeds": len(contender.runs),
                    "winner": contender.is_winner,
                    "breaches": list(contender.breaches),
                    "params": {path: contender.params.get(path) for path in self.params},
                    "figures": {name: figure.as_json() for name, figure in contender.figures.items()},
                    "data": {name: data_hash for name, data_hash in contender.data.items() if data_hash},
                    "best": [name for name in self.figures if contender.name in self.best.get(name, ())],
                }
                for contender in self.contenders
            ],
        }


def is_loss(figure: str) -> bool:
    """Return True for a loss of training, or a term of it."""
    return "/" not in figure and direction_of(figure) == "min" and not is_cost(figure)


def is_mixed(figure: str, contenders: Iterable[Contender]) -> bool:
    """Return True for a figure that is of different data."""
    versions = {c.data.get(figure, "") for c in contenders if figure in c.figures}
    return len(versions) > 1 or any(" " in version for version in versions)


def mark_of_data(contender: Contender, figure: str) -> str:
    """Return the mark of the data that a contender's figure is of, of each that its seeds are of."""
    return " ".join(map(data_mark, contender.data.get(figure, "").split(" ")))


def samples_of(figure: str, contenders: Iterable[Contender]) -> dict[str, SeedStatistics]:
    """Return the statistics of a figure by contender, of those that have a finite value."""
    samples = {c.name: c.figures[figure] for c in contenders if figure in c.figures}
    return {name: sample for name, sample in samples.items() if math.isfinite(sample.mean)}


def compare_named(names: Sequence[str], machine: Machine, merges_seeds: bool = False) -> Comparison:
    """Return the comparison of named runs and sweeps. InputError for a name of neither.

    `merges_seeds`: runs that differ in their seed alone are one contender, as the seeds of a trial are.
    InputError for two of the same seed.
    """
    if not names:
        raise InputError("name runs or sweeps to compare; `cosmos runs list` lists them")
    directories = [find_run_or_sweep(name, machine) for name in names]
    seeds = group_seeds(directories, machine) if merges_seeds else {}
    contenders, sweeps = dict[str, Contender](), dict[Path, SweepDir]()
    for directory in directories:
        path = directory.path.resolve()
        if isinstance(directory, SweepDir):
            sweeps[path] = directory
            parts = contenders_of_sweep(directory, machine)
        else:
            parts = [contender_of_runs(seeds.get(path, (directory,)), machine)]
        contenders |= {contender.name: contender for contender in parts}
    named = with_labels(tuple(contenders.values()))
    return Comparison(with_shared_figures(named), tuple(sweeps.values()))


def group_seeds(directories: Iterable[RunDir | SweepDir], machine: Machine) -> dict[Path, tuple[RunDir, ...]]:
    """Return, by the path of each run, the runs of its parameters and data with any seed, in their order.

    InputError for two of them with the same seed, which are no sample of two.
    """
    runs = {each.path.resolve(): each for each in directories if isinstance(each, RunDir)}
    groups, group_of = dict[str, dict[Any, RunDir]](), dict[Path, dict[Any, RunDir]]()
    for path, run in runs.items():
        settings, seed = split_seed(record_below(machine.runs_root, run))
        group = group_of[path] = groups.setdefault(settings, {})
        if seed in group:
            raise InputError(f"{group[seed].path} and {run.path}: the same parameters and seed; name one")
        group[seed] = run
    return {path: tuple(group.values()) for path, group in group_of.items()}


def split_seed(record: RunRecord) -> tuple[str, Any]:
    """Return a run's parameters of training and its data, but for the seed, as a text, and the seed."""
    settings = {**record.params, **record.dataset}
    seed = settings.pop(SEED, None)
    return repr(sorted(item for item in settings.items() if not item[0].startswith("evaluate."))), seed


def with_shared_figures(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    """Return contenders whose results have the names, too, by which others have results of the same data."""
    names = {name for contender in contenders for name in contender.figures}
    return tuple(with_figures(c, shared_names(results_data(c), names)) for c in contenders)


def results_data(contender: Contender) -> dict[str, str]:
    """Return the hash of the data of each result; without results whose seeds are of different data."""
    data = contender.data.items()
    return {name: version for name, version in data if version and " " not in version}


def with_figures(contender: Contender, names: Mapping[str, str]) -> Contender:
    """Return a contender that has some of its figures by other names, too."""
    figures = {other: contender.figures[name] for name, other in names.items()}
    data = {other: contender.data[name] for name, other in names.items()}
    return replace(contender, figures={**contender.figures, **figures}, data={**contender.data, **data})


def with_labels(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    """Return contenders labelled by their paths from the folder that all of them share."""
    shared = os.path.commonpath([Path(contender.name).parent for contender in contenders])
    return tuple(replace(c, label=os.path.relpath(c.name, shared)) for c in contenders)


def find_run_or_sweep(name: str, machine: Machine) -> RunDir | SweepDir:
    """Return the directory of the run or sweep that a name means. InputError lists similar names."""
    if run := find_run_dir(name, machine.runs_root):
        return run
    try:
        return find_sweep_dir(name, machine.runs_root)
    except InputError:
        names = run_and_sweep_names(machine.runs_root)
        hint = near_names(name, names, "`cosmos runs list` lists the runs")
        raise InputError(f"{name}: no run and no sweep in {machine.runs_root}; {hint}") from None


def run_and_sweep_names(runs_root: Path) -> list[str]:
    """Return the names of runs, and the ids and names of sweeps, in a folder of runs."""
    ids = [folder.name for folder in folders_with(runs_root, "sweep.yaml")]
    names = [sweep_id.rpartition("-")[0] for sweep_id in ids]
    return [*run_names(runs_root), *ids, *dict.fromkeys(names)]


def contender_of_runs(runs: Sequence[RunDir], machine: Machine) -> Contender:
    """Return the contender of a run that is named by itself, or of its seeds: of those that have finished."""
    records = [record_below(machine.runs_root, run) for run in runs]
    seeds = list(zip(runs, records, strict=True))
    counted = [(run, record) for run, record in seeds if record.status == "finished"] or seeds[:1]
    figures = [compared_figures(record) for _, record in counted]
    used, kept = zip(*counted, strict=True)
    return make_contender(used, kept, figures, kept[0].status)


def make_contender(
    runs: tuple[RunDir, ...],
    records: Sequence[RunRecord],
    figures: Sequence[Mapping[str, float]],
    state: str,
    is_winner: bool = False,
) -> Contender:
    """Return the contender of runs, their records and their figures, one per seed."""
    first = records[0]
    problem = "; ".join(text for record in records for text in caveats_of(record))
    statistics = statistics_over_seeds(runs, figures)
    settings = {**first.params, **first.dataset}
    data = {name: data_hashes(name, records, figures) for name in statistics}
    return Contender(first.name, first.name, state, runs, settings, statistics, problem, is_winner, data)


def data_hashes(figure: str, records: Sequence[RunRecord], figures: Sequence[Mapping[str, float]]) -> str:
    """Return the hash of the data that a figure of seeds is of; of different data all of them."""
    seeds = zip(records, figures, strict=True)
    return " ".join(sorted({record.data_hash(figure) for record, values in seeds if figure in values}))


def caveats_of(record: RunRecord) -> list[str]:
    """Return the problems of a run's record, and the samples that the run did without."""
    incomplete = describe_missing_data(record.metrics)
    return [*filter(None, [record.problem, f"trained on {incomplete} samples" if incomplete else ""])]


def record_below(runs_root: Path, run: RunDir) -> RunRecord:
    """Return the record of a run, named by its path from the folder of runs."""
    return read_run_record(run, os.path.relpath(run.path, runs_root))


def contenders_of_sweep(folder: SweepDir, machine: Machine) -> list[Contender]:
    """Return a contender for each trial of a sweep: the best first, then those that did not finish.

    InputError where no trial has begun.
    """
    sweep, trials = folder.sweep(), [trial for trial in folder.trials if is_file(folder.run(trial).params)]
    if not trials:
        raise InputError(f"{folder.path}: no trial has begun; `{cosmos_command('sweep', sweep.name)}` does")
    candidates = rank_candidates(sweep, trials, measured_statistics(folder))
    ranks = {candidate.number: rank for rank, candidate in enumerate(candidates)}
    winners = {candidate.number for candidate in candidates if candidate.is_best}
    grouped = {number: list(seeds) for number, seeds in groupby(trials, key=lambda trial: trial.number)}
    order = sorted(grouped, key=lambda number: (ranks.get(number, len(ranks)), number))
    contenders = [contender_of_trial(folder, grouped[n], n in winners, machine) for n in order]
    return with_data_of_finished(contenders)


def with_data_of_finished(contenders: Sequence[Contender]) -> list[Contender]:
    """Return trials of a sweep, those that pause or were pruned with the data of figures of finished ones.

    A sweep measures all its trials on the same data, and refuses others; only results record its hash.
    """
    finished = (contender for contender in contenders if contender.state == "finished")
    recorded = {name: data for contender in finished for name, data in contender.data.items() if data}
    return [
        replace(c, data={name: data or recorded.get(name, "") for name, data in c.data.items()})
        for c in contenders
    ]


def contender_of_trial(
    folder: SweepDir, seeds: Sequence[TrialRecord], is_winner: bool, machine: Machine
) -> Contender:
    """Return the contender of a trial; of a finished one with its repetitions that finished, too."""
    first = seeds[0]
    counted = [seed for seed in seeds if seed.state == first.state == "finished"] or [first]
    runs = tuple(folder.run(seed) for seed in counted)
    records = [record_below(machine.runs_root, run) for run in runs]
    figures = [compared_figures(record) | seed.values for record, seed in zip(records, counted, strict=True)]
    state = records[0].status if first.state == "running" else first.standing
    breaches = tuple(dict.fromkeys(limit for record in records for limit in record.breaches))
    return replace(make_contender(runs, records, figures, state, is_winner), breaches=breaches)


def compared_figures(record: RunRecord) -> dict[str, float]:
    """Return the figures of a run that are compared: of training, results and evaluations."""
    return {name: value for name, value in record.metrics.items() if "/" in name or name in TRAINING_FIGURES}


def statistics_over_seeds(
    runs: Sequence[RunDir], figures: Sequence[Mapping[str, float]]
) -> dict[str, SeedStatistics]:
    """Return the statistics of each figure over the runs, one per seed, that have it."""
    seeds = list(zip(map(RunValues, runs), figures, strict=True))
    return {
        name: read_statistics(
            [run for run, values in seeds if name in values],
            name,
            [values[name] for _, values in seeds if name in values],
        )
        for name in dict.fromkeys(name for values in figures for name in values)
    }
