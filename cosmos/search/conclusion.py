"""Conclusion of a sweep: candidates, importances of the parameters, and an experiment with the best ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cosmos.config.sweep import Sweep
from cosmos.registry.candidates import (
    Candidate,
    judge_candidates,
    measured_statistics,
    rank_candidates,
)
from cosmos.registry.sweep_difference import describe_origin
from cosmos.run.sweep_directory import SweepDir, TrialRecord, TrialState
from cosmos.search.best_experiment import withdraw_best_experiment, write_best_experiment
from cosmos.search.study import Importances


@dataclass(frozen=True)
class SweepConclusion:
    """Conclusion of a sweep: the contents of best.json."""

    sweep: str
    origin: str
    """base and data of its trials, for a person"""
    states: dict[TrialState, int]
    """number of trials by state, repetitions left out"""
    candidates: list[Candidate]
    verdict: str
    """the winner, or the reason for which there is none, for a person"""
    importances: dict[str, Importances]
    """importances of the parameters by objective, or the reason for which they are withheld"""
    overlay: str
    """file of the experiment with the leader's parameters; "" where no trial leads, or the file is kept"""
    run: str
    """run directory of the leading trial; "" where none leads"""
    kept: list[str]
    """remarks on files under the experiment's name: kept, since others wrote them, or deleted"""
    problems: list[str]
    """lines on trials that are left out, since their records are of no use"""
    lead: Mapping[str, Any]
    """lead of the first candidate over each other by the first objective; {} where none leads"""

    def as_json(self) -> dict[str, Any]:
        """Return the conclusion as values of JSON."""
        return {
            **vars(self),
            "candidates": [candidate.as_json() for candidate in self.candidates],
            "importances": {name: asdict(shares) for name, shares in self.importances.items()},
        }


def conclude_sweep(sweep: Sweep, folder: SweepDir, importances: Mapping[str, Importances]) -> SweepConclusion:
    """Return the conclusion of a sweep's trials; write the parameters of the leading one as an experiment."""
    trials = folder.read_trials()
    candidates = rank_candidates(sweep, trials.records, measured_statistics(folder))
    verdict = judge_candidates(sweep, candidates)
    firsts = [trial.state for trial in trials.firsts.values()]
    states = {state: firsts.count(state) for state in sorted(set(firsts))}
    overlay, run, kept = "", "", list[str]()
    if not verdict.leader:
        kept = withdraw_best_experiment(sweep)
    else:
        overlay, kept = write_best_experiment(sweep, verdict.leader, verdict.words)
        run = str(folder.run(TrialRecord(sweep.id, verdict.leader.number, 0, {})).path)
    return SweepConclusion(
        sweep.id,
        describe_origin(sweep),
        states,
        candidates,
        verdict.words,
        dict(importances),
        overlay,
        run,
        kept,
        list(trials.problems.values()),
        verdict.lead,
    )
