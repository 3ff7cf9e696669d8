"""Plans of small and of published runs, without data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cosmos.config.experiment import load_experiment
from cosmos.config.gpus import gpu_of_kind
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.plan.dataset_facts import dataset_facts
from cosmos.plan.forecast_problems import Forecast, forecast_problems
from cosmos.plan.run_place import RunPlace
from cosmos.plan.run_plan import plan_run
from cosmos.plan.workload import Workload

SHARED = {"runs_root": Path("/shared/runs"), "data_root": Path("/shared/data"), "cluster": "debug"}


def published_forecast(
    machine: dict[str, Any] | None = None,
    request: dict[str, Any] | None = None,
    place: RunPlace = RunPlace(),  # noqa: B008
    **sections: dict[str, Any],
) -> Forecast:
    """Return the plan of the published run on CC3M, with these settings in place of its own."""
    experiment = load_experiment("vitb16-cc3m", sections)
    settings = Machine(**{**SHARED, "workers": 8, **(machine or {})})
    job = JobRequest(**{**experiment.needs, "cpus_per_task": 16, **(request or {})})
    data = dataset_facts(experiment.params, settings, 0, experiment.samples)
    gpu = gpu_of_kind(job.gpu_kind) if job.gpus_per_node else None
    workload = Workload.of(experiment.params, data, job, gpu, settings)
    workload = replace(workload, published=experiment.published)
    return Forecast(workload, plan_run(workload), settings, job, place, is_kind_certain=True)


def told(forecast: Forecast) -> dict[str, str]:
    """Return the problems of a plan's figures by key."""
    return {
        problem.key: f"{'error' if problem.is_error else 'warning'}: {problem}"
        for problem in forecast_problems(forecast)
    }
