"""Figures of a training's lines of metrics: its losses and weights, and its speed since the line before."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from cosmos.config.figures import TIME_SHARES
from cosmos.config.training_parts import COUNTED_PARTS, TRAINING_PARTS, WAITING_PARTS, TrainingPart
from cosmos.distributed.device_memory import peak_memory
from cosmos.distributed.exchange import gather_rows, max_over_ranks, mean_over_ranks
from cosmos.model.loss import Losses
from cosmos.model.teacher import teacher_distance
from cosmos.run.step_trace import SlowestStep, TracedStretch
from cosmos.training.flops import peak_flops
from cosmos.training.part_times import RankTimes
from cosmos.training.progress import Lap
from cosmos.training.step import Learner, StepResult


@dataclass(frozen=True)
class LapSpeed:
    """Speed of all ranks in a lap of the training loop."""

    figures: Mapping[str, float]
    """metrics by name"""
    stretch: TracedStretch
    """time of the ranks by part"""


def device_name(device: torch.device) -> str:
    """Return the name of a GPU's kind, or that of the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def learner_metrics(learner: Learner, result: StepResult) -> dict[str, float]:
    """Return losses of a step, averaged over the ranks, state of the weights after it, and peak of memory."""
    device = learner.process.device
    memory = torch.tensor(peak_memory(device), device=device)
    return {
        **mean_losses(result.losses),
        "loss": result.mean_loss,
        "logit_scale": learner.student.logit_scale.exp().item(),
        "distill_logit_scale": learner.student.distill_logit_scale.exp().item(),
        "grad_norm": result.grad_norm.item(),
        "teacher_distance": teacher_distance(learner.teacher, learner.student),
        "device_memory": max_over_ranks(memory).item(),
    }


def mean_losses(losses: Losses) -> dict[str, float]:
    """Return the loss and its terms, averaged over the ranks, by the names of their metrics."""
    names = {"total": "loss", "contrastive": "contrastive", "distill": "distill"}
    return {
        names.get(term, f"distill_{term}"): mean_over_ranks(value).item()
        for term, value in vars(losses).items()
    }


def measure_lap(learner: Learner, result: StepResult, lap: Lap, num_samples: int) -> LapSpeed:
    """Return the speed in a lap that ends with a step, of which this rank had `num_samples`.

    The device should have finished the step: what it has not counts in the next lap.
    """
    process = learner.process
    peak = peak_flops(process.device, learner.params.precision, learner.machine.gpus)
    flops_per_second = lap.flops / lap.seconds
    own = result.flops / num_samples, flops_per_second, flops_per_second / peak
    gathered, stretch = gather_times(learner, lap.num_batches, own)
    flops, per_second, mfu = map(statistics.fmean, zip(*gathered, strict=True))
    figures = {
        "samples_per_second": lap.num_batches * num_samples * process.world_size / lap.seconds,
        **time_shares(stretch),
        "flops_per_sample": flops,
        "flops_per_second": per_second,
        **({} if math.isnan(mfu) else {"mfu": mfu}),
    }
    return LapSpeed(figures, stretch)


def finish_stretch(learner: Learner) -> TracedStretch:
    """Return the time of the ranks by part since the last lap, in which no step ended."""
    return gather_times(learner, 0, ())[1]


def gather_times(
    learner: Learner, num_steps: int, own: Sequence[float]
) -> tuple[list[list[float]], TracedStretch]:
    """Return own numbers of each rank, and the time of the ranks since the last call, in one exchange."""
    learner.parts.read()
    times = learner.parts.times.finish_stretch()
    row = torch.tensor([[*own, *times.as_row()]], dtype=torch.float64, device=learner.process.device)
    rows = gather_rows(row).tolist()
    ranks = [RankTimes.of_row(row[len(own) :]) for row in rows]
    stretch = stretch_of_ranks(learner.parts.step - 1, num_steps, ranks)
    return [row[: len(own)] for row in rows], stretch


def time_shares(stretch: TracedStretch) -> dict[str, float]:
    """Return the shares of the counted time by part, mean over the ranks; waits for data as `data_wait`."""
    seconds = {part: statistics.fmean(stretch.seconds.get(part, (0.0,))) for part in COUNTED_PARTS}
    total = sum(seconds.values()) or 1.0
    waited = sum(seconds[part] for part in WAITING_PARTS)
    shares = {metric.name: seconds[part] / total for part, metric in TIME_SHARES.items()}
    return {"data_wait": waited / total, **shares}


def stretch_of_ranks(step: int, num_steps: int, ranks: Sequence[RankTimes]) -> TracedStretch:
    """Return the stretch of `num_steps` that ends with a step, from the times of each rank."""
    medians = by_part([times.medians for times in ranks])
    p95s = by_part([times.p95s for times in ranks])
    rank = max(range(len(ranks)), key=lambda number: ranks[number].slowest.seconds)
    slow = ranks[rank].slowest
    return TracedStretch(
        step,
        num_steps,
        by_part([times.sums for times in ranks]),
        {part: statistics.median(values) for part, values in medians.items()},
        {part: max(values) for part, values in p95s.items()},
        SlowestStep(slow.step, rank, slow.seconds, slow.part, slow.part_seconds) if slow.step else None,
    )


def by_part(ranks: Sequence[Sequence[float]]) -> dict[TrainingPart, tuple[float, ...]]:
    """Return times of ranks, each in the order of TRAINING_PARTS, by part; without parts that took none."""
    columns = zip(TRAINING_PARTS, zip(*ranks, strict=True), strict=True)
    return {part: values for part, values in columns if any(values)}
