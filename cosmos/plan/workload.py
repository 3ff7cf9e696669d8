"""Workload of a plan: what is trained, on which data, by which machines. A plan is a function of it alone."""

from dataclasses import dataclass, field
from statistics import fmean
from typing import Self

from cosmos.config.gpus import Gpu
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ActivationCheckpointing, Machine
from cosmos.config.params import Params
from cosmos.config.published_run import PublishedRun
from cosmos.config.site import SiteSettings

GLOBAL_VIEWS = 2
"""Number of global views of a sample, in each modality (`cosmos.model.cosmos.NUM_GLOBAL`)."""


@dataclass(frozen=True)
class Span:
    """Interval in which a planned figure is expected, as no two machines are alike."""

    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> Self:
        """Return the interval of a figure that is certain."""
        return cls(value, value)

    def times(self, factor: float) -> "Span":
        """Return the interval of the figure times a factor, which is not negative."""
        return Span(self.low * factor, self.high * factor)

    def plus(self, other: "Span") -> "Span":
        """Return the interval of the sum with another figure."""
        return Span(self.low + other.low, self.high + other.high)

    def at_least(self, other: "Span") -> "Span":
        """Return the interval of the larger one of two figures."""
        return Span(max(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class DatasetFacts:
    """Size of the training data and lengths of its captions, and the sources of these figures."""

    num_samples: int
    samples_from: str
    bytes_per_sample: float
    """bytes of shards for each sample"""
    bytes_from: str
    caption_lengths: tuple[tuple[int, ...], ...]
    """tokens of the K captions that steps draw of some samples; the first two are the global ones"""
    captions_from: str

    @property
    def mean_global_tokens(self) -> float:
        """Mean number of tokens of a global caption."""
        return fmean(length for row in self.caption_lengths for length in row[:GLOBAL_VIEWS])

    @property
    def mean_local_tokens(self) -> float:
        """Mean number of tokens of a local caption; 0 where there is none."""
        lengths = [length for row in self.caption_lengths for length in row[GLOBAL_VIEWS:]]
        return fmean(lengths) if lengths else 0.0


@dataclass(frozen=True)
class MeasuredSpeed:
    """Speed that was measured, which a plan uses in place of assumptions."""

    flops_per_second: Span
    """floating-point operations of a rank in a second, as `cosmos.training.flops` counts them"""
    view_seconds: Span
    """seconds of a core for the views of a sample"""
    source: str
    update_seconds: float = 0.0
    """seconds of a step that do not depend on its samples: optimiser, teacher"""


@dataclass(frozen=True)
class Workload:
    """Training that is planned: parameters, data, ranks and their settings."""

    params: Params
    data: DatasetFacts
    nodes: int = 1
    ranks_per_node: int = 1
    gpu: Gpu | None = None
    """kind of GPU that each rank has; None: a CPU"""
    micro_batches: int = 1
    activation_checkpointing: ActivationCheckpointing = "none"
    workers: int = 2
    """processes of a rank that make batches"""
    cores_per_rank: int = 4
    """CPU cores of a rank, its own and its workers'"""
    augments_on_device: bool = False
    """True where the device computes the colours of views, and not the workers"""
    keep_checkpoints: int = 2
    site: SiteSettings = field(default_factory=SiteSettings)
    published: PublishedRun = field(default_factory=PublishedRun)
    """resources of the published run that it repeats"""
    measured: MeasuredSpeed | None = None
    """speed on these machines; None: none was measured"""

    @classmethod
    def of(
        cls, params: Params, data: DatasetFacts, request: JobRequest, gpu: Gpu | None, machine: Machine
    ) -> Self:
        """Return the workload of a job that is requested by a machine with these settings."""
        return cls(
            params,
            data,
            nodes=request.nodes,
            ranks_per_node=request.ranks_per_node,
            gpu=gpu,
            micro_batches=machine.micro_batches,
            activation_checkpointing=machine.activation_checkpointing,
            workers=machine.workers,
            cores_per_rank=request.cpus_per_task,
            augments_on_device=machine.augment_on == "device" or (machine.augment_on == "auto" and bool(gpu)),
            keep_checkpoints=machine.keep_checkpoints,
            site=machine.site,
        )

    @property
    def num_ranks(self) -> int:
        """Number of processes that train, each with a GPU where there is any."""
        return self.nodes * self.ranks_per_node

    @property
    def batch_per_rank(self) -> int:
        """Number of samples of a step on a rank, rounded up where the ranks cannot share them equally."""
        return -(-self.params.pretrain.batch_size // self.num_ranks)
