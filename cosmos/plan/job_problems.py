"""Requests of jobs that a cluster cannot meet, or that leave a run without what it needs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cosmos.config.gpus import Gpu
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.number_text import count_of
from cosmos.config.params import Params
from cosmos.launch.partitions import NodeKind, Partition, find_partition
from cosmos.plan.problem import PlanProblem, plan_error, plan_warning
from cosmos.plan.run_place import RunPlace, is_node_local

LISTING = "`sinfo` lists what there is"


def job_problems(
    params: Params, machine: Machine, request: JobRequest, place: RunPlace, gpu: Gpu | None
) -> Iterator[PlanProblem]:
    """Yield the problems of a request by itself, with its partition, and with the kind of its GPUs."""
    yield from rank_problems(machine, request)
    yield from core_problems(machine, request)
    if place.partitions:
        yield from partition_problems(request, place.partitions, gpu)
        yield from folder_problems(machine)
    yield from precision_problems(params, gpu)
    yield from place_problems(machine, place)


def rank_problems(machine: Machine, request: JobRequest) -> Iterator[PlanProblem]:
    """Yield problems of processes and GPUs of a node that do not fit each other, or the device."""
    gpus, ranks = request.gpus_per_node, request.ranks_per_node
    if gpus and machine.device == "cpu":
        reason = f"leaves {count_of(gpus, 'GPU')} of each node idle"
        yield plan_warning(
            "COSMOS_DEVICE", "cpu", reason, "leave it at auto, or set slurm.gpus_per_node to 0"
        )
        return
    if not gpus and machine.device.startswith("cuda"):
        remedy = "set slurm.gpus_per_node to the GPUs of a node"
        yield plan_error("COSMOS_DEVICE", machine.device, "needs a GPU, and the job asks for none", remedy)
    if gpus and ranks > gpus:
        reason = f"processes share {count_of(gpus, 'GPU')} of a node, which NCCL refuses"
        yield plan_error("slurm.tasks_per_node", ranks, reason, "leave it out: one process for each GPU")
    if gpus and ranks < gpus:
        reason = f"leaves {gpus - ranks} of {count_of(gpus, 'GPU')} of each node idle"
        yield plan_warning("slurm.tasks_per_node", ranks, reason, "leave it out: one process for each GPU")
    if gpus and ranks > 1 and ":" in machine.device:
        remedy = "leave it at auto: each process takes its own"
        yield plan_error("COSMOS_DEVICE", machine.device, f"is one GPU for {ranks} processes", remedy)


def core_problems(machine: Machine, request: JobRequest) -> Iterator[PlanProblem]:
    """Yield a warning where the workers of a process have fewer cores than they are."""
    if machine.workers > request.cpus_per_task:
        reason = f"cores of a process are fewer than its {count_of(machine.workers, 'worker')}"
        remedy = f"ask for {machine.workers + 1}, or set COSMOS_WORKERS to {request.cpus_per_task}"
        yield plan_warning("slurm.cpus_per_task", request.cpus_per_task, reason, remedy)


def precision_problems(params: Params, gpu: Gpu | None) -> Iterator[PlanProblem]:
    """Yield an error for an arithmetic that the GPU has not."""
    if gpu and params.pretrain.precision == "bf16" and not gpu.has_bf16:
        reason = f"is no arithmetic of {gpu.kind}"
        remedy = "--pretrain.precision fp16 takes its tensor cores"
        yield plan_error("pretrain.precision", "bf16", reason, remedy)


def folder_problems(machine: Machine) -> Iterator[PlanProblem]:
    """Yield warnings of folders that the nodes of a cluster do not share."""
    for key, folder in ("COSMOS_RUNS_ROOT", machine.runs_root), ("COSMOS_DATA_ROOT", machine.data_root):
        if is_node_local(folder):
            reason = "lies on a disk that each machine has for itself"
            yield plan_warning(key, folder, reason, "name a folder that all nodes share")


def place_problems(machine: Machine, place: RunPlace) -> Iterator[PlanProblem]:
    """Yield problems of the run directory, the data of evaluations, and the mirror."""
    if place.run_problem:
        yield plan_error("--run", place.run.name if place.run else "", "is taken", place.run_problem)
    for reason in place.unmeasurable:
        remedy = "put it there, or set pretrain.evaluate_every_epochs to 0"
        yield plan_error("evaluate.while_training", "", reason, remedy)
    if not place.has_wandb_key:
        remedy = "set WANDB_API_KEY, or COSMOS_WANDB__MODE=offline"
        yield plan_warning("COSMOS_WANDB__MODE", machine.wandb.own_mode, "has no API key", remedy)


def partition_problems(
    request: JobRequest, partitions: tuple[Partition, ...], gpu: Gpu | None
) -> Iterator[PlanProblem]:
    """Yield what a partition cannot give: a job waits for that for ever, or sbatch refuses it."""
    partition = find_partition(partitions, request.partition)
    if partition is None:
        names = [item.name for item in partitions]
        reason = "is no partition of this cluster" if request.partition else "no partition is the default"
        yield plan_error("slurm.partition", request.partition, reason, near_names(request.partition, names))
        return
    if not partition.is_up:
        others = [item.name for item in partitions if item.is_up]
        remedy = f"wait until it is, or take another: {', '.join(others)}" if others else "wait until it is"
        yield plan_warning("slurm.partition", partition.name, "is not up", remedy)
    yield from partition_limit_problems(request, partition)
    yield from node_problems(request, partition, partitions)
    if gpu and request.gpus_per_node:
        yield from kind_problems(gpu, partition)


def partition_limit_problems(request: JobRequest, partition: Partition) -> Iterator[PlanProblem]:
    """Yield an error for a time limit that is longer than the partition's."""
    if request.minutes > partition.max_minutes:
        longest = int(partition.max_minutes)
        reason = f"minutes are more than the {longest} that partition {partition.name} allows"
        remedy = f"set {longest}: the job is saved and requeued at its limit, and goes on"
        yield plan_error("slurm.minutes", request.minutes, reason, remedy)


def kind_problems(gpu: Gpu, partition: Partition) -> Iterator[PlanProblem]:
    """Yield a warning where the kinds of GPUs that the site names for a partition are others."""
    kinds = partition.gpu_kinds
    if kinds and not any(kind.lower() in gpu.kind or gpu.kind in kind.lower() for kind in kinds):
        reason = f"is planned, and partition {partition.name} has {', '.join(kinds)}"
        yield plan_warning("slurm.gpu_kind", gpu.kind, reason, "state the kind that the partition has")


def node_problems(
    request: JobRequest, partition: Partition, partitions: tuple[Partition, ...]
) -> Iterator[PlanProblem]:
    """Yield errors for nodes that the partition has not, or not with as much."""
    ranks, kinds = request.ranks_per_node, partition.nodes
    gpus = NodeNeed("slurm.gpus_per_node", request.gpus_per_node, "GPUs", lambda kind: kind.num_gpus)
    cores = NodeNeed("slurm.cpus_per_task", request.cpus_per_task, "cores", lambda kind: kind.cores // ranks)
    memory = NodeNeed("slurm.memory_gb", request.memory_gb, "GiB", lambda kind: kind.memory_mib / 1024)
    needs = [need for need in (gpus, cores, memory) if need.value]
    lacking = [need for need in needs if not any(map(need.is_met_by, kinds))]
    for need in lacking:
        reason = f"{need.unit}{need.share(ranks)} are more than any node of partition {partition.name} has"
        yield plan_error(need.key, f"{need.value:g}", reason, need.remedy(partition, partitions))
    able = sum(kind.number for kind in kinds if all(need.is_met_by(kind) for need in needs))
    if not lacking and request.nodes > able:
        reason = f"nodes are more than the {able} of partition {partition.name} that have as much"
        yield plan_error(
            "slurm.nodes", request.nodes, reason, f"set {able} or less, or name another partition"
        )


@dataclass(frozen=True)
class NodeNeed:
    """Resource that each node of a job needs."""

    key: str
    value: float
    unit: str
    amount: Callable[[NodeKind], float]
    """returns as much as a node can give"""

    def is_met_by(self, kind: NodeKind) -> bool:
        """Return True for nodes that have as much."""
        return self.amount(kind) >= self.value

    def share(self, num_ranks: int) -> str:
        """Return the remark on a resource that is asked for each process of several."""
        return f" for each of {num_ranks} processes" if num_ranks > 1 and self.unit == "cores" else ""

    def remedy(self, partition: Partition, partitions: Iterable[Partition]) -> str:
        """Return the partitions that have as much; where there are none, the largest amount that there is."""
        able = [item.name for item in partitions if any(map(self.is_met_by, item.nodes))]
        if able:
            return f"slurm.partition: {' or '.join(able)} has"
        largest = max(map(self.amount, partition.nodes), default=0)
        return f"{largest:g} would do" if largest else f"no partition has any; {LISTING}"
