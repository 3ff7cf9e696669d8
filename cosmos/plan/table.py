"""Plan as lines for people: parts with names, figures and remarks, the same in a terminal and on a page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from cosmos.config.number_text import count_of, format_number, format_share
from cosmos.plan.forecast_problems import describe_cost, describe_seconds, describe_settings, describe_span
from cosmos.plan.memory import StepMemory, device_bytes
from cosmos.plan.planned_run import PlannedRun
from cosmos.plan.run_plan import NOT_PUBLISHED, SECONDS_PER_HOUR, RunPlan, RunTime
from cosmos.plan.workload import Span, Workload
from cosmos.report.terminal import Terminal, plain_text

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
"""Prefixes of units: powers of 1000."""

SHOWN_REMEDIES = 6
"""Ways to make a step fit that the table has."""


@dataclass(frozen=True)
class PlanLine:
    """Figure of a plan."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class PlanPart:
    """Part of a plan: a title, and figures."""

    title: str
    lines: tuple[PlanLine, ...]


def plan_parts(planned: PlannedRun) -> list[PlanPart]:
    """Return the parts of a plan, from the question to the comparison with the published run."""
    workload, plan = planned.workload, planned.plan
    parts = {
        "what is planned": question_lines(workload),
        "steps": step_lines(workload, plan),
        "time": time_lines(workload, plan.time),
        "memory of a rank": memory_lines(workload, plan),
        "arithmetic of a sample": flops_lines(plan),
        "exchange of a rank in a step": traffic_lines(plan),
        "loading": loading_lines(workload, plan),
        "disk": disk_lines(plan),
        "energy and cost": energy_lines(plan),
        "published run": comparison_lines(plan),
    }
    filled = {title: tuple(lines) for title, lines in parts.items()}
    return [PlanPart(title, lines) for title, lines in filled.items() if lines]


def question_lines(workload: Workload) -> Iterator[PlanLine]:
    """Yield the settings that a plan is of."""
    params, data = workload.params, workload.data
    device = workload.gpu.kind if workload.gpu else "CPU"
    yield PlanLine("model", params.model.architecture, params.pretrain.precision)
    yield PlanLine("data", f"{data.num_samples:,} samples", f"{params.data.name}: {data.samples_from}")
    captions = f"{data.mean_global_tokens:.0f} and {data.mean_local_tokens:.0f} tokens"
    yield PlanLine("captions, global and local", captions, data.captions_from)
    ranks = f"{workload.nodes} x {workload.ranks_per_node} {device}"
    yield PlanLine("nodes x ranks", ranks, workload.gpu.source if workload.gpu else "")
    batch = f"{params.pretrain.batch_size:,} samples"
    yield PlanLine("batch", batch, f"{workload.batch_per_rank:,} on each rank")
    settings = f"{workload.micro_batches}, {workload.activation_checkpointing}"
    yield PlanLine("micro-batches, checkpointing", settings)


def step_lines(workload: Workload, plan: RunPlan) -> Iterator[PlanLine]:
    """Yield the numbers of steps and samples."""
    steps, pretrain = plan.steps, workload.params.pretrain
    epochs = f"{count_of(pretrain.epochs, 'epoch')} of {steps.per_epoch:,}"
    yield PlanLine("steps", f"{steps.total:,}", epochs)
    yield PlanLine("samples seen", f"{steps.samples_seen:,}")
    if steps.left_out:
        yield PlanLine("left out of an epoch", f"{steps.left_out:,}", "others each time")


def time_lines(workload: Workload, time: RunTime | None) -> Iterator[PlanLine]:
    """Yield the times of a step and of the run."""
    if time is None:
        remedy = "--calibrate measures it" if not workload.gpu else "`gpus` in machine.yaml states its peak"
        yield PlanLine("run", "not known", f"the speed of this device is not stated; {remedy}")
        return
    step, hours = time.step, time.hours.times(SECONDS_PER_HOUR)
    yield PlanLine("run", describe_span(hours), "without evaluations, saves and waits in the queue")
    devices = "GPU-hours" if workload.gpu else "hours of processes"
    yield PlanLine(devices, describe_numbers(time.device_hours))
    yield PlanLine("step", describe_seconds(step.seconds), f"limited by {step.limited_by}")
    yield PlanLine("samples a second", describe_numbers(time.samples_per_second))
    if step.utilisation:
        shares = f"{format_share(step.utilisation.low)} to {format_share(step.utilisation.high)}"
        yield PlanLine("share of the peak", shares, f"assumed: {step.source}")
    else:
        yield PlanLine("speed", "measured", step.source)


def memory_lines(workload: Workload, plan: RunPlan) -> Iterator[PlanLine]:
    """Yield the memory of a rank by part, and the ways to make it fit."""
    memory = plan.memory
    parts = {
        "weights": memory.weights,
        "teacher": memory.teacher,
        "optimiser": memory.optimizer,
        "gradients": memory.gradients + memory.buckets,
        "weights in half precision": memory.casts,
        "inputs": memory.inputs,
        "activations": memory.activations,
        "backward pass": memory.workspace,
        "loss": memory.loss,
    }
    yield from (PlanLine(name, size_text(size)) for name, size in parts.items() if size)
    yield PlanLine("all at the peak", size_text(memory.peak))
    if workload.gpu:
        yield PlanLine("with context and fragments", size_text(memory.needed), describe_fit(workload, memory))
        if not memory.fits(workload.gpu):
            ways = plan.remedies[:SHOWN_REMEDIES]
            for way in ways:
                yield PlanLine("would fit", describe_settings(workload, way), describe_cost(way))


def describe_fit(workload: Workload, memory: StepMemory) -> str:
    """Return a remark on the memory of a step beside that of its GPU."""
    assert workload.gpu
    size = device_bytes(workload.gpu)
    verdict = "fits" if memory.fits(workload.gpu) else "does not fit"
    return f"{format_share(memory.needed / size)} of the {size_text(size)} of {workload.gpu.kind}: {verdict}"


def flops_lines(plan: RunPlan) -> Iterator[PlanLine]:
    """Yield the floating-point operations of a sample by part, and those of the run."""
    flops = plan.flops
    parts = {
        "image tower": flops.image,
        "text tower": flops.text,
        "cross-attention": flops.pools,
        "teacher": flops.teacher,
        "loss": flops.loss,
        "computed again": flops.repeated,
    }
    for name, number in parts.items():
        if number:
            yield PlanLine(name, unit_text(number, "FLOP"), format_share(number / flops.computed))
    yield PlanLine("needed", unit_text(flops.logged, "FLOP"), "without loss and repetition, as it is logged")
    yield PlanLine("needed in the run", unit_text(plan.total_flops, "FLOP"))


def traffic_lines(plan: RunPlan) -> Iterator[PlanLine]:
    """Yield the exchanges of a step."""
    traffic = plan.traffic
    if not traffic.exchanges:
        return
    for exchange in traffic.exchanges:
        sent = size_text(exchange.bytes_sent(traffic.num_ranks))
        hidden = "beside the backward pass" if exchange.overlaps else ""
        yield PlanLine(exchange.name, sent, hidden)
    link = traffic.link_bytes
    rate = f"{size_text(link)} a second by the slowest link" if link else "in memory, whose speed is left out"
    yield PlanLine("all", size_text(traffic.bytes_sent), f"{describe_seconds(traffic.seconds)}, {rate}")


def loading_lines(workload: Workload, plan: RunPlan) -> Iterator[PlanLine]:
    """Yield what the views of samples take."""
    loading, milliseconds = plan.loading, plan.loading.view_seconds.times(1000)
    yield PlanLine("views of a sample", f"{describe_numbers(milliseconds)} ms of a core", loading.source)
    rate = f"{describe_numbers(loading.samples_per_second)} samples a second"
    workers = f"{count_of(workload.workers, 'worker')} on {count_of(workload.cores_per_rank, 'core')}"
    yield PlanLine("a rank's workers make", rate, workers)
    if plan.time:
        verdict = "keep up" if plan.time.keeps_up else "may not keep up"
        cores = f"{describe_numbers(plan.time.cores_needed)} cores"
        yield PlanLine("a rank needs", cores, f"workers {verdict}")
        read = plan.time.bytes_per_second
        yield PlanLine("all ranks read", f"{size_text(read.low)} to {size_text(read.high)} a second")


def disk_lines(plan: RunPlan) -> Iterator[PlanLine]:
    """Yield sizes of checkpoints, records and data."""
    disk = plan.disk
    kept = f"{count_of(disk.num_checkpoints, 'checkpoint')} of {size_text(disk.checkpoint_bytes)} at a time"
    yield PlanLine("run directory", size_text(disk.run_bytes), kept)
    yield PlanLine("memory to save", size_text(disk.save_memory), "of the first rank's node")
    yield PlanLine("training data", size_text(disk.shard_bytes))


def energy_lines(plan: RunPlan) -> Iterator[PlanLine]:
    """Yield energy, and cost where the site states prices."""
    if plan.energy is None:
        return
    yield PlanLine("energy", f"{describe_numbers(plan.energy.kwh)} kWh", plan.energy.source)
    if plan.energy.cost:
        yield PlanLine("cost", f"{describe_numbers(plan.energy.cost)} {plan.energy.currency}")
    else:
        yield PlanLine("cost", "not known", "site.gpu_hour_price in machine.yaml states it")


def comparison_lines(plan: RunPlan) -> Iterator[PlanLine]:
    """Yield the figures beside those of the published run."""
    for figure in plan.comparison:
        is_published = figure.published != NOT_PUBLISHED
        remark = f"published: {figure.published}" if is_published else NOT_PUBLISHED
        yield PlanLine(figure.name, figure.planned, remark)


def describe_numbers(span: Span) -> str:
    """Return an interval of numbers, with three digits at most."""
    low, high = number_text(span.low), number_text(span.high)
    return low if low == high else f"{low} to {high}"


def number_text(number: float) -> str:
    """Return a number with three digits, or as a whole one with commas."""
    return f"{number:,.0f}" if number >= 100 else format_number(float(f"{number:.3g}"))


def size_text(num_bytes: float) -> str:
    """Return a number of bytes with a prefix of powers of 1000."""
    return unit_text(num_bytes, "B")


def unit_text(number: float, unit: str) -> str:
    """Return a number with three digits and its unit, with a prefix of powers of 1000."""
    power = 0
    while float(f"{number:.3g}") >= 1000 and power < len(PREFIXES) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {PREFIXES[power]}{unit}"


def print_plan(planned: PlannedRun) -> None:
    """Print the table of a plan, and its problems below."""
    terminal = Terminal()
    terminal.print_table(plan_table(plan_parts(planned)), kept=2)
    for title, problems, style in (
        ("errors", planned.errors, "red"),
        ("warnings", planned.warnings, "yellow"),
    ):
        if problems:
            terminal.print()
            terminal.print(plain_text(title, "bold"))
        for problem in problems:
            terminal.print(plain_text(f"  {problem}", style), soft_wrap=True)


def plan_table(parts: Sequence[PlanPart]) -> Table:
    """Return a table with a row for each figure, part by part."""
    rows = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, show_header=False)
    rows.add_column("figure")
    rows.add_column("value", overflow="fold")
    rows.add_column("remark", overflow="fold", style="dim")
    for part in parts:
        rows.add_row(plain_text(part.title, "bold"))
        for line in part.lines:
            rows.add_row(plain_text(f"  {line.name}"), plain_text(line.value), plain_text(line.remark))
    return rows


PUBLISHED_HEADINGS = (
    "run",
    "GPUs",
    "batch",
    "samples",
    "steps",
    "hours",
    "GPU-hours",
    "memory",
    "fits",
    "published",
)


def print_published_plans(plans: Sequence[PlannedRun]) -> None:
    """Print a row for each plan of a published run, with what the paper says of it."""
    rows = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in PUBLISHED_HEADINGS:
        rows.add_column(heading, overflow="fold" if heading == "published" else "ellipsis")
    for planned in plans:
        rows.add_row(*published_cells(planned))
    terminal = Terminal()
    terminal.print_table(rows, kept=1)
    terminal.print(
        "memory: of a rank; time: without evaluations; published: as far as the paper says", style="dim"
    )


def published_cells(planned: PlannedRun) -> tuple[str, ...]:
    """Return the texts of a published run's row, below PUBLISHED_HEADINGS."""
    workload, plan = planned.workload, planned.plan
    assert workload.gpu
    hours = describe_numbers(plan.time.hours) if plan.time else "-"
    gpu_hours = describe_numbers(plan.time.device_hours) if plan.time else "-"
    return (
        planned.name,
        f"{workload.num_ranks} {workload.gpu.kind}",
        f"{workload.params.pretrain.batch_size:,} = {workload.num_ranks} x {workload.batch_per_rank}",
        f"{workload.data.num_samples:,}",
        f"{plan.steps.total:,}",
        hours,
        gpu_hours,
        size_text(plan.memory.needed),
        "yes" if plan.memory.fits(workload.gpu) else "no",
        describe_published(workload),
    )


def describe_published(workload: Workload) -> str:
    """Return the resources of a published run as far as they are published."""
    published = workload.published
    hours = f", {published.hours:g} h" if published.hours else ""
    gpus = f"{published.gpus} {published.gpu_kind} x {published.batch_per_gpu}"
    return f"{gpus}, {published.samples:,} samples{hours}"
