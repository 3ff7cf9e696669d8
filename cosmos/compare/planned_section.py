"""Section of a run's page on its plan: what was to be expected, beside what was measured."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from statistics import median

from cosmos.compare.reported_run import ReportedRun
from cosmos.config.figures import DEVICE_MEMORY, DEVICE_SECONDS, SAMPLES_PER_SECOND, SECONDS, STEP
from cosmos.config.gpus import gpu_of_name
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_duration, format_share
from cosmos.config.params import Params
from cosmos.errors import CosmosError
from cosmos.plan.dataset_facts import dataset_facts
from cosmos.plan.planned_run import PlannedRun
from cosmos.plan.run_plan import plan_run
from cosmos.plan.section import plan_section
from cosmos.plan.table import number_text, size_text, unit_text
from cosmos.plan.workload import Workload
from cosmos.report.curves import training_lines
from cosmos.report.section import ReportSection


def planned_sections(run: ReportedRun, machine: Machine) -> Iterator[ReportSection]:
    """Yield the section on the plan of a run; none where parameters, ranks or data are not recorded."""
    if run.params is None or not run.provenance.sessions:
        return
    try:
        planned = plan_of_run(run, run.params, machine)
    except (CosmosError, OSError):  # data that is neither here nor recorded, or an architecture of old
        return
    yield plan_section(planned, dict(measured_figures(run, run.params, planned.workload)))


def plan_of_run(run: ReportedRun, params: Params, machine: Machine) -> PlannedRun:
    """Return the plan of a run on the ranks and the device of its last session; it has no problems any more.

    Raises as `dataset_facts` and `plan_run`.
    """
    recorded, session = run.provenance, run.provenance.sessions[-1]
    num_ranks, num_nodes = session.hardware.ranks or 1, max(1, len(session.job.nodes))
    request = JobRequest(nodes=num_nodes, tasks_per_node=max(1, num_ranks // num_nodes))
    gpu = gpu_of_name(session.hardware.gpu, machine.gpus)
    data = dataset_facts(params, machine, recorded.dataset.num_samples or 0)
    if recorded.dataset.num_samples:
        data = replace(data, samples_from=run.run.provenance.name)
    workload = Workload.of(params, data, request, gpu, machine)
    return PlannedRun(run.label, workload, plan_run(workload), ())


def measured_figures(
    run: ReportedRun, params: Params, workload: Workload
) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what a run logged of its plan's figures, as text, by part and name of the plan's table."""
    lines = training_lines(run.lines)
    for place, (key, describe) in logged_totals(workload).items():
        if lines and lines[-1].get(key) is not None:
            yield place, describe(lines[-1][key])
    for place, (key, describe) in logged_rates(params.pretrain.batch_size).items():
        if values := [line[key] for line in lines if line.get(key)]:
            yield place, describe(median(values))


LoggedFigures = Mapping[tuple[str, str], tuple[str, Callable[[float], str]]]
"""Keys of metrics.jsonl and formats of their values, by part and name of the plan's table."""


def logged_totals(workload: Workload) -> LoggedFigures:
    """Return the figures of which the last line of a training counts."""
    devices = "GPU-hours" if workload.gpu else "hours of processes"
    rest = "" if workload.gpu else ", program and libraries included"
    return {
        ("steps", "steps"): (STEP.name, lambda value: f"{value:,.0f}"),
        ("time", "run"): (SECONDS.name, format_duration),
        ("time", devices): (DEVICE_SECONDS.name, lambda value: number_text(value / 3600)),
        ("memory of a rank", "all at the peak"): (
            DEVICE_MEMORY.name,
            lambda value: f"{size_text(value)}{rest}",
        ),
    }


def logged_rates(batch_size: int) -> LoggedFigures:
    """Return the figures of which the median of a training's lines counts."""
    return {
        ("time", "samples a second"): (SAMPLES_PER_SECOND.name, number_text),
        ("time", "step"): (SAMPLES_PER_SECOND.name, lambda rate: f"{batch_size / rate:.2g} s"),
        ("time", "share of the peak"): ("mfu", format_share),
        ("arithmetic of a sample", "needed"): ("flops_per_sample", lambda value: unit_text(value, "FLOP")),
        ("loading", "a rank's workers make"): ("data_wait", describe_wait),
    }


def describe_wait(share: float) -> str:
    """Return the share of the time that a training waited for data, for people."""
    return f"{format_share(share)} of the time waited for data"
