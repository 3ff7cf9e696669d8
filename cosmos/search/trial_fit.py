"""Fit of a trial on the GPU that its job is to get: found out before it is submitted."""

from cosmos.config.gpus import Gpu, gpu_of_kind
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import InputError
from cosmos.plan.dataset_facts import dataset_facts
from cosmos.plan.memory import device_bytes, step_memory
from cosmos.plan.workload import Workload

GB = 1e9


def requested_gpu(request: JobRequest, machine: Machine) -> Gpu | None:
    """Return the kind of GPU that a job is to run on; None where none is stated. Raises as `gpu_of_kind`."""
    return gpu_of_kind(request.gpu_kind, machine.gpus) if request.gpu_kind and request.gpus_per_node else None


def trial_workload(
    params: Params, machine: Machine, request: JobRequest, gpu: Gpu, stated: int = 0
) -> Workload:
    """Return the workload of a trial; its data has the `stated` number of samples, unless it is prepared.

    Raises InputError where the size of its data is not known.
    """
    return Workload.of(params, dataset_facts(params, machine, stated=stated), request, gpu, machine)


def refuse_unfit_trial(params: Params, machine: Machine, request: JobRequest, gpu: Gpu) -> str:
    """Return the reason why a trial does not fit on its GPUs, with the remedy; "" where it may fit."""
    try:
        memory = step_memory(trial_workload(params, machine, request, gpu))
    except InputError:  # which its job explains
        return ""
    if memory.fits(gpu):
        return ""
    needed, there = (f"{size / GB:.3g} GB" for size in (memory.needed, device_bytes(gpu)))
    return (
        f"not submitted: a step needs {needed}, and {gpu.kind} has {there}; COSMOS_MICRO_BATCHES=2 (or "
        "more), COSMOS_ACTIVATION_CHECKPOINTING=cheap or more GPUs need less on each"
    )
