import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cosmos.config.gpus import Gpu
from cosmos.config.machine import Machine
from cosmos.config.params import Distillation, LossParams
from cosmos.data.batch import Batch
from cosmos.model.packing import caption_lengths
from cosmos.run.metrics import read_metrics
from cosmos.training.flops import peak_flops, step_flops
from cosmos.training.step import Learner
from tests.training.examples import batches, make_learner, make_trainer, params, random_batch, tiny_params


def unpadded_batch() -> Batch:
    """Batch whose captions are packed without padding, since they have 4 or 10 tokens."""
    batch = random_batch()
    tokens = torch.zeros_like(batch.tokens)
    for i, row in enumerate(tokens.flatten(0, 1)):
        length = 4 if i % 3 else 10
        row[: length - 1], row[length - 1] = 1, 63
    return replace(batch, tokens=tokens, lengths=caption_lengths(tokens))


def count_by_torch(learner: Learner, batch: Batch) -> int:
    """Operations of the models' passes, forward and backward, where attention is products of matrices."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        learner.teach(batch)
        views = [v for v in learner.views(learner.student, batch).tensors() if v.requires_grad]
        torch.autograd.backward([view.sum() for view in views])
    total: int = counter.get_total_flops()
    return total


@pytest.mark.parametrize("kind", ["cross-modal", "no-cross-attention", "none"])
def test_the_operations_of_a_step_are_those_that_torch_counts(kind: Distillation) -> None:
    learner, batch = (
        make_learner(tiny_params(loss=LossParams(distillation=kind)), Machine()),
        unpadded_batch(),
    )
    assert step_flops(learner.student, batch, has_teacher=kind != "none") == count_by_torch(learner, batch)


def test_no_operations_are_counted_that_are_computed_again_or_of_padding() -> None:
    learners = [
        make_learner(tiny_params(), machine)
        for machine in (Machine(), Machine(activation_checkpointing="all", micro_batches=2))
    ]
    batch = random_batch()
    flops, *again = (learner.step(batch, 1e-2, 0.9).flops for learner in learners)
    assert again == [flops]
    whole, repeated = (count_by_torch(learner, batch) for learner in learners)
    assert flops < whole < 1.05 * flops < repeated


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA A100-SXM4-80GB", 312e12), ("Tesla V100-SXM2-16GB", math.nan), ("x", math.nan)]
)
def test_the_peak_is_known_of_listed_gpus_alone(
    name: str, peak: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda", 0), "bf16") == pytest.approx(peak, nan_ok=True)
    assert math.isnan(peak_flops(torch.device("cpu"), "bf16"))
    own = {"x": Gpu(names=("x",), memory_gb=8, float32=1, half=2, watts=3)}
    expected = 2e12 if name == "x" else peak
    assert peak_flops(torch.device("cuda", 0), "bf16", own) == pytest.approx(expected, nan_ok=True)


def test_mfu_is_the_share_of_the_peak_of_a_device_that_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmos.training.speed.peak_flops", lambda device, precision, own: 1e9)
    make_trainer(tmp_path, params(log_every_steps=2)).train(batches(0, 2))
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    flops = [make_learner(params(), Machine()).step(batch, 1e-3, 0.9).flops for batch in batches(0, 2)]
    assert line["flops_per_sample"] == flops[1] / 8
    seconds = 2 * 8 / line["samples_per_second"]
    assert line["flops_per_second"] == pytest.approx(sum(flops) / seconds)
    assert line["mfu"] == pytest.approx(sum(flops) / seconds / 1e9)
