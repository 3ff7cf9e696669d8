"""Time of a step: arithmetic at a stated share of the device's peak, the links, the loading."""

from dataclasses import dataclass
from typing import Literal

from cosmos.config.section import Precision
from cosmos.plan.compute import SampleFlops
from cosmos.plan.loading import LoadingPlan
from cosmos.plan.traffic import StepTraffic
from cosmos.plan.workload import Span, Workload

UTILISATION: dict[Precision, Span] = {
    "bf16": Span(0.12, 0.40),
    "fp16": Span(0.12, 0.40),
    "float32": Span(0.40, 0.80),
}
"""Shares of a GPU's peak (MFU) that trainings reach, by precision.

Low end of half precision: OpenCLIP's ViT-B/16 on 176 A100, 13 billion samples in 61 hours (its
docs/PRETRAINED.md), 13% of the peak; its other runs have 6% to 16% (table of arXiv 2212.07143). High end: the
best of vision-language models that pack their sequences, as this step does (docs of LMMs-Engine, 32 A800: 30%
to 40%). Of float32, whose peak is lower, nothing is published: an assumption.
"""

UTILISATION_SOURCE = "published CLIP and vision-language trainings (docs/plan.md)"

Limit = Literal["arithmetic", "links", "loading"]


@dataclass(frozen=True)
class StepTime:
    """Time of a step on a rank, and what it is made of."""

    seconds: Span
    arithmetic: Span
    exchange: Span
    """seconds for which a rank waits for its exchanges: what the backward pass hides is left out"""
    loading: Span
    limited_by: Limit
    """part that takes longest in the middle of the intervals"""
    utilisation: Span | None
    """share of the peak that is assumed; None where the speed was measured"""
    source: str


def plan_step_time(
    workload: Workload, flops: SampleFlops, loading: LoadingPlan, traffic: StepTraffic
) -> StepTime | None:
    """Return the time of a step; None where neither the peak nor a measured speed is known."""
    arithmetic = arithmetic_seconds(workload, flops)
    if arithmetic is None:
        return None
    exchange = traffic.exposed_seconds(last_backward_pass(workload, flops, arithmetic))
    busy, views = arithmetic.plus(exchange), loading.step_seconds
    seconds = busy_with_loading(workload, busy, views)
    parts: dict[Limit, Span] = {"arithmetic": arithmetic, "links": exchange, "loading": views}
    return StepTime(
        seconds,
        arithmetic,
        exchange,
        views,
        limited_by=max(parts, key=lambda part: parts[part].low + parts[part].high),
        utilisation=None if workload.measured else UTILISATION[workload.params.pretrain.precision],
        source=workload.measured.source if workload.measured else UTILISATION_SOURCE,
    )


def busy_with_loading(workload: Workload, busy: Span, views: Span) -> Span:
    """Return the seconds of a step whose views are made meanwhile, or by the same cores.

    Workers beside a GPU hide the shorter of both. On a CPU they take cores from the step, and hide a part.
    """
    if not workload.workers:
        return busy.plus(views)
    hidden = busy.at_least(views)
    return hidden if workload.gpu else Span(hidden.low, busy.plus(views).high)


def last_backward_pass(workload: Workload, flops: SampleFlops, arithmetic: Span) -> Span:
    """Return the seconds of the last micro-batch's backward pass, beside which gradients are exchanged.

    Of the student's operations, two thirds are those of the backward pass.
    """
    backward = 2 / 3 * (flops.image + flops.text + flops.pools) / flops.computed
    return arithmetic.times(backward / min(workload.micro_batches, workload.batch_per_rank))


def arithmetic_seconds(workload: Workload, flops: SampleFlops) -> Span | None:
    """Return the seconds that a rank computes in a step; None where its speed is not known.

    What is computed again takes its time, and is no part of the share of the peak.
    """
    work = workload.batch_per_rank * flops.computed
    if workload.measured:
        rate = workload.measured.flops_per_second
        return Span(work / rate.high, work / rate.low).plus(Span.of(workload.measured.update_seconds))
    precision = workload.params.pretrain.precision
    peak = workload.gpu.peak_flops(precision) if workload.gpu else None
    if peak is None:
        return None
    shares = UTILISATION[precision]
    return Span(work / (shares.high * peak), work / (shares.low * peak))
