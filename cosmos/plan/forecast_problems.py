"""Figures of a plan that a machine, a disk or a time limit does not have, said before submission."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cosmos.config.gpus import Gpu
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.number_text import count_of, format_duration, format_number, format_share
from cosmos.data.order import SHARDS_PER_WINDOW
from cosmos.plan.dataset_facts import ASSUMED_CAPTIONS
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.memory import MemoryRemedy, device_bytes
from cosmos.plan.problem import PlanProblem, plan_error, plan_warning
from cosmos.plan.run_place import RunPlace
from cosmos.plan.run_plan import SECONDS_PER_HOUR, RunPlan, RunTime
from cosmos.plan.workload import Span, Workload

GB = 1e9

GIB = 2**30

NAMED_REMEDIES = 2
"""Ways to make a step fit that a message names; the plan's table has all."""

MANY_CUT_CAPTIONS = 0.25
"""Share of captions that fill the context of the text tower from which on it is worth a remark."""

PAIR_SHARE = 0.1
"""Arithmetic of an evaluated image and caption, as a share of that of a sample in training: of the published
runs' forward and backward passes of 2 + 6 crops and 8 captions, and of the teacher's, one forward pass."""


@dataclass(frozen=True)
class Forecast:
    """Plan of a run, and what it is held against."""

    workload: Workload
    plan: RunPlan
    machine: Machine
    request: JobRequest
    place: RunPlace
    is_kind_certain: bool
    """False where the kind of GPU is the experiment's alone, so that the machine's may be another"""


def forecast_problems(forecast: Forecast) -> Iterator[PlanProblem]:
    """Yield the problems of a plan's figures, errors among them."""
    workload, plan, place = forecast.workload, forecast.plan, forecast.place
    if workload.gpu and not plan.memory.fits(workload.gpu):
        yield from memory_problems(forecast, workload.gpu)
    if plan.time:
        yield from time_limit_problems(forecast.request, plan, plan.time)
        yield from loading_problems(workload, plan.time)
        yield from evaluation_problems(forecast)
    yield from part_problems(workload)
    yield from checkpoint_problems(forecast)
    yield from host_memory_problems(forecast)
    yield from disk_problems(forecast)
    yield from cache_problems(forecast.machine, place)
    yield from caption_problems(workload)


def memory_problems(forecast: Forecast, gpu: Gpu) -> Iterator[PlanProblem]:
    """Yield the problem of a step that does not fit, with the cheapest ways to make it fit.

    It is an error, but for a kind of GPU that is the experiment's alone.
    """
    workload, memory = forecast.workload, forecast.plan.memory
    reason = (
        f"with {workload.batch_per_rank} samples on a rank needs {memory.needed / GB:.1f} GB, and {gpu.kind} "
        f"has {device_bytes(gpu) / GB:.1f}"
    )
    cheapest = forecast.plan.remedies[:NAMED_REMEDIES]
    ways = " or ".join(f"{describe_settings(workload, way)} ({describe_cost(way)})" for way in cheapest)
    remedy = ways or "take a larger GPU, more of them, or a smaller model"
    value = workload.params.pretrain.batch_size
    problem = plan_error("pretrain.batch_size", value, reason, remedy)
    yield problem if forecast.is_kind_certain else replace(problem, is_error=False)


def describe_settings(workload: Workload, remedy: MemoryRemedy) -> str:
    """Return the settings that make a step fit."""
    other, size = remedy.workload, remedy.workload.params.pretrain.batch_size
    changed = {
        f"COSMOS_MICRO_BATCHES={other.micro_batches}": other.micro_batches != workload.micro_batches,
        f"COSMOS_ACTIVATION_CHECKPOINTING={other.activation_checkpointing}": (
            other.activation_checkpointing != workload.activation_checkpointing
        ),
        f"--pretrain.batch_size {size}": size != workload.params.pretrain.batch_size,
        f"slurm.nodes: {other.nodes}": other.nodes != workload.nodes,
    }
    return " with ".join(setting for setting, is_changed in changed.items() if is_changed)


def describe_cost(remedy: MemoryRemedy) -> str:
    """Return the cost of what makes a step fit, and its memory."""
    cost = f"{remedy.time_factor:.2f} of the GPU-hours, {remedy.memory.needed / GB:.1f} GB"
    return f"{cost}, other results" if remedy.changes_result else cost


def time_limit_problems(request: JobRequest, plan: RunPlan, time: RunTime) -> Iterator[PlanProblem]:
    """Yield problems of a run with its time limit, its requeues, and the warning before the limit."""
    limit = 60.0 * request.minutes
    step, run = time.step.seconds, time.hours.times(SECONDS_PER_HOUR)
    epoch = step.times(plan.steps.per_epoch)
    if step.low > request.warning_seconds:
        reason = f"s, and a step takes {describe_span(step)}: a job cannot save before its time limit"
        remedy = f"raise it to {math.ceil(2 * step.high)}, or take smaller steps"
        yield plan_error("slurm.warning_seconds", request.warning_seconds, reason, remedy)
    if not request.max_requeues and epoch.low > limit:
        reason = f"minutes are less than an epoch ({describe_span(epoch)}), and slurm.max_requeues is 0"
        remedy = f"raise slurm.max_requeues: the run takes {describe_span(run)}"
        yield plan_error("slurm.minutes", request.minutes, reason, remedy)
    elif run.low > limit * (1 + request.max_requeues):
        needed = math.ceil(run.high / limit) - 1
        reason = f"of {format_duration(limit)} each end before the run, which takes {describe_span(run)}"
        remedy = f"{needed} would do; the same command submits it again, too"
        yield plan_warning("slurm.max_requeues", request.max_requeues, reason, remedy)


def describe_span(seconds: Span) -> str:
    """Return an interval of time for people."""
    low, high = format_duration(seconds.low), format_duration(seconds.high)
    return low if low == high else f"{low} to {high}"


def loading_problems(workload: Workload, time: RunTime) -> Iterator[PlanProblem]:
    """Yield a warning where workers may not make views as fast as a rank takes them."""
    if time.keeps_up:
        return
    needed = math.ceil(time.cores_needed.high)
    wait = "will not" if time.step.loading.low > time.step.arithmetic.high else "may not"
    cores = "" if needed < workload.cores_per_rank else f", with slurm.cpus_per_task {needed + 1}"
    views, step = describe_seconds(time.step.loading), describe_seconds(time.step.arithmetic)
    reason = f"{wait} keep up: a step's views take them {views}, and the step {step}"
    yield plan_warning("COSMOS_WORKERS", workload.workers, reason, f"{needed} would keep up{cores}")


def describe_seconds(seconds: Span) -> str:
    """Return an interval of seconds, with two digits; a time that is certain as it is."""
    low, high = f"{seconds.low:.2g}", f"{seconds.high:.2g}"
    return f"{low} s" if low == high else f"{low} to {high} s"


def evaluation_problems(forecast: Forecast) -> Iterator[PlanProblem]:
    """Yield a warning of evaluations while training that take longer than what is between them."""
    pretrain, evaluate = forecast.workload.params.pretrain, forecast.workload.params.evaluate
    images = forecast.place.evaluated_images * len(evaluate.models)
    between = pretrain.evaluate_every_epochs * forecast.plan.steps.per_epoch * pretrain.batch_size
    if between and images * PAIR_SHARE > between:
        reason = f"epochs have {between:,} samples, and an evaluation {images:,} images: it takes longer"
        remedy = "evaluate less often or on fewer datasets, or set COSMOS_EVALUATE_IN=job"
        yield plan_warning("pretrain.evaluate_every_epochs", pretrain.evaluate_every_epochs, reason, remedy)


def part_problems(workload: Workload) -> Iterator[PlanProblem]:
    """Yield a warning of more micro-batches than a rank has samples."""
    if workload.micro_batches > workload.batch_per_rank:
        reason = f"are more than the {count_of(workload.batch_per_rank, 'sample')} of a step on a rank"
        remedy = f"set {workload.batch_per_rank} or less"
        yield plan_warning("COSMOS_MICRO_BATCHES", workload.micro_batches, reason, remedy)


def checkpoint_problems(forecast: Forecast) -> Iterator[PlanProblem]:
    """Yield a warning of checkpoints that are further apart than the time limit."""
    every, limit = forecast.machine.checkpoint_every_minutes, forecast.request.minutes
    if every > limit and not forecast.machine.checkpoint_every_steps:
        reason = f"minutes are more than the limit of {limit}: a node that fails loses all of a job's steps"
        remedy = f"set it to {max(1, limit // 6)} or less"
        yield plan_warning("COSMOS_CHECKPOINT_EVERY_MINUTES", format_number(every), reason, remedy)


def host_memory_problems(forecast: Forecast) -> Iterator[PlanProblem]:
    """Yield a warning of a node's memory that its processes and workers do not fit into."""
    asked, needed = forecast.request.memory_gb * GIB, host_bytes(forecast.workload, forecast.plan)
    if asked and needed > asked:
        workload = forecast.workload
        reason = (
            f"GiB of a node are less than the {needed / GIB:.0f} that {workload.ranks_per_node} processes "
            f"with {workload.workers} workers each are expected to need"
        )
        remedy = f"ask for {math.ceil(needed / GIB)}, or lower COSMOS_WORKERS"
        yield plan_warning("slurm.memory_gb", format_number(forecast.request.memory_gb), reason, remedy)


PROCESS_BYTES = 2.5 * GIB
"""Memory of a process that trains, without its batches: program, libraries, CUDA's host side: assumed."""

WORKER_BYTES = 0.25 * GIB
"""Memory that a worker has for itself, without its batches (docs/speed.md: indexes, tokens, images)."""

PREFETCHED = 2
"""Batches that a worker makes ahead, torch's default."""


def host_bytes(workload: Workload, plan: RunPlan) -> float:
    """Return the memory of a node that its processes need, workers, batches and the copy to save included."""
    views, num_local = workload.params.views, workload.params.num_local_crops
    pixels = 2 * views.image_size**2 + num_local * views.local_size**2
    batch = workload.batch_per_rank * pixels * 3 * (1 if workload.augments_on_device else 4)
    batches = batch * max(1, PREFETCHED * workload.workers)
    rank = PROCESS_BYTES + workload.workers * WORKER_BYTES + batches
    return workload.ranks_per_node * rank + plan.disk.save_memory


def disk_problems(forecast: Forecast) -> Iterator[PlanProblem]:
    """Yield problems of disks that have too little room for checkpoints, or for shards yet to be prepared."""
    disk, place, machine = forecast.plan.disk, forecast.place, forecast.machine
    if place.run_disk is not None and disk.run_bytes > place.run_disk:
        reason = (
            f"has {place.run_disk / GB:.1f} GB free, and {disk.num_checkpoints} checkpoints of "
            f"{disk.checkpoint_bytes / GB:.1f} GB need {disk.run_bytes / GB:.1f}"
        )
        remedy = "free space, name another folder, or lower COSMOS_KEEP_CHECKPOINTS"
        yield plan_error("COSMOS_RUNS_ROOT", machine.runs_root, reason, remedy)
    data = forecast.workload.params.data
    if place.is_prepared:
        return
    yield plan_warning("data.name", data.name, "is not prepared on this machine", "`cosmos prepare` makes it")
    if place.data_disk is not None and data.source != "shards" and disk.shard_bytes > place.data_disk:
        needed, free = (f"{size / GB:.0f} GB" for size in (disk.shard_bytes, place.data_disk))
        reason = f"has {free} free, and {data.name} takes some {needed}"
        yield plan_warning(
            "COSMOS_DATA_ROOT", machine.data_root, reason, "free space, or name another folder"
        )


def cache_problems(machine: Machine, place: RunPlace) -> Iterator[PlanProblem]:
    """Yield problems of copies of remote shards: too few, or more than their disk has room for."""
    if not place.remote_shard_bytes:
        return
    if machine.cached_shards < SHARDS_PER_WINDOW:
        reason = f"copies are less than the {SHARDS_PER_WINDOW} shards whose samples are mixed"
        yield plan_warning(
            "COSMOS_CACHED_SHARDS", machine.cached_shards, reason, f"set {2 * SHARDS_PER_WINDOW}"
        )
    needed = machine.cached_shards * place.remote_shard_bytes
    if place.cache_disk is not None and needed > place.cache_disk:
        free, copies = f"{place.cache_disk / GB:.1f} GB", f"{machine.cached_shards} copies of shards"
        reason = f"has {free} free, and {copies} need {needed / GB:.1f}"
        remedy = "free space, or name another folder"
        yield plan_warning("COSMOS_CACHE_ROOT", machine.cache_root, reason, remedy)


def caption_problems(workload: Workload) -> Iterator[PlanProblem]:
    """Yield a warning of captions that are cut at the context of the text tower."""
    context = ModelDimensions.of(workload.params).context_length
    if workload.data.captions_from == ASSUMED_CAPTIONS:
        return
    lengths = [length for row in workload.data.caption_lengths for length in row]
    cut = sum(length >= context for length in lengths) / len(lengths) if lengths else 0
    if cut > MANY_CUT_CAPTIONS:
        share = format_share(cut)
        reason = f"sentences make captions of which {share} are cut at the text tower's {context} tokens"
        yield plan_warning(
            "views.max_sentences",
            workload.params.views.max_sentences,
            reason,
            "lower it, or take another caption_mode",
        )
