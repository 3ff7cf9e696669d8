from typing import get_args

import pytest

from cosmos.config.evaluate_params import Attention, SuiteName
from cosmos.config.figures import (
    GROWING_METRICS,
    SUITE_METRICS,
    TRAINING_METRICS,
    data_of_figure,
    describe_missing_data,
    direction_of,
    is_caveat,
    metric_of,
)

R1 = "image_to_text_R@1"


def test_figures_that_never_fall_are_figures_of_training() -> None:
    assert {metric.name for metric in TRAINING_METRICS} > GROWING_METRICS


@pytest.mark.parametrize(
    ("figure", "direction", "unit"),
    [
        ("loss", "min", "nats"),
        ("distill_image_to_text", "min", "nats"),
        ("distill_logit_scale", "", ""),
        ("learning_rate", "", ""),
        ("samples", "", "samples"),
        ("seconds", "min", "seconds"),
        ("device_seconds", "min", "seconds"),
        ("device_memory", "min", "bytes"),
        ("samples_per_second", "max", "samples per second"),
        ("flops_per_sample", "", "FLOP"),
        ("mfu", "max", "share"),
        (f"retrieval/heldout/teacher/{R1}", "max", "share"),
        (f"evaluation/teacher/heldout/{R1}", "max", "share"),
        ("evaluation/student/heldout/text_to_image_median_rank", "min", "rank"),
        ("evaluation/classification/cifar10/student/top1", "max", "share"),
        ("retrieval/heldout/teacher/image_to_text_ties", "", "share"),
        ("classification/cifar10/teacher/top1", "max", "share"),
        ("classification/cifar10/teacher/accuracy/a dog / a wolf", "max", "share"),
        ("segmentation/voc20/teacher/csa_mIoU", "max", "share"),
        ("segmentation/voc20/teacher/plain_IoU/dog", "max", "share"),
        ("perception/winoground/baseline/group", "max", "share"),
        ("perception/own/teacher/knots and ties", "max", "share"),
    ],
)
def test_a_figure_has_the_direction_and_unit_of_its_metric(figure: str, direction: str, unit: str) -> None:
    metric = metric_of(figure)
    assert metric
    assert (metric.direction, metric.unit, direction_of(figure)) == (direction, unit, direction)


@pytest.mark.parametrize(
    "figure",
    ["", "losses", "retrieval", f"retrieval/heldout/{R1}", "retrieval/heldout/teacher/R@1", f"x/y/z/{R1}"],
)
def test_a_figure_that_nobody_declares_has_no_direction(figure: str) -> None:
    assert metric_of(figure) is None
    assert direction_of(figure) == ""
    assert not is_caveat(figure)


def test_missing_data_is_described_where_there_is_some() -> None:
    assert describe_missing_data({"samples_used": 5990.0, "samples_listed": 6000.0}) == "5,990 of 6,000"
    assert not describe_missing_data({"samples_used": 6000.0, "samples_listed": 6000.0})
    assert not describe_missing_data({"loss": 3.0})


def test_ties_tell_how_far_others_can_be_trusted() -> None:
    assert is_caveat("retrieval/heldout/teacher/image_to_text_ties")
    assert is_caveat("classification/cifar10/teacher/ties")
    assert not is_caveat(f"retrieval/heldout/teacher/{R1}")


def test_every_suite_and_kind_of_attention_has_metrics_and_no_two_share_a_name() -> None:
    assert tuple(SUITE_METRICS) == get_args(SuiteName)
    for metrics in (TRAINING_METRICS, *SUITE_METRICS.values()):
        assert len({metric.name for metric in metrics}) == len(metrics)
    for attention in get_args(Attention):
        assert direction_of(f"segmentation/voc20/teacher/{attention}_mIoU") == "max"


@pytest.mark.parametrize(
    ("figure", "data"),
    [
        ("retrieval/heldout/teacher/image_to_text_R@1", "retrieval/heldout"),
        ("retrieval/heldout@1a2b3c4d/teacher/image_to_text_R@1", "retrieval/heldout@1a2b3c4d"),
        ("retrieval-published-x/heldout/teacher/image_to_text_R@1", "retrieval-published-x/heldout"),
        ("classification/demo/teacher/accuracy/red/square", "classification/demo"),
        ("evaluation/teacher/heldout/image_to_text_R@1", "train"),
        ("evaluation/teacher/coco-val2017/image_to_text_R@1", "evaluation/coco-val2017"),
        ("evaluation/classification/demo/teacher/top1", "evaluation/classification/demo"),
        *(("loss", "train"), ("distill_image_to_text", "train")),
        *(("seconds", ""), ("step", ""), ("unknown", ""), ("evaluation", "")),
    ],
)
def test_figures_name_the_data_that_they_are_of(figure: str, data: str) -> None:
    assert data_of_figure(figure) == data
