"""What a sweep came to: trials with their seeds, the best of them, and what mattered."""

import os.path
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from cosmos.config.experiment import (
    EXPERIMENTS,
    PARAMS_YAML,
    experiment_file,
    load_params,
    read_mapping,
    take_experiment_in_force,
)
from cosmos.config.identity import flatten_sections
from cosmos.config.params import Params
from cosmos.config.search_space import nested_sections
from cosmos.config.sweep import Sweep
from cosmos.registry.candidates import Candidate, rank_candidates
from cosmos.registry.sweep_directory import SweepDir, TrialRecord, TrialState
from cosmos.run.files import write_text


@dataclass(frozen=True)
class Conclusion:
    """What a sweep came to; best.json."""

    sweep: str
    states: dict[TrialState, int]
    """trials by state, repetitions left out"""
    candidates: list[Candidate]
    importances: dict[str, dict[str, float]]
    """by objective and parameter: shares of what the parameters explain; {} of too few trials"""
    overlay: str
    """the experiment that has the best's parameters; "" where nothing finished"""
    run: str
    """the best's run directory"""

    def as_json(self) -> dict[str, Any]:
        """As JSON has it."""
        values = asdict(self)
        for one, candidate in zip(values["candidates"], self.candidates, strict=True):
            one["figures"] = {name: figure.as_json() for name, figure in candidate.figures.items()}
        return values


def conclude(sweep: Sweep, folder: SweepDir, importances: Mapping[str, Mapping[str, float]]) -> Conclusion:
    """Sums a sweep up from its run directories, and writes the best's parameters as an experiment."""
    trials = folder.trials
    found = rank_candidates(sweep, trials)
    firsts = [trial.state for trial in trials if not trial.seed]
    states = {state: firsts.count(state) for state in sorted(set(firsts))}
    overlay, run = "", ""
    if found:
        overlay = str(write_overlay(sweep, found[0]))
        run = str(folder.run(TrialRecord(sweep.id, found[0].number, 0, {})).path)
    return Conclusion(sweep.id, states, found, {k: dict(v) for k, v in importances.items()}, overlay, run)


def write_overlay(sweep: Sweep, best: Candidate) -> Path:
    """Writes experiments/<sweep>-best.yaml: what its base's experiment lacks to be the best trial."""
    path, base = EXPERIMENTS / f"{sweep.name}-best.yaml", sweep.file.experiment
    about = f"best of {sweep.id}: trial {best.number}"
    head: dict[str, Any] = {"about": about, "expected": in_words(best)}
    if base:
        head["extends"] = os.path.relpath(experiment_file(base), EXPERIMENTS)
    without = flatten_sections((load_params(base) if base else plain()).model_dump(mode="json"))
    wanted = flatten_sections(sweep.params(best.asked, 0).model_dump(mode="json"))
    differing = {key: value for key, value in wanted.items() if without.get(key) != value}
    text = yaml.safe_dump({**head, **nested_sections(differing)}, sort_keys=False, allow_unicode=True)
    write_text(path, f"# Written by `cosmos sweep {sweep.name}`.\n{text}")
    return path


def plain() -> Params:
    """The parameters of params.yaml without the experiment in force: what an overlay starts from."""
    values = read_mapping(PARAMS_YAML)
    take_experiment_in_force(PARAMS_YAML, values)
    return Params.model_validate(values)


def in_words(best: Candidate) -> str:
    """A candidate's objectives, in a line."""
    seeds = f"{best.num_seeds} seed{'s' if best.num_seeds > 1 else ''}"
    return ", ".join([*(f"{name} {figure}" for name, figure in best.figures.items()), seeds])
