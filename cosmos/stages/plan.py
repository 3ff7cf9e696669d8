"""Plans of pretrainings on this machine and its cluster: shown, written as a page, heeded before a job.

Nothing here imports torch, so that a plan is there in a second.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cosmos.config.experiment import Experiment, experiment_names, load_experiment
from cosmos.config.gpus import Gpu, gpu_of_kind
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import JobCluster, Machine
from cosmos.config.printable_text import print_text
from cosmos.errors import InputError
from cosmos.launch import slurm
from cosmos.launch.partitions import Partition, list_partitions
from cosmos.plan.dataset_facts import dataset_facts
from cosmos.plan.planned_run import PlannedRun
from cosmos.plan.problems import plan_and_check
from cosmos.plan.run_place import inspect_place
from cosmos.plan.workload import MeasuredSpeed, Workload
from cosmos.run.files import write_text

logger = logging.getLogger(__name__)

SINFO_SECONDS = 5.0
"""Seconds that a plan waits for an answer of Slurm."""

ANYWAY = "COSMOS_PLAN_ERRORS=warn submits it all the same"


@dataclass(frozen=True)
class PlanQuestion:
    """Settings that a plan takes in place of the machine's and the experiment's; None and "" for these."""

    nodes: int | None = None
    gpus_per_node: int | None = None
    gpu: str = ""
    samples: int = 0
    """samples of the training data; 0: those that are prepared or stated"""
    calibrate: bool = False
    """measure the speed of this machine first"""


AS_SUBMITTED = PlanQuestion()
"""Question of a plan of a job as it would be submitted."""


def plan_pretraining(
    experiment: Experiment, machine: Machine, question: PlanQuestion = AS_SUBMITTED, run: Path | None = None
) -> PlannedRun:
    """Return the plan of a pretraining with its problems; `run`: the run directory, where it has a name.

    Raises InputError for an unknown kind of GPU or architecture, and for data of unknown size.
    """
    params, request = experiment.params, requested_job(experiment, machine, question)
    gpu = requested_gpu(request, machine)
    data = dataset_facts(params, machine, question.samples, experiment.samples)
    workload = Workload.of(params, data, request, gpu, machine)
    measured = measure_speed(workload, machine) if question.calibrate else None
    workload = replace(workload, published=experiment.published, measured=measured)
    place = inspect_place(params, machine, partitions_here(machine), run)
    is_kind_certain = bool(question.gpu) or "gpu_kind" in machine.slurm.model_fields_set
    return plan_and_check(experiment.name, workload, machine, request, place, is_kind_certain)


def requested_job(experiment: Experiment, machine: Machine, question: PlanQuestion) -> JobRequest:
    """Return the request of a job: the machine's over the experiment's, and the question's over both."""
    request = machine.slurm.over(experiment.needs)
    gpus = question.gpus_per_node
    if gpus is None and question.gpu:
        gpus = request.gpus_per_node or 1
    asked = {"nodes": question.nodes, "gpus_per_node": gpus, "gpu_kind": question.gpu or None}
    return request.model_copy(update={key: value for key, value in asked.items() if value is not None})


def requested_gpu(request: JobRequest, machine: Machine) -> Gpu | None:
    """Return the kind of GPU of a request; None where it asks for none, or does not say of what kind.

    Raises InputError for a kind that is not known.
    """
    if not request.gpus_per_node or not request.gpu_kind:
        return None
    return gpu_of_kind(request.gpu_kind, machine.gpus)


def measure_speed(workload: Workload, machine: Machine) -> MeasuredSpeed:
    """Return the speed of this machine by a few steps, for which torch is imported.

    Raises InputError where the plan is of another device.
    """
    from cosmos.plan.calibration import calibrate

    return calibrate(workload, machine)


def partitions_here(machine: Machine) -> tuple[Partition, ...]:
    """Return the partitions of the cluster that jobs go to; () where there is none, or it is silent."""
    if machine.cluster not in ("auto", "slurm") or not slurm.is_configured():
        return ()
    try:
        return tuple(list_partitions(SINFO_SECONDS))
    except slurm.SlurmSilentError as error:
        logger.warning("%s; its partitions are not known", error)
        return ()


def plan_published_runs(machine: Machine) -> list[PlannedRun]:
    """Return the plans of the published runs, on the nodes and GPUs that they state."""
    elsewhere = machine.model_copy(update={"slurm": JobRequest(), "cluster": "debug"})
    experiments = map(load_experiment, experiment_names())
    return [
        plan_pretraining(experiment, elsewhere, PlanQuestion(samples=experiment.samples))
        for experiment in experiments
        if experiment.published.gpus
    ]


def show_plan(planned: PlannedRun, page: Path | None, quiet: bool) -> None:
    """Print a plan unless `quiet`, and write it as a page to the file `page`."""
    from cosmos.plan.section import plan_page  # late: a submission shows no table
    from cosmos.plan.table import print_plan

    if not quiet:
        print_plan(planned)
    if page:
        write_text(page, plan_page(planned))
    if page and not quiet:
        print_text(f"\npage: {page}")


def show_published_plans(plans: Sequence[PlannedRun], quiet: bool) -> None:
    """Print the plans of the published runs beside what the paper used, unless `quiet`."""
    from cosmos.plan.table import print_published_plans

    if not quiet:
        print_published_plans(plans)


def refuse_plan_errors(planned: PlannedRun, remedy: str = "") -> None:
    """Raise InputError that lists the errors of a plan, if it has any; `remedy`: another way out of them."""
    errors = [str(problem) for problem in planned.errors]
    if len(errors) == 1:
        raise InputError("; ".join(filter(None, [errors[0], remedy])))
    if errors:
        raise InputError("\n  ".join([f"{planned.name} cannot run so:", *errors, *filter(None, [remedy])]))


def heed_plan(experiment: Experiment, machine: Machine, cluster: JobCluster, run: Path) -> None:
    """Hold a pretraining that is to be submitted against its plan, and tell what is wrong with it.

    Raises InputError that lists errors where it goes to Slurm, unless the machine's `plan_errors` is warn.
    """
    is_refused = cluster == "slurm" and machine.plan_errors == "refuse"
    try:
        planned = plan_pretraining(experiment, machine, run=run)
    except InputError as error:  # an unknown kind of GPU
        if is_refused:
            raise InputError(f"{error}; {ANYWAY}") from None
        logger.warning(str(error))
        return
    told = planned.warnings if is_refused else planned.problems
    for problem in told:
        logger.warning(str(problem))
    if is_refused:
        refuse_plan_errors(planned, ANYWAY)
