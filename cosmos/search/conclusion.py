"""Conclusion of a sweep: candidates, importances of the parameters, and an experiment with the best ones."""

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
from cosmos.config.search_space import nest_sections
from cosmos.config.sweep import Sweep
from cosmos.registry.candidates import Candidate, judge_candidates, rank_candidates
from cosmos.registry.sweep_directory import SweepDir, TrialRecord, TrialState
from cosmos.run.files import write_text
from cosmos.search.study import Importances


@dataclass(frozen=True)
class SweepConclusion:
    """Conclusion of a sweep: the contents of best.json."""

    sweep: str
    states: dict[TrialState, int]
    """number of trials by state, repetitions left out"""
    candidates: list[Candidate]
    verdict: str
    """the winner, or the reason for which there is none, for a person"""
    importances: dict[str, Importances]
    """importances of the parameters by objective, or the reason for which they are withheld"""
    overlay: str
    """file of the experiment with the leader's parameters; "" where no trial leads"""
    run: str
    """run directory of the leading trial; "" where none leads"""

    def as_json(self) -> dict[str, Any]:
        """Return the conclusion as values of JSON."""
        values = asdict(self)
        for entry, candidate in zip(values["candidates"], self.candidates, strict=True):
            entry["figures"] = {name: figure.as_json() for name, figure in candidate.figures.items()}
        return values


def conclude_sweep(sweep: Sweep, folder: SweepDir, importances: Mapping[str, Importances]) -> SweepConclusion:
    """Return the conclusion of a sweep's trials; write the parameters of the leading one as an experiment."""
    trials = folder.trials
    candidates = rank_candidates(sweep, trials)
    verdict = judge_candidates(candidates)
    firsts = [trial.state for trial in trials if not trial.seed]
    states = {state: firsts.count(state) for state in sorted(set(firsts))}
    overlay, run = "", ""
    if verdict.leader:
        overlay = str(write_best_experiment(sweep, verdict.leader, verdict.words))
        run = str(folder.run(TrialRecord(sweep.id, verdict.leader.number, 0, {})).path)
    return SweepConclusion(sweep.id, states, candidates, verdict.words, dict(importances), overlay, run)


def write_best_experiment(sweep: Sweep, best: Candidate, verdict: str) -> Path:
    """Write experiments/<sweep>-best.yaml: the best parameters that differ from those of the sweep's base."""
    path, base = EXPERIMENTS / f"{sweep.name}-best.yaml", sweep.file.experiment
    about = f"trial {best.number} of {sweep.id}; {verdict}"
    head: dict[str, Any] = {"about": about, "expected": describe_candidate(best)}
    if base:
        head["extends"] = os.path.relpath(experiment_file(base), EXPERIMENTS)
    without = flatten_sections(
        (load_params(base) if base else params_without_experiment()).model_dump(mode="json")
    )
    wanted = flatten_sections(sweep.params(best.asked, 0).model_dump(mode="json"))
    differing = {key: value for key, value in wanted.items() if without.get(key) != value}
    text = yaml.safe_dump({**head, **nest_sections(differing)}, sort_keys=False, allow_unicode=True)
    write_text(path, f"# Written by `cosmos sweep {sweep.name}`.\n{text}")
    return path


def params_without_experiment() -> Params:
    """Return the parameters of params.yaml without the experiment in force: those that an overlay extends."""
    values = read_mapping(PARAMS_YAML)
    take_experiment_in_force(PARAMS_YAML, values)
    return Params.model_validate(values)


def describe_candidate(candidate: Candidate) -> str:
    """Return a line with a candidate's objectives and the number of its seeds."""
    seeds = f"{candidate.num_seeds} seed{'s' if candidate.num_seeds > 1 else ''}"
    return ", ".join([*(f"{name} {figure}" for name, figure in candidate.figures.items()), seeds])
