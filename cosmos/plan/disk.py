"""Disk and host memory that a run takes: its checkpoints, its records and its shards."""

from dataclasses import dataclass

from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.workload import Workload

NUMBER_BYTES = 4
"""Bytes of a number in a checkpoint: weights and moments are float32, whatever a step computes in."""

RECORD_BYTES = 275
"""Bytes that a tensor takes in a checkpoint's archive beside its numbers: names, checksum, alignment."""

HEAD_BYTES = 20 * 1024
"""Bytes of the rest of a checkpoint: configuration, states of the random generators, counters."""

METRICS_LINE_BYTES = 800
"""Bytes of a line of metrics.jsonl."""


@dataclass(frozen=True)
class DiskPlan:
    """Bytes that a run takes on disks, and of the first rank's memory to save it."""

    checkpoint_bytes: int
    num_checkpoints: int
    """checkpoints that are there at a time: those that are kept, and the one that is written"""
    metrics_bytes: int
    shard_bytes: int
    """bytes of the training data"""
    save_memory: int
    """host memory of the first rank for the copy of its state that a thread writes"""

    @property
    def run_bytes(self) -> int:
        """Largest number of bytes of the run directory, without results and logs."""
        return self.num_checkpoints * self.checkpoint_bytes + self.metrics_bytes


def plan_disk(workload: Workload, total_steps: int) -> DiskPlan:
    """Return the disk space of a run of so many steps."""
    size = checkpoint_bytes(ModelDimensions.of(workload.params))
    data = workload.data
    return DiskPlan(
        checkpoint_bytes=size,
        num_checkpoints=workload.keep_checkpoints + 1,
        metrics_bytes=METRICS_LINE_BYTES * (total_steps // workload.params.pretrain.log_every_steps + 1),
        shard_bytes=round(data.num_samples * data.bytes_per_sample),
        save_memory=size,
    )


def checkpoint_bytes(dimensions: ModelDimensions) -> int:
    """Return the bytes of a checkpoint: student, teacher, and two moments of each parameter that is trained.

    `cosmos.training.checkpoint.training_content` is what is written.
    """
    numbers = 2 * dimensions.num_parameters + 2 * dimensions.num_trained
    num_records = 2 * num_tensors(dimensions) + 3 * num_trained_tensors(dimensions)
    return NUMBER_BYTES * numbers + RECORD_BYTES * num_records + HEAD_BYTES


TENSORS_OF_BLOCK = 12
TENSORS_OF_POOLS = 20
"""Number of the tensors of both token mappings and both cross-attention pools."""
TENSORS_OF_TOWERS = 13
"""Number of tensors of both towers outside of their blocks."""


def num_tensors(dimensions: ModelDimensions) -> int:
    """Return the number of tensors of a model: blocks, towers, pools, scales."""
    blocks = TENSORS_OF_BLOCK * (dimensions.image.layers + dimensions.text.layers)
    return blocks + TENSORS_OF_TOWERS + TENSORS_OF_POOLS + 2 + dimensions.has_bias


def num_trained_tensors(dimensions: ModelDimensions) -> int:
    """Return the number of tensors of a model that are trained."""
    unused = 0 if dimensions.uses_pools else TENSORS_OF_POOLS
    return num_tensors(dimensions) - unused - (not dimensions.distills)
