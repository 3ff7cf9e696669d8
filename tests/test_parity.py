"""Agreement with the published implementation, as numbers: see tests/data/parity and COSMOS_PARITY_DIR."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cosmos.config.evaluate_params import Attention, SegmentationProtocol
from cosmos.config.machine import Machine
from cosmos.config.params import (
    InlineParams,
    ModelParams,
    Params,
    PretrainParams,
    TextParams,
    ViewParams,
    VisionParams,
)
from cosmos.data.batch import Batch
from cosmos.distributed.group import ProcessRank
from cosmos.evaluation.retrieval.metrics import retrieval_metrics
from cosmos.evaluation.segmentation.metrics import (
    SegmentationLogits,
    cut_windows,
    predict,
    segmentation_logits,
)
from cosmos.model import checkpoints
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.encoders import CosmosEncoder
from cosmos.model.packing import caption_lengths
from cosmos.training import schedules
from cosmos.training.step import Learner

DIRECTORY = Path(os.environ.get("COSMOS_PARITY_DIR", Path(__file__).parent / "data" / "parity"))
META: dict[str, Any] = json.loads((DIRECTORY / "meta.json").read_text())
ARRAYS = np.load(DIRECTORY / "arrays.npz")
ATTENTION: dict[str, Attention] = {"csa=True": "csa", "csa=False": "plain"}
CHECKPOINT = checkpoints.read_checkpoint(DIRECTORY / "checkpoint.pt")
AFTER = checkpoints.read_checkpoint(DIRECTORY / "after3steps.pt")


def params() -> Params:
    c = META["config"]
    vision = VisionParams(
        width=c["v_width"], layers=c["v_layers"], head_width=c["head_width"], patch_size=c["patch"]
    )
    text = TextParams(
        width=CHECKPOINT.student["token_embedding.weight"].shape[1],
        layers=c["t_layers"],
        heads=c["t_heads"],
        vocab_size=c["vocab"],
    )
    return Params(
        model=ModelParams(inline=InlineParams(embed_dim=c["embed"], vision=vision, text=text)),
        views=ViewParams(
            image_size=c["image_size"], local_size=c["local_size"], num_local_crops=c["local_crops"]
        ),
        pretrain=PretrainParams(
            learning_rate=5e-4, warmup_steps=2, batch_size=c["batch"], momentum=META["momentum"]
        ),
    )


def make_learner() -> Learner:
    process = ProcessRank(0, 1, torch.device("cpu"))
    learner = Learner(ModelConfig.of(params()), params().pretrain, Machine(), process)
    checkpoints.load_state(learner.student, CHECKPOINT.student, "student")
    checkpoints.load_state(learner.teacher, CHECKPOINT.teacher, "teacher")
    return learner


def array(name: str) -> Tensor:
    return torch.from_numpy(ARRAYS[name])


def batch(step: int) -> Batch:
    views = [array(f"step{step}.{name}").transpose(0, 1) for name in ("global_crops", "local_crops", "texts")]
    lengths = caption_lengths(views[2])
    return Batch(views[0], views[1], views[2], lengths, tuple(map(str, range(len(lengths)))))


def take_steps(learner: Learner, count: int) -> None:
    for step in range(count):
        rate = schedules.learning_rate(step, 10, params().pretrain)
        assert rate == pytest.approx(float(ARRAYS[f"step{step}.lr"]), rel=1e-9)
        learner.step(batch(step), rate, META["momentum"])


@pytest.mark.parametrize("step", [0, 1, 2])
def test_features_and_losses_of_each_step_agree(step: int) -> None:
    learner = make_learner()
    take_steps(learner, step)
    b = batch(step)
    teacher = learner.teach(b)
    with torch.no_grad():
        student = learner.student(b.global_crops, b.local_crops, b.tokens, b.lengths)
        losses = learner.loss(student, teacher)
    features = {
        "student.image_features": student.image,
        "student.text_features": student.text,
        "student.img_crossmodal_features": student.image_distill,
        "student.txt_crossmodal_features": student.text_distill,
        "teacher.image_features": teacher.image,
        "teacher.text_features": teacher.text,
    }
    for name, ours in features.items():
        torch.testing.assert_close(
            ours.flatten(0, 1), array(f"step{step}.{name}"), atol=1e-5, rtol=0, msg=name
        )
    torch.testing.assert_close(losses.contrastive, array(f"step{step}.clip_loss"), atol=1e-5, rtol=0)
    torch.testing.assert_close(losses.distill, array(f"step{step}.distill_loss"), atol=1e-5, rtol=0)


def test_gradient_norms_of_every_parameter_agree() -> None:
    learner = make_learner()
    b = batch(0)
    learner.backward(b, learner.teach(b))
    for name, parameter in learner.student.named_parameters():
        expected = float(ARRAYS[f"step0.grad_norm.{name}"])
        if np.isnan(expected):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert float(parameter.grad.norm()) == pytest.approx(expected, rel=1e-4), name


@pytest.mark.parametrize("which", ["student", "teacher"])
def test_parameters_after_three_steps_agree(which: str) -> None:
    learner = make_learner()
    take_steps(learner, 3)
    ours = getattr(learner, which).state_dict()
    expected = getattr(AFTER, which)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        mine, theirs = ours[name], value
        if name.endswith("attn.in_proj_bias"):
            # the key's third has no gradient but for rounding, which Adam amplifies
            third = len(value) // 3
            mine, theirs = (torch.cat([v[:third], v[2 * third :]]) for v in (mine, theirs))
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0, msg=name)


def test_schedules_agree() -> None:
    published = PretrainParams(
        learning_rate=5e-4, warmup_steps=10, momentum=0.996, momentum_schedule="cosine"
    )
    rates = [schedules.learning_rate(step, 100, published) for step in range(100)]
    momenta = [schedules.momentum(step, 100, published) for step in range(100)]
    np.testing.assert_allclose(rates, ARRAYS["schedule.lr_cosine_5e-4_warmup10_total100"], atol=1e-12)
    np.testing.assert_allclose(momenta, ARRAYS["schedule.momentum_cosine_0.996_100"], atol=1e-12)


def test_retrieval_metrics_agree() -> None:
    similarity, owners = array("retrieval.similarity"), array("retrieval.caption_to_image")
    metrics = retrieval_metrics(similarity, torch.eye(len(owners), dtype=similarity.dtype), owners)
    for name, expected in META["retrieval"].items():
        assert metrics[name] == pytest.approx(expected, abs=1e-6), name


def teacher_logits(attention: Attention) -> SegmentationLogits:
    c = META["config"]
    encoder = CosmosEncoder(make_learner().teacher.eval(), c["image_size"], torch.device("cpu"), "float32")
    windows = cut_windows(array("seg.image")[0], c["image_size"])
    (patches,) = encoder.encode_patches(windows, [attention])
    height, width = c["seg_ori"]
    cosines = patches @ array("seg.query_features").T
    return segmentation_logits(cosines, tuple(c["seg_hw"]), c["image_size"], (height, width))


@pytest.mark.parametrize("csa", ATTENTION)
def test_segmentation_logits_agree(csa: str) -> None:
    ours = teacher_logits(ATTENTION[csa]).whole()
    torch.testing.assert_close(ours, array(f"seg.logits.{csa}")[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in ARRAYS.files if name.startswith("seg.pred.")])
def test_segmentations_agree(name: str) -> None:
    csa = name.split(".")[2]
    prob_thd, area_thd = thresholds(name)
    protocol = SegmentationProtocol(logit_scale=40, prob_thd=prob_thd, area_thd=area_thd)
    num_queries = array("seg.query_idx").bincount().tolist()
    assert predict(teacher_logits(ATTENTION[csa]), num_queries, protocol).equal(array(name)[0])


def thresholds(name: str) -> tuple[float, float | None]:
    """Of a name as seg.pred.csa=True.prob_thd=0.4.area_thd=None."""
    prob_thd, area_thd = name.split(".prob_thd=")[1].split(".area_thd=")
    return float(prob_thd), None if area_thd == "None" else float(area_thd)
