"""Memory in closed form: held against the traced step, and what would make a step fit."""

import ctypes
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cosmos.config.gpus import GPUS, Gpu
from cosmos.config.machine import ActivationCheckpointing, Machine
from cosmos.config.params import (
    Distillation,
    InlineParams,
    LossParams,
    ModelParams,
    Params,
    PretrainParams,
    TextParams,
    ViewParams,
    VisionParams,
)
from cosmos.config.section import Precision
from cosmos.data.batch import Batch
from cosmos.distributed.device_memory import peak_resident_memory
from cosmos.model.packing import caption_lengths
from cosmos.plan.memory import memory_remedies, step_memory
from cosmos.plan.traced_step import trace_step
from cosmos.plan.workload import DatasetFacts, Workload
from tests.forks import FORKS
from tests.training.examples import make_learner

LENGTHS = (30, 50, 20, 20, 20, 20)
"""Tokens of the captions of every sample, so that the packed ones have no padding but between the groups."""


A100 = GPUS["a100-40gb"]


def model_params(layers: int = 2, width: int = 192) -> ModelParams:
    return ModelParams(
        inline=InlineParams(
            embed_dim=128,
            vision=VisionParams(width=width, layers=layers, head_width=64, patch_size=16),
            text=TextParams(width=128, layers=layers, heads=2, vocab_size=1000),
        )
    )


def workload_of(batch: int, precision: Precision = "float32", loss: LossParams | None = None) -> Workload:
    params = Params(
        model=model_params(),
        views=ViewParams(image_size=112, local_size=48, num_local_crops=3, num_captions=6),
        loss=loss or LossParams(),
        pretrain=PretrainParams(batch_size=batch, precision=precision),
    )
    return Workload(params, DatasetFacts(1000, "", 1e4, "", (LENGTHS,), ""))


def traced_peak(workload: Workload) -> int:
    machine = Machine(
        micro_batches=workload.micro_batches, activation_checkpointing=workload.activation_checkpointing
    )
    lengths = list(workload.data.caption_lengths) * workload.batch_per_rank
    return trace_step(workload.params, machine, lengths).peak


@pytest.mark.parametrize(
    ("precision", "micro_batches", "checkpointing"),
    [("float32", 1, "none"), ("bf16", 1, "none"), ("bf16", 1, "cheap"), ("float32", 2, "all")],
)
def test_planned_memory_is_that_of_the_traced_step(
    precision: Precision, micro_batches: int, checkpointing: ActivationCheckpointing
) -> None:
    workload = replace(
        workload_of(32, precision), micro_batches=micro_batches, activation_checkpointing=checkpointing
    )
    assert step_memory(workload).peak == pytest.approx(traced_peak(workload), rel=0.03)


@pytest.mark.parametrize("kind", ["none", "image-only"])
def test_planned_memory_of_an_ablation_is_that_of_the_traced_step(kind: Distillation) -> None:
    workload = workload_of(16, "bf16", LossParams(distillation=kind))
    assert step_memory(workload).peak == pytest.approx(traced_peak(workload), rel=0.06)


def published(batch: int, gpu: Gpu | None = A100) -> Workload:
    """Workload like that of a published run, on two nodes of four GPUs."""
    params = workload_of(batch, "bf16").params.model_copy(
        update={
            "model": ModelParams(architecture="ViT-B-16"),
            "views": ViewParams(image_size=224, local_size=96, num_local_crops=6, num_captions=8),
        }
    )
    data = DatasetFacts(1000, "", 1e4, "", ((40, 40, 20, 20, 20, 20, 20, 20),), "")
    return Workload(params, data, nodes=2, ranks_per_node=4, gpu=gpu)


def test_what_fits_needs_no_remedy() -> None:
    memory = step_memory(published(512))
    assert 15e9 < memory.peak < 30e9
    assert memory.fits(A100)
    assert memory_remedies(published(512)) == ()


def test_remedies_of_a_step_that_does_not_fit_are_the_nearest_that_do_cheapest_first() -> None:
    workload = published(2048)
    remedies = memory_remedies(workload)
    changes = [
        (
            r.workload.micro_batches,
            r.workload.activation_checkpointing,
            r.workload.num_ranks,
            r.changes_result,
        )
        for r in remedies
    ]
    assert all(r.memory.fits(A100) for r in remedies)
    assert changes == [
        (1, "none", 32, False),
        (1, "all", 8, False),
        (4, "none", 8, False),
        (2, "cheap", 8, False),
        (1, "none", 8, True),
    ]
    more_nodes, *computed_again, smaller = (remedy.time_factor for remedy in remedies)
    assert 0.99 < smaller <= more_nodes == 1 < min(computed_again) < max(computed_again) < 1.4


def test_ranks_keep_their_gradients_in_buckets_and_the_embeddings_of_all() -> None:
    alone, many = step_memory(replace(published(64), nodes=1, ranks_per_node=1)), step_memory(published(512))
    assert (alone.buckets, many.gradients) == (0, 0)
    assert many.buckets == many.optimizer / 2
    assert many.loss > alone.loss


def test_memory_grows_with_each_sample_by_the_same_bytes() -> None:
    one_rank = replace(published(64), nodes=1, ranks_per_node=1)
    peaks = [step_memory(replace(one_rank, params=published(batch).params)).peak for batch in (64, 128, 192)]
    assert peaks[2] - peaks[1] == pytest.approx(peaks[1] - peaks[0], rel=1e-3)


# held against a real step


def measure_memory(workload: Workload, path: Path) -> None:
    """Write the bytes by which two steps raise the memory of this process above that after a tiny step."""
    ctypes.CDLL(None).mallopt(-3, 2**16)  # large tensors have pages of their own
    torch.set_num_threads(1)
    take_steps(workload_of(1), 1)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    take_steps(workload, 2)
    path.write_text(str(peak_resident_memory() - before))


def take_steps(workload: Workload, num_steps: int) -> None:
    params, size = workload.params, workload.batch_per_rank
    machine = Machine(
        micro_batches=workload.micro_batches, activation_checkpointing=workload.activation_checkpointing
    )
    learner = make_learner(params, machine)
    tokens = torch.zeros(size, len(LENGTHS), 77, dtype=torch.long)
    for caption, length in enumerate(LENGTHS):
        tokens[:, caption, length - 1] = 1
    views = params.views
    batch = Batch(
        torch.randn(size, 2, 3, views.image_size, views.image_size),
        torch.randn(size, views.num_local_crops, 3, views.local_size, views.local_size),
        tokens,
        caption_lengths(tokens),
        tuple(map(str, range(size))),
    )
    for _ in range(num_steps):
        learner.step(batch, 1e-3, 0.99)


@pytest.mark.parametrize(("micro_batches", "checkpointing"), [(1, "none"), (2, "cheap")])
def test_planned_memory_is_that_of_a_real_step(
    micro_batches: int, checkpointing: ActivationCheckpointing, tmp_path: Path
) -> None:
    workload = replace(workload_of(16), micro_batches=micro_batches, activation_checkpointing=checkpointing)
    process = FORKS.Process(target=measure_memory, args=(workload, tmp_path / "bytes"))
    process.start()
    process.join()
    measured = int((tmp_path / "bytes").read_text())
    assert step_memory(workload).peak == pytest.approx(measured, rel=0.1)
