"""Tasks of the flows: one for each stage of a pipeline, in the DVC workspace worked in."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait

from cosmos.config.experiment import load_params
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName
from cosmos.errors import Interrupted
from cosmos.launch.clusters import resolve_cluster
from cosmos.pipeline.directory import PipelineDir
from cosmos.pipeline.dvc import SINGLE_STAGE, list_results, machine_environment, pipeline_lock, reproduce
from cosmos.pipeline.flow_pipeline import open_pipeline, require_parameters
from cosmos.run.results import overall_figures
from flows.artifacts import PretrainingProgress, create_data_link, create_results_table
from flows.forms import refresh_forms
from flows.labels import label_flow_run
from flows.reports import create_pipeline_report
from flows.retries import RETRYING, call_with_retries

WORKSPACE = Path()

NEVER = Event()
"""Event that is never set."""

StageEnvironment = Mapping[str, str]
"""Environment variables by which a stage's command chooses its cluster, and the resources of its job."""


def run_stages(
    stages: Sequence[str],
    experiment: str,
    overrides: Mapping[str, Any],
    cluster: ClusterName,
    slurm: Mapping[str, Any],
) -> None:
    """Run stages in their order, in the pipeline of an experiment and the overrides that were set.

    On Slurm the suites of `evaluate` run at once, each as a job.
    """
    environment = machine_environment(cluster, JobRequest.model_validate(slurm))
    chosen, logger = {key: value for key, value in overrides.items() if value}, get_run_logger()
    pipeline, promised = call_with_retries(
        lambda: (open_pipeline(WORKSPACE, experiment, chosen), load_params(experiment, chosen)),
        logger.warning,
    )
    call_with_retries(lambda: label_flow_run(pipeline), logger.warning)
    logger.info("the pipeline's folder: %s", pipeline.folder)
    with pipeline_lock(WORKSPACE, pipeline):
        for group in groups_of_stages(stages, resolve_cluster(cluster) == "slurm"):
            call_with_retries(lambda: require_parameters(WORKSPACE, pipeline, promised), logger.warning)
            if len(group) > 1:
                evaluate_at_once(group, pipeline, environment)
            else:
                TASKS[group[0].partition("@")[0]](group[0], pipeline, environment)
    refresh_forms()


def groups_of_stages(stages: Sequence[str], has_jobs: bool) -> list[list[str]]:
    """Return stages in the groups that run one after the other: all suites are one where they are jobs."""
    names = groupby(stages, lambda stage: stage.partition("@")[0] if has_jobs else stage)
    return [list(group) for _, group in names]


def evaluate_at_once(stages: Sequence[str], pipeline: PipelineDir, environment: StageEnvironment) -> None:
    """Run stages of `evaluate` beside each other; raise the first error once all have ended.

    Where this thread is stopped, DVC is stopped in each of them.
    """
    is_stopped = Event()
    running = [evaluate.submit(stage, pipeline, environment, is_stopped, SINGLE_STAGE) for stage in stages]
    try:
        wait(running)
    finally:
        is_stopped.set()
    for future in running:
        future.result()


def stop_where_set(is_stopped: Event) -> None:
    """Raise Interrupted once the event is set."""
    if is_stopped.is_set():
        raise Interrupted("the flow was stopped")


def run_stage(
    stage: str,
    pipeline: PipelineDir,
    environment: StageEnvironment,
    on_tick: Callable[[], None] = lambda: None,
    options: Sequence[str] = (),
) -> None:
    """Have DVC run a stage, with its output in the run's log."""
    reproduce(WORKSPACE, pipeline.target(stage), environment, get_run_logger().info, on_tick, options)


@task(name="prepare", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRYING)
def prepare(stage: str, pipeline: PipelineDir, environment: StageEnvironment) -> None:
    """Make the data, and show its path."""
    run_stage(stage, pipeline, environment)
    create_data_link(WORKSPACE / pipeline.data)


@task(name="pretrain", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRYING)
def pretrain(stage: str, pipeline: PipelineDir, environment: StageEnvironment) -> None:
    """Pretrain, or go on with it, and show the progress."""
    progress = PretrainingProgress(WORKSPACE, pipeline)
    try:
        run_stage(stage, pipeline, environment, progress.update)
    finally:
        progress.update()


@task(name="evaluate", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRYING)
def evaluate(
    stage: str,
    pipeline: PipelineDir,
    environment: StageEnvironment,
    is_stopped: Event = NEVER,
    options: Sequence[str] = (),
) -> None:
    """Measure the model by one suite, unless `is_stopped` meanwhile, and show the figures."""
    run_stage(stage, pipeline, environment, partial(stop_where_set, is_stopped), options)
    suite = stage.partition("@")[2]
    rows = [overall_figures(row) for row in list_results(WORKSPACE, pipeline) if row["suite"] == suite]
    create_results_table(f"results-{suite}", rows, f"{suite}: the model of {pipeline.folder}")


@task(name="report", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRYING)
def report(stage: str, pipeline: PipelineDir, environment: StageEnvironment) -> None:
    """Write the report, and show its figures and its path."""
    run_stage(stage, pipeline, environment)
    create_pipeline_report(WORKSPACE, pipeline)


TASKS = {task.name: task for task in (prepare, pretrain, evaluate, report)}
"""Tasks by the name of their stage; one for all suites."""
