"""Tasks of the flows: one for each stage of dvc.yaml, in the DVC workspace that is the working directory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName
from cosmos.pipeline.dvc import (
    PIPELINE,
    list_results,
    machine_environment,
    parameters_in_force,
    reproduce,
)
from cosmos.run.results import overall_figures
from flows.artifacts import PretrainingProgress, create_report_link, create_results_table
from flows.retries import RETRYING

WORKSPACE = Path()

StageEnvironment = Mapping[str, str]
"""Environment variables by which a stage's command chooses its cluster, and the resources of its job."""


def run_stages(
    stages: Sequence[str],
    experiment: str,
    overrides: Mapping[str, Any],
    cluster: ClusterName,
    slurm: Mapping[str, Any],
) -> None:
    """Run stages one after the other, with these parameters in force in the workspace."""
    environment = machine_environment(cluster, JobRequest.model_validate(slurm))
    with parameters_in_force(
        WORKSPACE, experiment, {key: value for key, value in overrides.items() if value}
    ):
        for stage in stages:
            TASKS[stage.partition("@")[0]](stage, environment)


def run_stage(stage: str, environment: StageEnvironment, on_tick: Callable[[], None] = lambda: None) -> None:
    """Have DVC run a stage, with its output in the run's log."""
    reproduce(WORKSPACE, stage, environment, get_run_logger().info, on_tick)


@task(name="prepare", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRYING)
def prepare(stage: str, environment: StageEnvironment) -> None:
    """Make the data."""
    run_stage(stage, environment)


@task(name="pretrain", task_run_name="{stage}", cache_policy=NO_CACHE)
def pretrain(stage: str, environment: StageEnvironment) -> None:
    """Pretrain, and show the progress. There are no retries: the job itself requeues where that helps."""
    progress = PretrainingProgress(WORKSPACE)
    try:
        run_stage(stage, environment, progress.update)
    finally:
        progress.update()


@task(name="evaluate", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRYING)
def evaluate(stage: str, environment: StageEnvironment) -> None:
    """Measure the model by one suite, and show the figures."""
    run_stage(stage, environment)
    suite = stage.partition("@")[2]
    rows = [overall_figures(row) for row in list_results(WORKSPACE) if row["suite"] == suite]
    create_results_table(f"results-{suite}", rows, f"{suite}: the pipeline's model")


@task(name="report", task_run_name="{stage}", cache_policy=NO_CACHE)
def report(stage: str, environment: StageEnvironment) -> None:
    """Write the report, and show its path."""
    run_stage(stage, environment)
    create_report_link(WORKSPACE / PIPELINE.page)


TASKS = {task.name: task for task in (prepare, pretrain, evaluate, report)}
"""Tasks by the name of their stage; one for all suites."""
