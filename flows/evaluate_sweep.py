"""Flow evaluate-sweep: checkpoints measured by suites, beside each other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.states import Completed, Failed
from prefect.utilities.callables import get_call_parameters
from pydantic import Field

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import Experiment, load_experiment
from cosmos.config.identity import short_hash
from cosmos.config.machine import ClusterName, Machine
from cosmos.pipeline.directory import PIPELINE
from cosmos.run.results import interval_columns
from cosmos.stages.evaluate_sweep import EvaluationRow, cancel_many, evaluate_many
from flows.artifacts import create_results_table
from flows.parameters import UNSET, Evaluate, ExperimentName, Slurm, current_run_title
from flows.retries import call_with_retries

Checkpoints = Annotated[list[str], Field(min_length=1)]
Suites = Annotated[list[SuiteName], Field(min_length=1)]

ALL_SUITES: list[SuiteName] = list(get_args(SuiteName))


def cancel_evaluations(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """End the jobs of a sweep that was cancelled."""
    parameters = flow.validate_parameters(get_call_parameters(flow.fn, (), flow_run.parameters))
    experiment = evaluation_experiment(parameters["experiment"], parameters["evaluate"])
    machine = Machine(**{name: parameters[name] for name in ("data_root", "cluster", "slurm")})
    outcome = cancel_many(parameters["checkpoints"], parameters["suites"], experiment, machine)
    flow_run_logger(flow_run, flow).info(outcome)


def evaluation_experiment(experiment: str, evaluate: dict[str, Any]) -> Experiment:
    """Return the experiment, with the settings of evaluation that were set."""
    return load_experiment(experiment, {"evaluate": evaluate} if evaluate else {})


@flow(name="evaluate-sweep", flow_run_name=current_run_title, on_cancellation=[cancel_evaluations])
def evaluate_sweep(
    checkpoints: Checkpoints,
    suites: Suites = ALL_SUITES,
    experiment: ExperimentName = "",
    evaluate: Evaluate = UNSET,
    data_root: Path = PIPELINE.data,
    cluster: ClusterName = "auto",
    slurm: Slurm = UNSET,
) -> State[Any]:
    """Measure checkpoints by suites, and show the figures beside each other.

    Nothing is measured twice. A checkpoint that cannot be measured fails the flow, once all others are
    measured. Cancelling ends the jobs.
    Parameters left empty are those of the experiment, of params.yaml and of the machine.

    Args:
        checkpoints: files, runs (their newest), `published:NAME`: all that `cosmos evaluate` takes
        suites: the suites that measure them
        experiment: an overlay, by its name in experiments/, as of the last `prefect deploy`; empty: the
            one that params.yaml names
        evaluate: zero-shot evaluation
        data_root: folder of prepared datasets; a flow that prepares some names it in its artifact `data`
        cluster: where it runs: as an array of Slurm jobs, as processes of their own on the worker's machine
            (local), or in the flow's own process (debug); auto: Slurm where one answers, or else debug
        slurm: resources that a job asks for

    """
    machine = Machine(data_root=data_root, cluster=cluster, slurm=slurm)
    resolved = evaluation_experiment(experiment, evaluate)
    rows = call_with_retries(
        lambda: evaluate_many(checkpoints, suites, resolved, machine, log_text),
        get_run_logger().warning,
        lambda rows: "\n".join(dict.fromkeys(row.problem for row in rows if row.is_transient)),
    )
    for suite in suites:
        create_results_table(f"sweep-{suite}", table_rows(row for row in rows if row.suite == suite), suite)
    problems = dict.fromkeys(row.problem for row in rows if row.problem)
    if problems:
        return Failed(message="not everything was measured:\n" + "\n".join(problems))
    return Completed(message=f"{len(checkpoints)} checkpoints measured by {', '.join(suites)}")


def table_rows(rows: Iterable[EvaluationRow]) -> list[dict[str, Any]]:
    """Return the rows of a table: figures and the data that they are of, or the problem."""
    return [
        {"checkpoint": row.checkpoint, "problem": row.problem}
        if row.problem
        else {
            "checkpoint": row.checkpoint,
            "dataset": row.dataset,
            "data": short_hash(row.data_hash),
            "model": row.model,
            **row.figures,
            **interval_columns(row.intervals),
        }
        for row in rows
    ]


def log_text(text: str) -> None:
    """Write the output of evaluations into the flow run's log."""
    if text.strip():
        get_run_logger().info(text.rstrip())
