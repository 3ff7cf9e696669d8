"""A step on a GPU that is not there: no value is read, types are as autocast says, products are counted."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException

from cosmos.config.machine import Machine
from cosmos.config.params import LossParams, PretrainParams
from cosmos.config.section import Precision
from cosmos.model.attention_maps import attention_maps
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.encoders import CosmosEncoder
from cosmos.model.teacher import teacher_distance
from cosmos.plan.compute import sample_flops
from cosmos.plan.traced_step import StepLedger, TracedStep, absent_device, trace_step
from cosmos.plan.workload import DatasetFacts, Workload
from cosmos.training.step import Learner
from tests.training.examples import make_learner, random_batch, tiny_params

GPU = torch.device("cuda")
LENGTHS = [[4, 10, 4, 4], [10, 4, 4, 10], [4, 4, 10, 4], [10, 10, 4, 4]]
"""Captions that are packed without padding, as the two lengths are far apart."""

TYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def trace(
    precision: Precision = "float32", loss: LossParams | None = None, device: str = "cuda", **machine: Any
) -> TracedStep:
    params = tiny_params(PretrainParams(batch_size=4, precision=precision), loss)
    return trace_step(params, Machine(**machine), LENGTHS, device)


def assert_fits_autocast(step: TracedStep, precision: Precision, parts: set[str]) -> None:
    for part in parts & step.product_types.keys():
        assert step.product_types[part] == {TYPES[precision]}, part
    assert step.product_types["loss"] == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "settings"),
    [
        ("float32", {}),
        ("bf16", {"micro_batches": 2, "activation_checkpointing": "cheap"}),
        ("fp16", {"activation_checkpointing": "all"}),
    ],
)
def test_a_step_reads_no_value_of_a_gpu_and_leaves_no_tensor_elsewhere(
    precision: Precision, settings: dict[str, Any]
) -> None:
    step = trace(precision, **settings)
    assert step.devices == {"cuda:0"}
    assert_fits_autocast(step, precision, {"teaching", "forward"})


@pytest.mark.parametrize(
    "loss",
    [
        LossParams(distillation="no-cross-attention"),
        LossParams(distillation="image-only"),
        LossParams(distillation="text-only"),
        LossParams(distillation="none"),
        LossParams(contrastive="siglip"),
    ],
    ids=lambda loss: f"{loss.contrastive}, {loss.distillation}",
)
def test_a_step_of_each_ablation_reads_no_value_of_a_gpu(loss: LossParams) -> None:
    step = trace("bf16", loss)
    assert step.devices == {"cuda:0"}
    assert_fits_autocast(step, "bf16", {"teaching", "forward"})
    assert bool(step.flops["teaching"]) == loss.distills


def test_a_step_that_reads_a_value_cannot_be_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    teach = Learner.teach

    def reading(learner: Learner, *args: Any) -> Any:
        taught = teach(learner, *args)
        float(taught.image.sum())
        return taught

    monkeypatch.setattr(Learner, "teach", reading)
    with pytest.raises(DataDependentOutputException):
        trace()


# operations


def planned_flops(precision: Precision, **settings: Any) -> float:
    params = tiny_params(PretrainParams(batch_size=4, precision=precision))
    data = DatasetFacts(4, "", 0, "", tuple(map(tuple, LENGTHS)), "")
    return 4 * sample_flops(replace(Workload(params, data), **settings)).computed


@pytest.mark.parametrize(
    ("precision", "settings"),
    [
        ("fp16", {}),
        ("float32", {"micro_batches": 2}),
        ("float32", {"activation_checkpointing": "all"}),
    ],
)
def test_products_are_those_that_are_planned_and_those_that_the_step_reports(
    precision: Precision, settings: dict[str, Any]
) -> None:
    step = trace(precision, device="cpu", **settings)
    assert sum(step.flops.values()) == planned_flops(precision, **settings)
    again = planned_flops(precision, **settings) - planned_flops(precision)
    assert sum(step.flops.values()) - step.flops["loss"] - again == step.reported_flops
    assert_fits_autocast(step, precision, {"teaching", "forward", "backward"})


def test_a_real_step_computes_the_products_of_the_traced_one() -> None:
    ledger, learner, batch = StepLedger(), make_learner(tiny_params(), Machine()), random_batch()
    with ledger:
        learner.step(batch, 1e-3, 0.9)
    traced = trace_step(tiny_params(), Machine(), batch.lengths.tolist())
    assert ledger.flops.total() == sum(traced.flops.values())


def test_the_distance_of_the_teacher_takes_no_memory_for_a_whole_model() -> None:
    learner, ledger = make_learner(tiny_params(), Machine()), StepLedger()
    with ledger:
        teacher_distance(learner.teacher, learner.student)
    sizes = [parameter.nbytes for parameter in learner.student.parameters()]
    assert ledger.peak < 2 * max(sizes) < sum(sizes)


# evaluation


@pytest.fixture
def encoder() -> Iterator[CosmosEncoder]:
    """Encoder on a GPU that is not there."""
    with absent_device(GPU):
        with torch.device(GPU):
            model = ModelConfig.of(tiny_params()).build().eval()
        yield CosmosEncoder(model, 32, GPU, "bf16")


def test_encoders_read_no_value_of_a_gpu(encoder: CosmosEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.array([4, 10, 7])
    monkeypatch.setattr("cosmos.model.encoders.caption_lengths", lambda tokens: lengths)
    images, tokens = torch.empty(3, 3, 32, 32), torch.empty(3, 12, dtype=torch.long)
    ledger = StepLedger()
    with ledger:
        embeddings = [encoder.encode_images(images), encoder.encode_texts(tokens)]
        embeddings += encoder.encode_patches(images, ["plain", "csa"])
        maps = attention_maps(encoder.model, images[0].to(GPU), tokens.to(GPU))
    assert all((e.device.type, e.dtype, e.shape[-1]) == ("cuda", torch.float32, 16) for e in embeddings)
    assert (maps.of_texts.shape, maps.of_image.shape) == ((3, 4, 4), (12,))
    assert ledger.product_types["building"] >= {torch.bfloat16}
