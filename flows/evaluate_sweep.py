"""The flow evaluate-sweep: checkpoints measured by suites, beside each other."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as this_run
from prefect.states import Completed, Failed
from prefect.utilities.callables import get_call_parameters
from pydantic import Field

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import Experiment, load_experiment
from cosmos.config.machine import ClusterName, Machine
from cosmos.pipeline import dvc as pipeline
from cosmos.stages.evaluate_jobs import Row, cancel_many, evaluate_many
from flows.parameters import UNSET, Evaluate, Slurm, title
from flows.shown import show_results

Checkpoints = Annotated[list[str], Field(min_length=1)]
Suites = Annotated[list[SuiteName], Field(min_length=1)]

ALL_SUITES: list[SuiteName] = list(get_args(SuiteName))


def run_title() -> str:
    """A name for the flow run that is running."""
    return title(this_run.parameters)


def cancel_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Ends the jobs of a sweep that was cancelled."""
    said = flow.validate_parameters(get_call_parameters(flow.fn, (), flow_run.parameters))
    wanted, machine = asked_for(said["experiment"], said["evaluate"]), where(said)
    ended = cancel_many(said["checkpoints"], said["suites"], wanted, machine)
    flow_run_logger(flow_run, flow).info(ended)


def asked_for(experiment: str, evaluate: dict[str, Any]) -> Experiment:
    """The experiment, with what was set of evaluation."""
    return load_experiment(experiment, {"evaluate": evaluate} if evaluate else {})


def where(said: Mapping[str, Any]) -> Machine:
    """The machine, with what was set of it."""
    return Machine(**{name: said[name] for name in ("data_root", "cluster", "slurm")})


@flow(name="evaluate-sweep", flow_run_name=run_title, on_cancellation=[cancel_jobs])
def evaluate_sweep(
    checkpoints: Checkpoints,
    suites: Suites = ALL_SUITES,
    experiment: str = "",
    evaluate: Evaluate = UNSET,
    data_root: Path = pipeline.PIPELINE.data,
    cluster: ClusterName = "auto",
    slurm: Slurm = UNSET,
) -> State[Any]:
    """Measures checkpoints by suites, and sets the figures beside each other.

    Nothing is measured twice. What cannot be measured fails the flow, once all else is measured. Cancelling
    ends the jobs.
    What is left empty here is as the experiment, params.yaml and the machine say.

    Args:
        checkpoints: files, runs (their newest), `published:NAME`: all that `cosmos evaluate` takes
        suites: what is measured
        experiment: an overlay, by its name in experiments/; empty: the one that params.yaml names
        evaluate: zero-shot evaluation
        data_root: folder of prepared datasets; pipeline/data is that of the other flows
        cluster: where it runs: as an array of Slurm jobs, as processes of their own on the worker's machine
            (local), or in the flow's own process (debug); auto: Slurm where one answers, or else debug
        slurm: what a job asks for

    """
    machine = where({"data_root": data_root, "cluster": cluster, "slurm": slurm})
    rows = evaluate_many(checkpoints, suites, asked_for(experiment, evaluate), machine, show)
    for suite in suites:
        show_results(f"sweep-{suite}", table(row for row in rows if row.suite == suite), suite)
    problems = dict.fromkeys(row.problem for row in rows if row.problem)
    if problems:
        return Failed(message="not everything was measured:\n" + "\n".join(problems))
    return Completed(message=f"{len(checkpoints)} checkpoints measured by {', '.join(suites)}")


def table(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as they are shown: figures where something was measured, or why not."""
    return [
        {"checkpoint": row.checkpoint, "problem": row.problem}
        if row.problem
        else {"checkpoint": row.checkpoint, "dataset": row.dataset, "model": row.model, **row.figures}
        for row in rows
    ]


def show(text: str) -> None:
    """What evaluations say goes to the run's log."""
    if text.strip():
        get_run_logger().info(text.rstrip())
