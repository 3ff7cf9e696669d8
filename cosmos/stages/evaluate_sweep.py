"""Evaluations of checkpoints by suites, where the machine says: in this process, or as an array of jobs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import Experiment
from cosmos.config.figures import Figures
from cosmos.config.machine import Machine
from cosmos.errors import CosmosError, TransientError, error_class, summarize_error
from cosmos.launch.clusters import resolve_cluster
from cosmos.launch.submission import JobSpec
from cosmos.launch.watch import ShowText
from cosmos.run.directory import EVALUATIONS_FOLDER, RunDir
from cosmos.run.results import overall_figures, overall_intervals
from cosmos.stages.checkpoint_origin import on_own_data, run_of_checkpoint
from cosmos.stages.evaluate_job import (
    Evaluation,
    cancel_evaluations,
    check_evaluation,
    evaluation_digest,
    evaluation_request,
    launch_evaluations,
)
from cosmos.stages.evaluation_result import EvaluationResult

logger = logging.getLogger(__name__)

CheckpointAndSuite = tuple[str, SuiteName]
"""Checkpoint, by the name that the caller gave, and the suite that measures it."""

EvaluationOutcome = EvaluationResult | CosmosError
"""Outcome of a call: its results, or the error that stopped it."""


@dataclass(frozen=True)
class EvaluationRow:
    """Figures of a checkpoint's model on a dataset; or, without model and dataset, a problem."""

    checkpoint: str
    """by the name that the caller gave"""
    suite: SuiteName
    dataset: str = ""
    data_hash: str = ""
    """hash of the data that the figures are of"""
    model: str = ""
    figures: Figures = field(default_factory=dict)
    """metrics by name, those of single classes left out"""
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """ends of the metrics' intervals"""
    problem: str = ""
    is_transient: bool = False
    """True when the problem may be gone the next time"""


def evaluate_many(
    checkpoints: Sequence[str],
    suites: Sequence[SuiteName],
    experiment: Experiment,
    machine: Machine,
    show: ShowText,
) -> list[EvaluationRow]:
    """Measure every checkpoint by every suite: as an array of jobs, or one after the other in this process.

    A checkpoint is whatever `cosmos evaluate --checkpoint` takes, or a run, by name or directory: its newest.
    A failure stops no other measurement. The same call again waits for jobs that still run, and
    measures nothing twice. Raises InputError where the cluster refuses the jobs, and SlurmSilentError where
    it does not answer.
    """
    calls, ended = evaluations_of(checkpoints, suites, experiment, machine)
    if resolve_cluster(machine.cluster) == "debug":
        measured = [evaluate_in_this_process(call, show) for call in calls.values()]
    else:
        measured = evaluate_in_jobs(list(calls.values()), experiment, machine, show)
    ended |= zip(calls, measured, strict=True)
    pairs = product(dict.fromkeys(checkpoints), dict.fromkeys(suites))
    return [row for pair in pairs for row in evaluation_rows(pair, ended[pair])]


def cancel_many(
    checkpoints: Sequence[str], suites: Sequence[SuiteName], experiment: Experiment, machine: Machine
) -> str:
    """End the jobs that `evaluate_many` has for the same arguments, and return a message about it.

    Results that are there stay.
    """
    calls, _ = evaluations_of(checkpoints, suites, experiment, machine)
    return cancel_evaluations(record_of_evaluations(list(calls.values()), machine))


def evaluations_of(
    checkpoints: Sequence[str], suites: Sequence[SuiteName], experiment: Experiment, machine: Machine
) -> tuple[dict[CheckpointAndSuite, Evaluation], dict[CheckpointAndSuite, EvaluationOutcome]]:
    """Return the calls for all pairs of a checkpoint and a suite, and the errors of pairs without one."""
    calls, ended = dict[CheckpointAndSuite, Evaluation](), dict[CheckpointAndSuite, EvaluationOutcome]()
    for pair in product(dict.fromkeys(checkpoints), dict.fromkeys(suites)):
        try:
            calls[pair] = checked_evaluation(pair, experiment, machine)
        except CosmosError as error:
            ended[pair] = error
    return calls, ended


def checked_evaluation(pair: CheckpointAndSuite, experiment: Experiment, machine: Machine) -> Evaluation:
    """Return the call that measures a checkpoint by a suite, on the data that it was trained on.

    Raises InputError where that is not possible, and TransientError for a download that failed.
    """
    checkpoint, suite = pair
    path, name = run_of_checkpoint(checkpoint, machine)
    params = on_own_data(experiment, RunDir(path), name).params
    call = Evaluation((suite,), params, machine, path, name, quiet=True)
    check_evaluation(call)
    return call


def record_of_evaluations(calls: Sequence[Evaluation], machine: Machine) -> Path:
    """Return the file of the record of these calls' jobs."""
    return machine.runs_root / EVALUATIONS_FOLDER / f"{evaluation_digest(calls)}.json"


def evaluate_in_jobs(
    calls: Sequence[Evaluation], experiment: Experiment, machine: Machine, show: ShowText
) -> list[EvaluationOutcome]:
    """Run calls as an array of jobs, and return the outcome of each."""
    if not calls:
        return []
    record, request = record_of_evaluations(calls, machine), evaluation_request(experiment, machine)
    spec = JobSpec(calls, request, machine.cluster, record, "evaluate", subject_of(calls))
    return [
        outcome.failure.error(outcome.failure.summary)
        if outcome.failure
        else outcome.result_as(EvaluationResult)
        for outcome in launch_evaluations(spec, show)
    ]


def subject_of(calls: Sequence[Evaluation]) -> str:
    """Return the suites and checkpoints of calls in a line."""
    suites = dict.fromkeys(suite for call in calls for suite in call.suites)
    checkpoints = dict.fromkeys(call.checkpoint or call.path.name for call in calls)
    return " of ".join(", ".join(names) for names in (suites, checkpoints))


def evaluate_in_this_process(call: Evaluation, show: ShowText) -> EvaluationOutcome:
    """Run a call now, and return its outcome: an error, too, so that the next call runs."""
    show(f"{call.checkpoint or call.path}: {', '.join(call.suites)}\n")
    try:
        return EvaluationResult(**call())
    except Exception as error:
        logger.debug("an evaluation failed", exc_info=error)
        if isinstance(error, CosmosError):
            return error
        kind = TransientError if error_class(error) is TransientError else CosmosError
        return kind(summarize_error(error))


def evaluation_rows(pair: CheckpointAndSuite, ended: EvaluationOutcome) -> list[EvaluationRow]:
    """Return the rows of a table for a checkpoint and a suite: figures, then problems."""
    checkpoint, suite = pair
    if isinstance(ended, CosmosError):
        is_transient = isinstance(ended, TransientError)
        return [EvaluationRow(checkpoint, suite, problem=str(ended), is_transient=is_transient)]
    measured = [
        EvaluationRow(
            checkpoint,
            suite,
            dataset,
            entry["data_hash"],
            model,
            overall_figures(figures),
            overall_intervals(entry["intervals"].get(model, {})),
        )
        for dataset, entry in ended.results.get(suite, {}).items()
        for model, figures in entry["models"].items()
    ]
    return measured + [
        EvaluationRow(checkpoint, suite, problem=problem, is_transient=ended.is_transient)
        for problem in ended.problems
    ]
