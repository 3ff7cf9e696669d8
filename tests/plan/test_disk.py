"""Sizes of checkpoints are those of the files that training writes."""

import io
from pathlib import Path

import pytest
import torch

from cosmos.config.machine import Machine
from cosmos.config.params import LossParams, Params
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.disk import checkpoint_bytes, plan_disk
from cosmos.run.directory import RunDir
from cosmos.training.checkpoint import training_content
from cosmos.training.progress import TrainingState
from tests.plan.examples import shipped
from tests.training.examples import make_learner, random_batch, tiny_params


def saved_bytes(params: Params, *, steps: int = 1) -> int:
    """Return the size of the checkpoint that training writes after a step."""
    learner = make_learner(params, Machine())
    if steps:
        learner.step(random_batch(), 1e-3, 0.9)
    file = io.BytesIO()
    torch.save(training_content(learner, TrainingState(steps), 0, RunDir(Path("run")), {}), file)
    return file.getbuffer().nbytes


@pytest.mark.parametrize("loss", [LossParams(), LossParams(distillation="none", contrastive="siglip")])
def test_the_size_of_a_checkpoint_is_that_of_the_file(loss: LossParams) -> None:
    params = tiny_params(loss=loss)
    assert checkpoint_bytes(ModelDimensions.of(params)) == pytest.approx(saved_bytes(params), rel=0.006)


def test_a_published_checkpoint_has_two_models_and_two_moments_of_each_weight() -> None:
    disk = plan_disk(shipped("vitb16-cc3m"), total_steps=88_192)
    assert disk.checkpoint_bytes == pytest.approx(4 * 4 * 152.5e6, rel=0.01)
    assert disk.run_bytes == pytest.approx(
        3 * disk.checkpoint_bytes, rel=0.01
    )  # two kept, a third is written
    assert disk.shard_bytes == 2_823_019 * 33_000
