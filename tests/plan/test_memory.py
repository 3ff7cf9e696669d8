"""Memory in closed form: held against the traced step, and what would make a step fit."""

from dataclasses import replace

import pytest

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
from cosmos.plan.memory import memory_remedies, step_memory
from cosmos.plan.traced_step import trace_step
from cosmos.plan.workload import DatasetFacts, Workload

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
