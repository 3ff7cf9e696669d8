"""Tasks: one for each stage of dvc.yaml, in the DVC workspace that is the working directory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName
from cosmos.pipeline import dvc as pipeline
from cosmos.pipeline.dvc import StageFailedError
from cosmos.run.results import overall_figures
from flows.shown import Progress, show_report, show_results

WORKSPACE = Path()

RETRIES = 2
SECONDS_BETWEEN_TRIES = [30.0, 120.0]

Where = Mapping[str, str]
"""Variables that tell a stage's command where to run."""


def run_stages(
    stages: Sequence[str],
    experiment: str,
    overrides: Mapping[str, Any],
    cluster: ClusterName,
    slurm: Mapping[str, Any],
) -> None:
    """Runs stages one after the other, with these parameters in force in the workspace."""
    where = pipeline.machine_environment(cluster, JobRequest.model_validate(slurm))
    with pipeline.parameters_in_force(
        WORKSPACE, experiment, {key: value for key, value in overrides.items() if value}
    ):
        for stage in stages:
            TASKS[stage.partition("@")[0]](stage, where)


def may_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a second try may succeed with nothing mended: a disk or the network failed."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailedError) and error.may_pass


RETRYING: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": SECONDS_BETWEEN_TRIES,
    "retry_condition_fn": may_pass,
}
"""Options of tasks that read from disks and networks which may be away for a while."""


def reproduce(stage: str, where: Where, on_tick: Callable[[], None] = lambda: None) -> None:
    """Has DVC run a stage, its output in the run's log."""
    pipeline.reproduce(WORKSPACE, stage, where, get_run_logger().info, on_tick)


@task(name="prepare", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRYING)
def prepare(stage: str, where: Where) -> None:
    """Makes the data."""
    reproduce(stage, where)


@task(name="pretrain", task_run_name="{stage}", cache_policy=NO_CACHE)
def pretrain(stage: str, where: Where) -> None:
    """Pretrains, and shows how far it is. Has no retries: what can be mended by another try, its job does."""
    shown = Progress(WORKSPACE)
    try:
        reproduce(stage, where, shown.update)
    finally:
        shown.update()


@task(name="evaluate", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRYING)
def evaluate(stage: str, where: Where) -> None:
    """Measures the model by one suite, and shows the figures."""
    reproduce(stage, where)
    suite = stage.partition("@")[2]
    rows = [overall_figures(row) for row in pipeline.list_results(WORKSPACE) if row["suite"] == suite]
    show_results(f"results-{suite}", rows, f"{suite}: the pipeline's model")


@task(name="report", task_run_name="{stage}", cache_policy=NO_CACHE)
def report(stage: str, where: Where) -> None:
    """Writes the report, and shows where it lies."""
    reproduce(stage, where)
    show_report(WORKSPACE / pipeline.PIPELINE.page)


TASKS = {task.name: task for task in (prepare, pretrain, evaluate, report)}
"""The task of each stage; one for all suites."""
