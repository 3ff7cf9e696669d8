"""Parameters that do not fit the data, the number of ranks, or each other: said before anything runs."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cosmos.config.number_text import count_of, format_number, format_share
from cosmos.config.params import Params, PretrainParams
from cosmos.data.order import nearest_batch_size
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.problem import PlanProblem, plan_error, plan_warning

MUCH_LEFT_OUT = 0.1
"""Share of the samples from which on it is worth a remark that an epoch leaves them out."""

LARGE_TEACHER_SHARE = 0.1
"""Share of its first weights that a teacher may keep to the end without a remark."""

FAR_SCALE = 1.9
"""Factor between batch sizes from which on momentum and learning rate of one are far off for the other."""

FAR_RATE_SCALE = 8.0
"""The same of the learning rate, which the published runs keep from batches of 1,024 to 4,096."""

FAR_BIAS = 2.0
"""Distance of SigLIP's bias to -ln(batch size) from which on it is worth a remark."""


@dataclass(frozen=True)
class TunedScale:
    """Batch size for which momentum and learning rate were chosen."""

    batch_size: int
    momentum: float
    learning_rate: float

    @property
    def remark(self) -> str:
        """Remark on a value that is taken for another batch size."""
        return f"was chosen for batches of {self.batch_size:,}"


TUNED_SCALES = (TunedScale(1024, 0.999, 5e-4), TunedScale(4096, 0.99, 5e-4))
"""Scales of the published runs."""


def params_problems(params: Params, num_samples: int, num_ranks: int) -> Iterator[PlanProblem]:
    """Yield the problems of parameters on so many samples and ranks, errors among them.

    Raises InputError for an architecture that is unknown or no plain ViT.
    """
    yield from share_problems(params.pretrain, num_ranks)
    yield from step_problems(params, num_samples)
    yield from schedule_problems(params.pretrain, num_samples)
    yield from scale_problems(params)
    yield from teacher_problems(params, num_samples // params.pretrain.batch_size * params.pretrain.epochs)
    yield from objective_problems(params)
    yield from crop_problems(params)


def share_problems(pretrain: PretrainParams, num_ranks: int) -> Iterator[PlanProblem]:
    """Yield an error for a batch that ranks cannot share equally, or that is smaller than they are many."""
    key, batch = "pretrain.batch_size", pretrain.batch_size
    if batch < num_ranks:
        remedy = f"at most {count_of(batch, 'rank')} would do, or a batch of {num_ranks}"
        yield plan_error(key, batch, f"is less than a sample for each of {num_ranks} ranks", remedy)
    elif batch % num_ranks:
        reason = f"samples cannot be shared equally by {num_ranks} ranks"
        yield plan_error(key, batch, reason, f"{nearest_batch_size(batch, num_ranks)} would do")


def step_problems(params: Params, num_samples: int) -> Iterator[PlanProblem]:
    """Yield problems of the steps of an epoch: none at all, or many samples that it leaves out."""
    batch = params.pretrain.batch_size
    steps = num_samples // batch
    if not steps:
        reason = (
            f"is more than the {count_of(num_samples, 'sample')} of {params.data.name}: no epoch has a step"
        )
        remedy = f"set it to {num_samples} or less, or prepare more data"
        yield plan_error("pretrain.batch_size", batch, reason, remedy)
        return
    left_out = num_samples - steps * batch
    if left_out > MUCH_LEFT_OUT * num_samples:
        smaller, rest = divmod(num_samples, steps + 1)
        reason = f"leaves out {left_out:,} of {num_samples:,} samples in each epoch"
        remedy = f"{smaller} would leave out {rest or 'none'}"
        yield plan_warning("pretrain.batch_size", batch, reason, remedy)


def schedule_problems(pretrain: PretrainParams, num_samples: int) -> Iterator[PlanProblem]:
    """Yield warnings of schedules that are longer than the run, or never due in it."""
    steps = num_samples // pretrain.batch_size * pretrain.epochs
    if not steps:
        return
    warmup, every = pretrain.warmup_steps, pretrain.evaluate_every_epochs
    if warmup >= steps:
        reason = (
            f"steps, and the run has {count_of(steps, 'step')}: the learning rate ends at "
            f"{format_share(steps / warmup)} of pretrain.learning_rate, and never falls"
        )
        yield plan_warning("pretrain.warmup_steps", warmup, reason, "lower it, or train longer")
    if every > pretrain.epochs:
        reason = f"is more than the {count_of(pretrain.epochs, 'epoch')} of the run: nothing is evaluated"
        yield plan_warning("pretrain.evaluate_every_epochs", every, reason, "lower it, or set 0")
    if pretrain.log_every_steps > steps:
        reason = f"is more than the {count_of(steps, 'step')} of the run: there is no curve"
        yield plan_warning("pretrain.log_every_steps", pretrain.log_every_steps, reason, "lower it")


def scale_problems(params: Params) -> Iterator[PlanProblem]:
    """Yield warnings of a momentum or learning rate that was chosen for batches of another size.

    Sources: momentum to the power of the batches' ratio, arXiv 2307.13813; learning rate times its square
    root, for Adam, arXiv 2205.10287.
    """
    pretrain, batch = params.pretrain, params.pretrain.batch_size
    scale = nearest_scale(batch, [s for s in TUNED_SCALES if s.momentum == pretrain.momentum])
    if scale and params.loss.distills and is_far(batch, scale.batch_size, FAR_SCALE):
        scaled = describe_momentum(scale.momentum ** (batch / scale.batch_size))
        remedy = f"batches of {batch:,} take {scaled} by the rule of arXiv 2307.13813"
        yield plan_warning("pretrain.momentum", pretrain.momentum, scale.remark, remedy)
    scale = nearest_scale(batch, [s for s in TUNED_SCALES if s.learning_rate == pretrain.learning_rate])
    if scale and is_far(batch, scale.batch_size, FAR_RATE_SCALE):
        rate = scale.learning_rate * math.sqrt(batch / scale.batch_size)
        remedy = f"batches of {batch:,} take {rate:.2g} by the rule of the square root (arXiv 2205.10287)"
        yield plan_warning("pretrain.learning_rate", pretrain.learning_rate, scale.remark, remedy)


def nearest_scale(batch_size: int, scales: Iterable[TunedScale]) -> TunedScale | None:
    """Return the scale with the nearest batch size; None where there is none."""
    return min(scales, key=lambda scale: abs(math.log(batch_size / scale.batch_size)), default=None)


def is_far(size: int, other: int, factor: float) -> bool:
    """Return True for sizes that differ by a factor or more."""
    return max(size / other, other / size) >= factor


def describe_momentum(momentum: float) -> str:
    """Return a momentum with two digits of its distance to 1."""
    digits = 1 - math.floor(math.log10(1 - momentum)) if momentum < 1 else 1
    return f"{momentum:.{digits}f}"


def objective_problems(params: Params) -> Iterator[PlanProblem]:
    """Yield warnings of a loss and an arithmetic that do not fit the batch."""
    pretrain, loss = params.pretrain, params.loss
    fitting = -math.log(pretrain.batch_size)
    if loss.contrastive == "siglip" and abs(loss.siglip_bias - fitting) > FAR_BIAS:
        reason = (
            f"is far from -ln(batch size) = {fitting:.1f}: at first, wrong pairs count too much or too little"
        )
        yield plan_warning(
            "loss.siglip_bias", format_number(loss.siglip_bias), reason, f"set it to {fitting:.1f}"
        )
    if pretrain.precision == "fp16" and not pretrain.max_nonfinite_steps:
        reason = (
            "may overflow in the loss of a step, which ends the run while pretrain.max_nonfinite_steps is 0"
        )
        remedy = "--pretrain.max_nonfinite_steps 10 skips such steps, and bf16 has none"
        yield plan_warning("pretrain.precision", "fp16", reason, remedy)


def teacher_problems(params: Params, steps: int) -> Iterator[PlanProblem]:
    """Yield a warning of a teacher that keeps much of its random first weights to the end."""
    pretrain = params.pretrain
    kept = pretrain.momentum**steps
    is_fixed = params.loss.distills and pretrain.momentum_schedule == "fixed"
    if steps and is_fixed and kept > LARGE_TEACHER_SHARE:
        share, ended = format_share(kept), count_of(steps, "step")
        reason = f"leaves the teacher {share} of its random first weights after {ended}"
        lower = LARGE_TEACHER_SHARE ** (1 / steps) * 0.999
        remedy = f"{describe_momentum(lower)} or less, or train longer"
        yield plan_warning("pretrain.momentum", pretrain.momentum, reason, remedy)


def crop_problems(params: Params) -> Iterator[PlanProblem]:
    """Yield errors of crops that are no whole number of patches, and of heads that do not divide channels.

    Raises as `ModelDimensions.of`.
    """
    dimensions, heads = ModelDimensions.of(params), params.model.cross_attention_heads
    patch, local = dimensions.patch_size, params.views.local_size if params.num_local_crops else 0
    for key, size in ("views.image_size", params.views.image_size), ("views.local_size", local):
        if size % patch:
            nearest = max(1, round(size / patch)) * patch
            reason = f"is not a multiple of the patches' {patch} pixels"
            yield plan_error(key, size, reason, f"{nearest} would do")
    if dimensions.embed_dim % heads:
        reason = f"heads do not divide the {dimensions.embed_dim} channels of the embedding"
        yield plan_error(
            "model.cross_attention_heads", heads, reason, f"{math.gcd(dimensions.embed_dim, heads)} would do"
        )
