"""Plan of a run: what it will take, from its workload alone."""

from dataclasses import dataclass

from cosmos.config.params import PretrainParams
from cosmos.plan.compute import SampleFlops, sample_flops
from cosmos.plan.disk import DiskPlan, plan_disk
from cosmos.plan.energy import EnergyPlan, plan_energy
from cosmos.plan.loading import LoadingPlan, plan_loading
from cosmos.plan.memory import MemoryRemedy, StepMemory, memory_remedies, step_memory
from cosmos.plan.pace import StepTime, plan_step_time
from cosmos.plan.traffic import StepTraffic, step_traffic
from cosmos.plan.workload import Span, Workload


@dataclass(frozen=True)
class StepCounts:
    """Numbers of steps and samples of a run; no steps where the data has fewer samples than a batch."""

    per_epoch: int
    total: int
    samples_seen: int
    """samples that the steps see, each as often as it is seen"""
    left_out: int
    """samples that an epoch leaves out, since they are less than a batch"""

    @classmethod
    def of(cls, num_samples: int, params: PretrainParams) -> "StepCounts":
        """Return the steps of a run, as `cosmos.data.order.SampleOrder` takes them."""
        per_epoch, left_out = divmod(num_samples, params.batch_size)
        total = per_epoch * params.epochs
        return cls(per_epoch, total, total * params.batch_size, left_out)


@dataclass(frozen=True)
class RunTime:
    """Time of a run, without evaluations, saves and waits in a queue."""

    step: StepTime
    hours: Span
    """hours on the clock"""
    device_hours: Span
    """hours of all ranks together"""
    samples_per_second: Span
    """samples of all ranks together"""
    bytes_per_second: Span
    """bytes of shards that all ranks read"""
    cores_needed: Span
    """cores that make the views of a rank's samples as fast as it takes them"""
    keeps_up: bool
    """False where loading may take longer than arithmetic and links"""


@dataclass(frozen=True)
class ComparedFigure:
    """Figure of a plan beside that of the published run; "not published" where there is none."""

    name: str
    published: str
    planned: str


SECONDS_PER_HOUR = 3600

NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class RunPlan:
    """Plan of a run: the answer to a workload."""

    steps: StepCounts
    flops: SampleFlops
    """floating-point operations for each sample"""
    total_flops: float
    """floating-point operations of the run, as training logs them"""
    memory: StepMemory
    """memory of a rank at the peak of a step"""
    remedies: tuple[MemoryRemedy, ...]
    """workloads that fit on the GPU, where this one does not"""
    traffic: StepTraffic
    """exchanges of a step"""
    loading: LoadingPlan
    disk: DiskPlan
    time: RunTime | None
    """None where the speed of the device is not known"""
    energy: EnergyPlan | None
    comparison: tuple[ComparedFigure, ...]
    """figures beside those of the published run, of an experiment that repeats one"""


def plan_run(workload: Workload) -> RunPlan:
    """Return the plan of a workload. Raises InputError for an architecture that is no plain ViT."""
    steps = StepCounts.of(workload.data.num_samples, workload.params.pretrain)
    flops, traffic, loading = sample_flops(workload), step_traffic(workload), plan_loading(workload)
    time = plan_time(workload, steps, loading, plan_step_time(workload, flops, loading, traffic))
    return RunPlan(
        steps,
        flops,
        total_flops=flops.logged * steps.samples_seen,
        memory=step_memory(workload),
        remedies=memory_remedies(workload),
        traffic=traffic,
        loading=loading,
        disk=plan_disk(workload, steps.total),
        time=time,
        energy=plan_energy(workload, time.device_hours) if time else None,
        comparison=compare_with_published(workload, time),
    )


def plan_time(
    workload: Workload, steps: StepCounts, loading: LoadingPlan, step: StepTime | None
) -> RunTime | None:
    """Return the time of a run by that of a step; None where that is not known."""
    if step is None:
        return None
    hours, batch = step.seconds.times(steps.total / SECONDS_PER_HOUR), workload.params.pretrain.batch_size
    samples = Span(batch / step.seconds.high, batch / step.seconds.low)
    busy = step.arithmetic.plus(step.exchange)
    work = loading.view_seconds.times(workload.batch_per_rank)
    return RunTime(
        step,
        hours,
        device_hours=hours.times(workload.num_ranks),
        samples_per_second=samples,
        bytes_per_second=samples.times(workload.data.bytes_per_sample),
        cores_needed=Span(work.low / busy.high, work.high / busy.low),
        keeps_up=step.loading.high <= busy.low,
    )


def estimate_device_seconds(workload: Workload) -> Span | None:
    """Return the seconds of all devices together that a run takes; None where their speed is not known."""
    time = plan_run(workload).time
    return time.device_hours.times(SECONDS_PER_HOUR) if time else None


def compare_with_published(workload: Workload, time: RunTime | None) -> tuple[ComparedFigure, ...]:
    """Return the figures of a plan beside those of the run that it repeats; () where it repeats none."""
    published = workload.published
    if not published.gpus:
        return ()
    batch = published.gpus * published.batch_per_gpu
    gpu = workload.gpu.kind if workload.gpu else "none"
    rows = (
        ("GPUs", published.gpus, workload.num_ranks),
        ("kind of GPU", published.gpu_kind, gpu),
        ("samples of a step on a GPU", published.batch_per_gpu, workload.batch_per_rank),
        ("samples of a step", batch, workload.params.pretrain.batch_size),
        ("samples of the data", published.samples, workload.data.num_samples),
        ("hours", published.hours, f"{time.hours.low:.0f} to {time.hours.high:.0f}" if time else "not known"),
    )
    return tuple(
        ComparedFigure(name, shown(theirs) if theirs else NOT_PUBLISHED, shown(ours))
        for name, theirs, ours in rows
    )


def shown(figure: float | str) -> str:
    """Return a figure as text, a number with commas."""
    return figure if isinstance(figure, str) else f"{figure:,}"
