"""Memory of a rank in a training step, by part, in closed form: no device, no torch, no time.

The tensors that autograd keeps are added up as `cosmos.model` makes them, and the backward pass is followed
stage by stage: the peak is where nearly all of them are still kept and a block has gradients of its own.
`cosmos.plan.traced_step` counts the same of the real step, and tests hold the two together.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import count, islice, takewhile
from typing import get_args

from cosmos.config.gpus import Gpu
from cosmos.config.machine import ActivationCheckpointing
from cosmos.plan.compute import sample_flops
from cosmos.plan.step_shape import FLOAT, PoolShape, StepShape, TowerShape
from cosmos.plan.workload import Workload

LOGITS_AT_ONCE = 2**20
"""Logits of the pairs of views that the loss computes together, as in `cosmos.model.pairwise_loss`."""

LOGITS_COPIES = 3
"""Matrices as large as the logits in the loss of a pair: logits, softmax of rows and of columns."""

CONTEXT = 2**30
"""Bytes of a GPU that torch does not count: CUDA's context and kernels, cuBLAS, buffers of nccl."""

FRAGMENTATION = 0.05
"""Share of the peak that the allocator holds without using it: rounding, and holes between tensors."""

CHEAP_TIME = 1.05
"""Time of a step that computes cheap activations again, in times of one that does not (docs/speed.md)."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a rank at the moment of a step when they are the most, by part."""

    weights: float
    teacher: float
    optimizer: float
    """AdamW's two means of each trained parameter"""
    buckets: float
    """gradients of several ranks, in the buckets in which they are exchanged: there all the time"""
    inputs: float
    """pixels and tokens of the batch"""
    gradients: float = 0
    """gradients of a rank that is alone, as far as they are there at that moment"""
    casts: float = 0
    """copies of the weights in bf16 or fp16, kept for the backward pass"""
    activations: float = 0
    """tensors that are kept for the backward pass"""
    workspace: float = 0
    """gradients of activations, and activations that are computed again"""
    loss: float = 0
    """embeddings, their gradients, those that other ranks sent, and logits"""

    @property
    def peak(self) -> float:
        """Bytes that torch has allocated at the peak: the sum of the parts."""
        return float(sum(astuple(self)))

    @property
    def reserve(self) -> float:
        """Bytes that a GPU needs beside them: context, libraries, and what the allocator wastes."""
        return CONTEXT + FRAGMENTATION * self.peak

    @property
    def needed(self) -> float:
        """Bytes of a GPU on which the step fits."""
        return self.peak + self.reserve

    def fits(self, gpu: Gpu) -> bool:
        """Return True when a GPU of this kind has so much memory."""
        return self.needed <= device_bytes(gpu)


def device_bytes(gpu: Gpu) -> float:
    """Return the bytes of a GPU: the GB of its data sheet, of which drivers report as many or some more."""
    return gpu.memory_gb * 1e9


def step_memory(workload: Workload) -> StepMemory:
    """Return the memory of a rank in a step of the workload."""
    return shape_memory(StepShape.of(workload))


def shape_memory(shape: StepShape) -> StepMemory:
    """Return the memory of a step of this shape, at its peak."""
    return max(_Timeline(shape).moments(), key=lambda moment: moment.peak)


@dataclass(frozen=True)
class _Stage:
    """Part of the backward pass."""

    kept: float
    """bytes of activations that it needs, and frees"""
    workspace: float = 0
    """bytes of its own meanwhile"""
    parameters: int = 0
    """parameters whose gradients it computes"""
    cast: int = 0
    """those of them that are copied to bf16 or fp16"""


@dataclass(frozen=True)
class _Timeline:
    """Moments of a step at which its memory may be the largest."""

    shape: StepShape

    def moments(self) -> Iterator[StepMemory]:
        """Yield memory at the loss, in each stage of the backward pass, and in the update."""
        yield self.at_loss()
        yield from self.backward()
        yield replace(self.base, gradients=self.gradients, loss=0)

    @cached_property
    def base(self) -> StepMemory:
        """Memory that a step has from its begin to its end."""
        shape, model = self.shape, self.shape.model
        trained = FLOAT * model.num_trained
        return StepMemory(
            weights=FLOAT * model.num_parameters,
            teacher=FLOAT * model.num_parameters,
            optimizer=2 * trained,
            buckets=trained if shape.num_ranks > 1 else 0,
            inputs=shape.batch * shape.input_bytes,
            loss=shape.batch * self.held_by_loss,
        )

    @property
    def gradients(self) -> float:
        """Bytes of all gradients, but for those that lie in buckets."""
        return 0 if self.shape.num_ranks > 1 else FLOAT * self.shape.model.num_trained

    @property
    def held_by_loss(self) -> float:
        """Bytes a sample of embeddings, and of their gradients, which are computed with the loss."""
        shape, model = self.shape, self.shape.model
        views = shape.num_images + shape.num_captions
        stacks = 2 if model.uses_pools else 1
        gradients = shape.num_captions + 2 * shape.num_ranks + (views if model.distills else 0)
        gathered = 6 * shape.num_ranks if shape.num_ranks > 1 else 4
        return FLOAT * model.embed_dim * (stacks * views + gradients + gathered)

    def at_loss(self) -> StepMemory:
        """Return memory while the loss is computed: of micro-batches, no activations are kept then."""
        shape = self.shape
        pairs = shape.batch**2 * shape.num_ranks
        logits = LOGITS_COPIES * FLOAT * max(pairs, min(LOGITS_AT_ONCE, 2 * shape.num_captions * pairs))
        if shape.micro_batches > 1:
            return replace(self.base, loss=self.base.loss + logits)
        kept, casts = (sum(getattr(stage, name) for stage in self.stages) for name in ("kept", "cast"))
        casts *= shape.cast_size
        return replace(self.base, activations=kept, casts=casts, loss=self.base.loss + logits)

    def backward(self) -> Iterator[StepMemory]:
        """Yield memory in each stage of the backward pass, of the last micro-batch."""
        shape = self.shape
        kept, casts = (sum(getattr(stage, name) for stage in self.stages) for name in ("kept", "cast"))
        done = 0
        for stage in self.stages:
            done += FLOAT * stage.parameters
            gradients = self.gradients if shape.micro_batches > 1 else min(done, self.gradients)
            yield replace(
                self.base,
                gradients=gradients,
                casts=shape.cast_size * casts,
                activations=kept,
                workspace=stage.workspace,
            )
            kept, casts = kept - stage.kept, casts - stage.cast

    @cached_property
    def stages(self) -> list[_Stage]:
        """Stages of the backward pass, in order: the last of the forward pass first."""
        shape, model = self.shape, self.shape.model
        pools = [_pool_stage(pool) for pool in shape.pools]
        text = [*_tower_stages(shape.text), _Stage(shape.text.kept_by_inputs, 0, model.text_inputs)]
        image = [
            *_tower_stages(shape.image),
            _Stage(shape.image.kept_by_inputs, 0, model.image_inputs, model.patch_weights),
        ]
        return [*pools, *text, *image]


def _pool_stage(pool: PoolShape) -> _Stage:
    return _Stage(pool.kept, pool.workspace, pool.parameters, pool.weights)


def _tower_stages(tower: TowerShape) -> Iterator[_Stage]:
    """Yield the stages of a tower behind its inputs: head, last block, and the blocks before it."""
    dimensions = tower.dimensions
    yield _Stage(tower.kept_by_head, 0, tower.head_weights, tower.head_weights)
    parameters, weights = dimensions.block_parameters, dimensions.block_weights
    yield _Stage(tower.kept_by_block(tower.rows), tower.last_workspace, parameters, weights)
    for _ in range(dimensions.layers - 1):
        yield _Stage(
            tower.kept_by_block(tower.tokens), tower.block_workspace(tower.tokens), parameters, weights
        )


# what would fit


@dataclass(frozen=True)
class MemoryRemedy:
    """Workload that differs in a setting or two, and whose step fits."""

    workload: Workload
    memory: StepMemory
    time_factor: float
    """time that a rank takes for a sample, as a multiple of that of the workload that does not fit"""
    changes_result: bool
    """True where all ranks together take fewer samples in a step"""


def memory_remedies(workload: Workload) -> tuple[MemoryRemedy, ...]:
    """Return workloads that fit: those with the same result first, and of them the fastest.

    Empty where it fits as it is, and where no GPU is stated.
    """
    if workload.gpu is None or step_memory(workload).fits(workload.gpu):
        return ()
    remedies = [_remedy(candidate, workload) for candidate in _fitting(workload)]
    return tuple(sorted(remedies, key=lambda remedy: (remedy.changes_result, remedy.time_factor)))


def _remedy(candidate: Workload, workload: Workload) -> MemoryRemedy:
    fewer = candidate.params.pretrain.batch_size < workload.params.pretrain.batch_size
    return MemoryRemedy(candidate, step_memory(candidate), _work(candidate) / _work(workload), fewer)


def _fitting(workload: Workload) -> Iterator[Workload]:
    """Yield workloads that fit, the nearest of each kind."""
    kinds = get_args(get_args(ActivationCheckpointing)[0])
    kept = (_in_parts(workload, kind) for kind in kinds[kinds.index(workload.activation_checkpointing) :])
    for candidates in (*kept, _more_nodes(workload), _smaller(workload)):
        yield from islice(filter(_fits, candidates), 1)


def _in_parts(workload: Workload, checkpointing: ActivationCheckpointing) -> Iterator[Workload]:
    """Yield workloads of more and more micro-batches, with this memory of activations."""
    workload = replace(workload, activation_checkpointing=checkpointing)
    for parts in _doubled(workload.micro_batches, workload.batch_per_rank):
        yield replace(workload, micro_batches=parts)


def _more_nodes(workload: Workload) -> Iterator[Workload]:
    """Yield workloads of more and more nodes, as long as each rank has a sample of a micro-batch."""
    most = workload.params.pretrain.batch_size // (workload.ranks_per_node * workload.micro_batches)
    return (replace(workload, nodes=nodes) for nodes in _doubled(2 * workload.nodes, most))


def _smaller(workload: Workload) -> Iterator[Workload]:
    """Yield workloads of fewer and fewer samples a step."""
    params, ranks = workload.params, workload.num_ranks
    for parts in _doubled(2, workload.batch_per_rank // workload.micro_batches):
        size = ranks * (workload.batch_per_rank // parts)
        pretrain = params.pretrain.model_copy(update={"batch_size": size})
        yield replace(workload, params=params.model_copy(update={"pretrain": pretrain}))


def _doubled(first: int, most: int) -> Iterator[int]:
    """Yield a number, twice that, and so on, up to another one."""
    return takewhile(lambda number: number <= most, (first * 2**power for power in count()))


def _fits(workload: Workload) -> bool:
    return workload.gpu is not None and step_memory(workload).fits(workload.gpu)


def _work(workload: Workload) -> float:
    """Return the operations of a sample, more where cheap activations are computed again."""
    cheap = CHEAP_TIME if workload.activation_checkpointing == "cheap" else 1
    return cheap * sample_flops(workload).computed
