"""A training step: gradients of the whole batch's loss, then teacher, optimiser and scales."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cosmos.config.machine import Machine
from cosmos.config.params import PretrainParams
from cosmos.config.training_parts import PART_TITLES
from cosmos.data.batch import Batch
from cosmos.distributed.device_memory import explaining_full_gpus
from cosmos.distributed.exchange import gather_rows, on_each_rank
from cosmos.distributed.group import ProcessRank
from cosmos.distributed.rank_watch import waiting_for_ranks
from cosmos.model.blocks import EAGER
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import NOTHING_TAUGHT, Cosmos, StudentViews, TeacherViews
from cosmos.model.loss import CosmosLoss, Losses
from cosmos.model.teacher import clamp_scales, make_teacher, update_teacher
from cosmos.training.flops import step_flops
from cosmos.training.optimizer import make_optimizer
from cosmos.training.step_parts import StepParts, stamps_of

GRADIENTS = PART_TITLES["gradients"]
"""Name of the exchange in which ranks wait for others in a backward pass."""

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Types of autocast by precision; float32 needs none."""


@dataclass(frozen=True)
class RankFlags:
    """Events on a rank of which all ranks learn at the end of a step."""

    stop_signal: int = 0
    """the signal that asked to stop, of several the largest; 0: none"""
    save_due: bool = False
    """the interval between saves is over by the rank's clock"""
    has_failed: bool = False
    """the next batch cannot be had"""
    has_damage: bool = False
    """the next batch has samples in place of damaged ones"""

    @classmethod
    def of_all(cls, columns: list[list[int]]) -> Self:
        """Return the flags that hold for all ranks, from those of each, by flag."""
        stop_signals, *rest = columns
        return cls(max(stop_signals), *map(any, rest))


@dataclass(frozen=True)
class StepResult:
    """Losses of a step on a rank, and what all ranks share after it: decisions and a count."""

    losses: Losses
    grad_norm: Tensor
    mean_loss: float
    """total loss, mean over the ranks"""
    is_finite: bool
    """False: loss or gradient were not finite on some rank, and no weight was updated. (fp16's scaler deals
    with infinite gradients by itself.)"""
    flags: RankFlags
    """events on any rank"""
    num_replaced: int
    """replaced samples in the parts of all ranks"""
    flops: int
    """floating-point operations that this rank's part needs"""


class Learner:
    """Student and teacher in training, with optimiser and scaler; takes one step at a time."""

    def __init__(
        self, config: ModelConfig, params: PretrainParams, machine: Machine, process: ProcessRank
    ) -> None:
        self.config, self.params, self.machine, self.process = config, params, machine, process
        torch.manual_seed(params.seed)
        self.student: Cosmos = on_each_rank(lambda: config.build().to(process.device))
        self.teacher = make_teacher(self.student)
        runner = replace(EAGER, checkpointing=machine.activation_checkpointing)
        runner = runner.compiled() if machine.compile else runner
        self.teacher.run_blocks = self.student.run_blocks = runner
        self.replica = replicate(self.student, process)
        self.optimizer = make_optimizer(self.student, params)
        self.scaler = torch.amp.GradScaler(process.device.type, enabled=params.precision == "fp16")
        self.loss = CosmosLoss(config.loss)
        self.parts = StepParts(stamps_of(process.device))
        if process.world_size > 1:
            note_last_gradients(self.student, self.parts)

    def step(
        self,
        batch: Batch,
        learning_rate: float,
        momentum: float,
        raise_flags: Callable[[], RankFlags] = RankFlags,
    ) -> StepResult:
        """Take one step on this rank's part of the batch.

        Where the loss is not finite, no rank changes a weight. `raise_flags` is called while a GPU computes
        the gradients; all ranks learn of the flags that one of them raises.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with self.parts.timed("transfer"):
            batch = batch.to(self.process.device)
        losses, grad_norm = self.compute_gradients(batch)
        is_finite = losses.total.isfinite() & (grad_norm.isfinite() | self.scaler.is_enabled())
        answers = self.agree(is_finite, losses.total, raise_flags(), batch.num_replaced)
        flops = step_flops(self.student, batch, has_teacher=self.config.loss.distills)
        result = StepResult(losses, grad_norm, *answers, flops)
        with self.parts.timed("update"):
            if result.is_finite:
                self.update(momentum)
            else:
                self.scaler.update()
        self.parts.end_step()
        return result

    def compute_gradients(self, batch: Batch) -> tuple[Losses, Tensor]:
        """Compute the gradients of the batch's loss, clipped, in place of those before; return their norm."""
        self.optimizer.zero_grad()
        losses = self.backward(batch, self.teach(batch))
        with self.parts.timed("update"):
            self.scaler.unscale_(self.optimizer)
            max_norm = self.params.clip_grad_norm or torch.inf
            return losses, nn.utils.clip_grad_norm_(self.student.parameters(), max_norm)

    def agree(
        self, is_finite: Tensor, loss: Tensor, flags: RankFlags, num_replaced: int
    ) -> tuple[float, bool, RankFlags, int]:
        """Return, of all ranks together: mean loss, step finite, flags, samples replaced.

        One exchange and one wait for the device per step answers all questions.
        """
        # filled on the device: numbers that are copied there would be a second wait
        rest = (
            torch.full((), value, device=self.process.device) for value in (num_replaced, *astuple(flags))
        )
        row = torch.stack([value.detach().float() for value in (loss, is_finite, *rest)])
        with self.parts.timed("agreement"), waiting_for_ranks():
            loss_of_ranks, finite, *counts = gather_rows(row[None]).T.tolist()
        replaced, *columns = [[int(value) for value in column] for column in counts]
        mean_loss = sum(loss_of_ranks) / len(loss_of_ranks)
        return mean_loss, all(finite), RankFlags.of_all(columns), sum(replaced)

    def agree_on_flags(self, flags: RankFlags) -> RankFlags:
        """Return the flags of all ranks together, outside of a step."""
        nothing = torch.ones((), device=self.process.device)
        return self.agree(nothing, nothing, flags, 0)[2]

    def teach(self, batch: Batch) -> TeacherViews:
        """Return the teacher's embeddings of a batch, of which it sees a micro-batch at a time.

        None where nothing is distilled.
        """
        if not self.config.loss.distills:
            return NOTHING_TAUGHT
        with self.parts.timed("forward"), self.autocast():
            taught = [
                self.teacher.global_views(part.global_crops, part.tokens, part.lengths)
                for part in self.split(batch)
            ]
        return taught[0] if len(taught) == 1 else join_taught(taught)

    def split(self, batch: Batch) -> list[Batch]:
        """Return the micro-batches of a batch; one with few samples has fewer."""
        return batch.split(min(self.machine.micro_batches, len(batch)))

    def update(self, momentum: float) -> None:
        """Update teacher, weights and scales from the gradients, in the published order."""
        if self.params.teacher_update == "before":
            update_teacher(self.teacher, self.student, momentum)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.params.teacher_update == "after":
            update_teacher(self.teacher, self.student, momentum)
        clamp_scales(self.student)
        clamp_scales(self.teacher)

    def backward(self, batch: Batch, teacher: TeacherViews) -> Losses:
        """Compute gradients of the loss of the whole batch, over ranks and micro-batches."""
        parts = self.split(batch)
        if len(parts) > 1:
            return self.backward_in_parts(parts, teacher)
        losses = self.compute_loss(self.views(self.replica, batch), teacher)
        with self.parts.timed_backward(), waiting_for_ranks(GRADIENTS):
            torch.autograd.backward(self.scaler.scale(losses.total))
        return losses

    def backward_in_parts(self, parts: list[Batch], teacher: TeacherViews) -> Losses:
        """Compute the gradients of `backward` with one micro-batch's activations at a time.

        Source: GradCache, arXiv 2101.06983.

        Contrastive losses do not add up over micro-batches. So all embeddings are computed first, without
        gradients; the loss of all of them gives the gradient of each embedding; and each micro-batch,
        computed again, carries its embeddings' gradients back to the parameters.
        """
        with torch.no_grad():
            views = [self.views(self.student, part) for part in parts]
        cached = join_micro_batches(views)
        losses = self.compute_loss(cached, teacher)
        with self.parts.timed("loss"):
            torch.autograd.backward(self.scaler.scale(losses.total))
        start = 0
        for i, part in enumerate(parts):
            is_last = i == len(parts) - 1
            stop = start + len(part)
            with nullcontext() if is_last else self.unsynchronised():
                views_again = self.views(self.replica, part)
                exchange = waiting_for_ranks(GRADIENTS) if is_last else nullcontext()
                with self.parts.timed_backward(), exchange:
                    backpropagate_micro_batch(views_again, cached, slice(start, stop), is_last)
            start = stop
        return losses

    def compute_loss(self, student: StudentViews, teacher: TeacherViews) -> Losses:
        """Return the loss of all ranks' views."""
        with self.parts.timed("loss"):
            return self.loss(student, teacher)

    def views(self, model: nn.Module, batch: Batch) -> StudentViews:
        """Return the student's embeddings of a batch, under autocast."""
        with self.parts.timed("forward"), self.autocast():
            views: StudentViews = model(batch.global_crops, batch.local_crops, batch.tokens, batch.lengths)
        return views

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of the arithmetic that `pretrain.precision` asks for."""
        dtype = AUTOCAST.get(self.params.precision)
        return torch.autocast(self.process.device.type, dtype) if dtype else nullcontext()

    def unsynchronised(self) -> AbstractContextManager[None]:
        """Return a context without exchange of gradients: the last micro-batch exchanges the sum."""
        return self.replica.no_sync() if isinstance(self.replica, DistributedDataParallel) else nullcontext()


def join_taught(views: list[TeacherViews]) -> TeacherViews:
    """Return the teacher's views of all micro-batches."""
    images, texts = zip(*((part.image, part.text) for part in views), strict=True)
    return TeacherViews(torch.cat(images, dim=1), torch.cat(texts, dim=1))


def join_micro_batches(views: list[StudentViews]) -> StudentViews:
    """Return the views of all micro-batches as leaves that collect gradients."""
    columns = list(zip(*(v.tensors() for v in views), strict=True))
    joined = [torch.cat(column, dim=1) if column[0].ndim else column[0] for column in columns]
    return StudentViews(*(tensor.detach().requires_grad_() for tensor in joined))


def backpropagate_micro_batch(views: StudentViews, cached: StudentViews, rows: slice, is_last: bool) -> None:
    """Backpropagate through a micro-batch's views the gradients that its rows of the cache collected.

    Scales are shared by all micro-batches: the last one carries their gradient.
    """
    outputs, gradients = [], []
    for output, leaf in zip(views.tensors(), cached.tensors(), strict=True):
        if leaf.grad is None or not output.requires_grad:
            continue
        outputs.append(output)
        gradients.append(leaf.grad[:, rows] if leaf.ndim else leaf.grad * float(is_last))
    torch.autograd.backward(outputs, gradients)


def replicate(student: Cosmos, process: ProcessRank) -> nn.Module:
    """Return the student, wrapped so that several ranks average its gradients."""
    if process.world_size == 1:
        return student
    device_ids = [process.device] if process.device.type == "cuda" else None
    with waiting_for_ranks("exchange of the first weights"):
        return DistributedDataParallel(
            student, device_ids=device_ids, forward_sync_buffers=False, gradient_as_bucket_view=True
        )


def note_last_gradients(student: Cosmos, parts: StepParts) -> None:
    """Have the clock note the gradients of what a tower begins with: the last ones of a backward pass."""
    visual = student.visual
    image = visual.conv1.weight, visual.class_embedding, visual.positional_embedding
    for parameter in (*image, student.token_embedding.weight, student.positional_embedding):
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _: parts.note_gradient())


def explaining_memory_errors() -> AbstractContextManager[None]:
    """Return a context that raises OutOfMemoryError, naming settings that need less, for a step too large."""
    return explaining_full_gpus(
        "a step needs",
        "more GPUs, COSMOS_MICRO_BATCHES=2 (or more) and COSMOS_ACTIVATION_CHECKPOINTING=cheap need less on "
        "each and change no result; a smaller pretrain.batch_size needs less, too, and changes results",
    )
