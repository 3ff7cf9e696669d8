"""Runs, and the trials of sweeps, beside each other: what differs, and which is best."""

import difflib
import os.path
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from cosmos.config.figures import Direction, direction_of
from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.registry.candidates import SeedStatistics, rank_candidates
from cosmos.registry.index import run_names
from cosmos.registry.record import RunRecord, read_record, run_named
from cosmos.registry.sweep_directory import SweepDir, TrialRecord, find_sweep_dir
from cosmos.run.directory import RunDir

TRAINING = ("samples", "loss", "seconds", "device_seconds", "samples_per_second")
"""Figures of training that are compared, beside results and evaluations."""

Goal = Literal["largest", "smallest", "neither"]

GOALS: dict[str, Goal] = {"maximize": "largest", "minimize": "smallest"}
"""As a sweep calls them."""


@dataclass(frozen=True)
class Contender:
    """A run, or a trial with its repetitions."""

    name: str
    """below the folder of runs"""
    label: str
    """the same, without a folder that all contenders lie in"""
    state: str
    """finished, running, stopped, failed, pruned or waiting; of the first seed"""
    runs: tuple[RunDir, ...]
    """one a seed"""
    params: Mapping[str, Any]
    """by path; of the first seed"""
    figures: Mapping[str, SeedStatistics]
    """over the seeds"""
    problem: str = ""
    """what of it cannot be read"""
    is_winner: bool = False
    """whether its sweep names it the best, or one of the Pareto front"""


@dataclass(frozen=True)
class Comparison:
    """Contenders, and how they differ."""

    contenders: tuple[Contender, ...]
    sweeps: tuple[SweepDir, ...]
    """those whose trials are among them"""

    @cached_property
    def params(self) -> list[str]:
        """Parameters, by path, that are not the same in all contenders."""
        paths = dict.fromkeys(path for one in self.contenders for path in one.params)
        return [path for path in paths if len({repr(one.params.get(path)) for one in self.contenders}) > 1]

    @cached_property
    def asked(self) -> dict[str, Goal]:
        """What the sweeps go by: which values of a figure they call better."""
        found = (objective for sweep in self.sweeps for objective in sweep.sweep().file.objectives)
        return {objective.figure: GOALS[objective.goal] for objective in found}

    @property
    def objectives(self) -> list[str]:
        """Figures that the sweeps go by."""
        return list(self.asked)

    @cached_property
    def figures(self) -> list[str]:
        """Figures that any contender has: objectives, training, results, then the last evaluations."""
        there = dict.fromkeys(name for one in self.contenders for name in one.figures)
        known = dict.fromkeys([*self.objectives, *TRAINING, *there])
        return [name for name in known if name in there]

    @cached_property
    def goals(self) -> dict[str, Goal]:
        """Which values are better, by figure; of an objective its sweep says it."""
        return {name: self.asked.get(name) or goal(name) for name in self.figures}

    @cached_property
    def best(self) -> dict[str, frozenset[str]]:
        """Names of the contenders that have the best value, by figure, where one is better than another.

        Those that finished compete, where any did, and of those the ones with the most seeds: one lucky seed
        does not beat three.
        """
        finished = [one for one in self.contenders if one.state == "finished"] or self.contenders
        most = max((len(one.runs) for one in finished), default=0)
        competing = [one for one in finished if len(one.runs) == most]
        return {name: leaders(name, wanted, competing) for name, wanted in self.goals.items()}

    def as_json(self) -> dict[str, Any]:
        """The table, for programs; the deviation of one seed is null."""
        return {
            "params": self.params,
            "figures": self.figures,
            "runs": [
                {
                    "name": one.name,
                    "state": one.state,
                    "seeds": len(one.runs),
                    "winner": one.is_winner,
                    "params": {path: one.params.get(path) for path in self.params},
                    "figures": {name: figure.as_json() for name, figure in one.figures.items()},
                    "best": [name for name in self.figures if one.name in self.best.get(name, ())],
                }
                for one in self.contenders
            ],
        }


def goal(figure: str) -> Goal:
    """Return which values of a figure are better, as its metric says."""
    goals: dict[Direction, Goal] = {"min": "smallest", "max": "largest", "": "neither"}
    return goals[direction_of(figure)]


def leaders(figure: str, wanted: Goal, competing: Iterable[Contender]) -> frozenset[str]:
    """Names of those whose value of a figure no other's beats; none of a figure that all have alike."""
    values = {one.name: one.figures[figure].mean for one in competing if figure in one.figures}
    if wanted == "neither" or len(set(values.values())) < 2:
        return frozenset()
    best = max(values.values()) if wanted == "largest" else min(values.values())
    return frozenset(name for name, value in values.items() if value == best)


def gather(names: Sequence[str], machine: Machine) -> Comparison:
    """What the names mean. Raises ValueError for one that is neither a run nor a sweep."""
    if not names:
        raise InputError("name runs or sweeps to compare; `cosmos runs list` lists them")
    contenders, sweeps = dict[str, Contender](), dict[Path, SweepDir]()
    for name in names:
        found = found_as(name, machine)
        if isinstance(found, SweepDir):
            sweeps[found.path.resolve()] = found
        parts = trials_of(found, machine) if isinstance(found, SweepDir) else [single(found, machine)]
        contenders |= {one.name: one for one in parts}
    return Comparison(labelled(contenders.values()), tuple(sweeps.values()))


def labelled(contenders: Iterable[Contender]) -> tuple[Contender, ...]:
    """Contenders whose labels leave out the folder that all of them lie in."""
    known = tuple(contenders)
    shared = os.path.commonpath([Path(one.name).parent for one in known])
    return tuple(replace(one, label=os.path.relpath(one.name, shared)) for one in known)


def found_as(name: str, machine: Machine) -> RunDir | SweepDir:
    """The run or the sweep that a person means. ValueError lists names near it."""
    if run := run_named(name, machine.runs_root):
        return run
    try:
        return find_sweep_dir(name, machine.runs_root)
    except ValueError:
        known = known_names(machine.runs_root)
        near = difflib.get_close_matches(name, known, 5, 0.4)
        there = f"near it: {', '.join(near)}" if near else "`cosmos runs list` lists the runs"
        raise InputError(f"{name}: no run and no sweep in {machine.runs_root}; {there}") from None


def known_names(runs_root: Path) -> list[str]:
    """Names of runs and sweeps in a folder of runs."""
    sweeps = [path.parent.relative_to(runs_root).as_posix() for path in runs_root.glob("*/sweep.yaml")]
    short = [name.rpartition("-")[0] for name in sweeps]
    return [*run_names(runs_root), *sweeps, *dict.fromkeys(short)]


def single(run: RunDir, machine: Machine) -> Contender:
    """A run that is named by itself."""
    record = recorded(run, machine)
    return contender((run,), [record], [figures_of(record)], record.status)


def contender(
    runs: tuple[RunDir, ...],
    records: Sequence[RunRecord],
    figures: Sequence[Mapping[str, float]],
    state: str,
    is_winner: bool = False,
) -> Contender:
    """A contender from its runs, one a seed."""
    first = records[0]
    problem = "; ".join(record.problem for record in records if record.problem)
    return Contender(
        first.name, first.name, state, runs, first.params, over_seeds(figures), problem, is_winner
    )


def recorded(run: RunDir, machine: Machine) -> RunRecord:
    """The record of a run, by the name that it has below the folder of runs."""
    return read_record(run, os.path.relpath(run.path, machine.runs_root))


def trials_of(folder: SweepDir, machine: Machine) -> list[Contender]:
    """The trials of a sweep, each with its repetitions: the best first, then those that did not finish.

    ValueError where there is none yet.
    """
    sweep = folder.sweep()
    trials = [trial for trial in folder.trials if folder.run(trial).params.is_file()]
    if not trials:
        raise InputError(f"{folder.path}: no trial has begun; `cosmos sweep {sweep.name}` begins them")
    finished = rank_candidates(sweep, trials)
    ranked = {one.number: rank for rank, one in enumerate(finished)}
    winners = {one.number for one in finished if one.is_best}
    grouped = {number: list(seeds) for number, seeds in groupby(trials, key=lambda trial: trial.number)}
    order = sorted(grouped, key=lambda number: (ranked.get(number, len(ranked)), number))
    return [of_trial(folder, grouped[number], number in winners, machine) for number in order]


def of_trial(folder: SweepDir, seeds: Sequence[TrialRecord], is_winner: bool, machine: Machine) -> Contender:
    """A trial with those of its repetitions that finished, where it has finished itself."""
    first = seeds[0]
    counted = [seed for seed in seeds if seed.state == first.state == "finished"] or [first]
    runs = tuple(folder.run(seed) for seed in counted)
    records = [recorded(run, machine) for run in runs]
    figures = [figures_of(record) | seed.values for record, seed in zip(records, counted, strict=True)]
    state = records[0].status if first.state == "running" else first.state
    return contender(runs, records, figures, state, is_winner)


def figures_of(record: RunRecord) -> dict[str, float]:
    """The figures of a run that are compared."""
    return {name: value for name, value in record.metrics.items() if "/" in name or name in TRAINING}


def over_seeds(seeds: Sequence[Mapping[str, float]]) -> dict[str, SeedStatistics]:
    """Figures over the seeds that have them."""
    names = dict.fromkeys(name for figures in seeds for name in figures)
    return {
        name: SeedStatistics.over([figures[name] for figures in seeds if name in figures]) for name in names
    }
