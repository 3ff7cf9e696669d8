"""Wrong plans: all problems of a run that is planned, the errors first."""

from collections.abc import Iterator

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.plan.forecast_problems import Forecast, forecast_problems
from cosmos.plan.job_problems import job_problems
from cosmos.plan.params_problems import params_problems
from cosmos.plan.planned_run import PlannedRun
from cosmos.plan.problem import PlanProblem
from cosmos.plan.run_place import RunPlace
from cosmos.plan.run_plan import plan_run
from cosmos.plan.workload import Workload


def plan_and_check(
    name: str,
    workload: Workload,
    machine: Machine,
    request: JobRequest,
    place: RunPlace,
    is_kind_certain: bool,
) -> PlannedRun:
    """Return the plan of a run with all its problems. Raises as `plan_run`."""
    asked = [*asked_problems(workload, machine, request, place)]
    plan = plan_run(workload)
    forecast = Forecast(workload, plan, machine, request, place, is_kind_certain)
    ordered = sorted([*asked, *forecast_problems(forecast)], key=lambda problem: not problem.is_error)
    return PlannedRun(name, workload, plan, tuple(ordered))


def asked_problems(
    workload: Workload, machine: Machine, request: JobRequest, place: RunPlace
) -> Iterator[PlanProblem]:
    """Yield the problems of what is asked for, before anything is computed."""
    yield from params_problems(workload.params, workload.data.num_samples, workload.num_ranks)
    yield from job_problems(workload.params, machine, request, place, workload.gpu)
