"""Operations of a step, counted from dimensions, are those that training and torch count."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cosmos.config.machine import Machine
from cosmos.config.params import Distillation, LossParams, Params
from cosmos.data.batch import Batch
from cosmos.model.checkpoints import ModelConfig
from cosmos.plan.compute import SampleFlops, sample_flops
from cosmos.plan.workload import Workload
from cosmos.training.flops import step_flops
from tests.plan.examples import Rows, facts, shipped
from tests.training.examples import make_learner, random_batch, tiny_params
from tests.training.test_flops import unpadded_batch


def rows_of(batch: Batch) -> Rows:
    """Return the lengths of a batch's captions, as facts of a dataset have them."""
    return tuple(map(tuple, batch.lengths.tolist()))


def flops_of(params: Params, batch: Batch, machine: Machine | None = None) -> SampleFlops:
    machine = machine or Machine()
    workload = Workload(
        params,
        facts(params, 100, rows_of(batch)),
        micro_batches=machine.micro_batches,
        activation_checkpointing=machine.activation_checkpointing,
    )
    return sample_flops(workload)


def in_place_flops(
    total: torch.Size, a: torch.Size, b: torch.Size, out_shape: object, **options: float
) -> int:
    """Return the operations of a product that is added to `total`, by shapes."""
    return 2 * a[0] * a[1] * b[1]


@pytest.mark.parametrize("kind", get_args(Distillation))
def test_the_operations_of_a_sample_are_those_that_training_logs(kind: Distillation) -> None:
    params, batch = tiny_params(loss=LossParams(distillation=kind)), random_batch()
    batch = replace(batch, local_crops=batch.local_crops[:, : params.num_local_crops])
    model = ModelConfig.of(params).build()
    logged = step_flops(model, batch, has_teacher=params.loss.distills)
    assert flops_of(params, batch).logged * len(batch) == logged


def test_the_operations_of_a_published_model_are_those_that_training_logs() -> None:
    workload = shipped("vitb16-cc3m")
    params, rows = workload.params, workload.data.caption_lengths[:8]
    with torch.device("meta"):
        model = ModelConfig.of(params).build()
        large, small = torch.empty(len(rows), 2, 3, 224, 224), torch.empty(len(rows), 6, 3, 96, 96)
        tokens = torch.empty(len(rows), 8, 77, dtype=torch.int64)
    batch = Batch(large, small, tokens, torch.tensor(rows, device="cpu").numpy(), ("",) * len(rows))
    flops = flops_of(params, batch)
    assert flops.logged * len(rows) == step_flops(model, batch, has_teacher=True)
    assert 400e9 < flops.logged < 480e9
    assert flops.image > flops.text > flops.teacher / 2 > flops.pools


@pytest.mark.parametrize(
    "machine",
    [Machine(), Machine(micro_batches=2), Machine(activation_checkpointing="all")],
    ids=["as it is", "micro-batches", "checkpointing"],
)
@pytest.mark.parametrize("kind", ["cross-modal", "image-only", "none"])
def test_with_the_loss_and_what_is_computed_again_they_are_those_that_torch_counts(
    kind: Distillation, machine: Machine
) -> None:
    params, batch = tiny_params(loss=LossParams(distillation=kind)), unpadded_batch()
    batch = replace(batch, local_crops=batch.local_crops[:, : params.num_local_crops])
    learner = make_learner(params, machine)
    added = {torch.ops.aten.addmm_: in_place_flops}  # which torch does not count by itself
    counter = FlopCounterMode(display=False, custom_mapping=added)
    with counter, sdpa_kernel(SDPBackend.MATH):
        learner.compute_gradients(batch)
    assert flops_of(params, batch, machine).computed * len(batch) == counter.get_total_flops()


def test_the_loss_of_a_sample_grows_with_the_batch_and_nothing_else_does() -> None:
    small, large = sample_flops(shipped("vitb16-cc3m")), sample_flops(shipped("vitb16-merged30m"))
    assert large.loss == 4 * small.loss
    assert large.logged == small.logged
    assert large.loss < 0.005 * large.logged
