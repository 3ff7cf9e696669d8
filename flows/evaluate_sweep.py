"""Flow evaluate-sweep: checkpoints measured by suites, each a task."""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any, get_args

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.futures import wait
from prefect.logging.loggers import flow_run_logger
from prefect.states import Completed, Failed
from prefect.utilities.callables import get_call_parameters
from pydantic import Field

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import Experiment, load_experiment
from cosmos.config.identity import short_hash
from cosmos.config.machine import ClusterName, Machine
from cosmos.errors import CosmosError
from cosmos.launch.clusters import resolve_cluster
from cosmos.pipeline.directory import PIPELINE
from cosmos.run.results import interval_columns
from cosmos.stages.evaluate_job import evaluation_request
from cosmos.stages.evaluate_sweep import (
    CheckpointAndSuite,
    EvaluationRow,
    cancel_many,
    evaluate_many,
    evaluation_rows,
)
from flows.artifacts import create_results_table
from flows.parameters import UNSET, Checkpoint, Evaluate, ExperimentName, Slurm, current_run_title
from flows.retries import call_with_retries

Checkpoints = Annotated[list[Checkpoint], Field(min_length=1)]
Suites = Annotated[list[SuiteName], Field(min_length=1)]

ALL_SUITES: list[SuiteName] = list(get_args(SuiteName))


def cancel_evaluations(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """End the jobs of a sweep that was cancelled."""
    parameters = flow.validate_parameters(get_call_parameters(flow.fn, (), flow_run.parameters))
    experiment = evaluation_experiment(parameters["experiment"], parameters["evaluate"])
    machine = Machine(**{name: parameters[name] for name in ("data_root", "cluster", "slurm")})
    for checkpoint, suite in product(parameters["checkpoints"], parameters["suites"]):
        outcome = cancel_many([checkpoint], [suite], experiment, machine)
        flow_run_logger(flow_run, flow).info(f"{suite} of {checkpoint}: {outcome}")


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
        checkpoints: files, runs (their newest), `published:NAME`: all that `cosmos evaluate` takes; offered:
            the newest runs, as of the last flow or `prefect deploy`
        suites: the suites that measure them
        experiment: an overlay, by its name in experiments/, as of the last flow or `prefect deploy`; empty:
            the one that params.yaml names
        evaluate: zero-shot evaluation
        data_root: folder of prepared datasets; a flow that prepares some names it in its artifact `data`
        cluster: where it runs: as Slurm jobs, as processes of their own on the worker's machine (local), or
            in the flow's own process, one after the other (debug); auto: Slurm where one answers, or else
            debug
        slurm: resources that a job asks for

    """
    machine = Machine(data_root=data_root, cluster=cluster, slurm=slurm)
    resolved = evaluation_experiment(experiment, evaluate)
    sweep = EvaluationSweep(resolved, machine)
    rows = sweep.measure_all(list(product(dict.fromkeys(checkpoints), dict.fromkeys(suites))))
    for suite in suites:
        create_results_table(f"sweep-{suite}", table_rows(row for row in rows if row.suite == suite), suite)
    problems = dict.fromkeys(row.problem for row in rows if row.problem)
    if problems:
        return Failed(message="not everything was measured:\n" + "\n".join(problems))
    return Completed(message=f"{len(checkpoints)} checkpoints measured by {', '.join(suites)}")


class EvaluationSweep:
    """Measurements of checkpoints by suites, with the rows of those that have ended."""

    def __init__(self, experiment: Experiment, machine: Machine) -> None:
        self.experiment, self.machine = experiment, machine
        self.rows: dict[CheckpointAndSuite, list[EvaluationRow]] = {}
        self.room = BoundedSemaphore(evaluation_request(experiment, machine).array_parallelism)

    def measure_all(self, pairs: Sequence[CheckpointAndSuite]) -> list[EvaluationRow]:
        """Measure each checkpoint by its suite, in a task of its own: at once where they are jobs."""
        if resolve_cluster(self.machine.cluster) == "debug":
            for checkpoint, suite in pairs:
                evaluate_pair(checkpoint, suite, self, return_state=True)
        else:
            wait([evaluate_pair.submit(checkpoint, suite, self) for checkpoint, suite in pairs])
        failed = CosmosError("its task failed; the log of the task says why")
        return [row for pair in pairs for row in self.rows.get(pair) or evaluation_rows(pair, failed)]

    def measure(self, checkpoint: str, suite: SuiteName) -> list[EvaluationRow]:
        """Measure a checkpoint by a suite, and keep and return the rows."""
        try:
            with self.room:
                rows = call_with_retries(
                    lambda: evaluate_many([checkpoint], [suite], self.experiment, self.machine, log_text),
                    get_run_logger().warning,
                    lambda rows: "\n".join(dict.fromkeys(row.problem for row in rows if row.is_transient)),
                )
        except CosmosError as error:
            rows = evaluation_rows((checkpoint, suite), error)
        self.rows[checkpoint, suite] = rows
        return rows


@task(name="evaluate", task_run_name="{suite} of {checkpoint}", cache_policy=NO_CACHE)
def evaluate_pair(checkpoint: str, suite: SuiteName, sweep: EvaluationSweep) -> State[Any]:
    """Measure a checkpoint by a suite; fail where something could not be measured."""
    rows = sweep.measure(checkpoint, suite)
    if problems := dict.fromkeys(row.problem for row in rows if row.problem):
        return Failed(message="\n".join(problems))
    return Completed(message=f"{len(rows)} rows of figures")


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
