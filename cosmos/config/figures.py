"""Metrics of training and of the suites: unit, direction and role of every figure of a run, by its name.

What computes a figure names it by its metric here; the W&B mirror, searches, comparisons and lists of runs
look up its direction and role here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args

from cosmos.config.evaluate_params import PREPARED_SPLITS, Attention
from cosmos.config.params import DistillTermParams
from cosmos.config.training_parts import COUNTED_PARTS, WAITING_PARTS

Figures = Mapping[str, float]
"""Values by metric's key. Shares lie between 0 and 1."""

Direction = Literal["min", "max", ""]
"""The better of two values; "" where neither is."""

Unit = Literal[
    "share",
    "rank",
    "nats",
    "seconds",
    "bytes",
    "FLOP",
    "FLOP per second",
    "samples",
    "samples per second",
    "steps",
    "epochs",
    "",
]
"""Unit of a value: shares lie between 0 and 1, ranks count from 1; a FLOP is a floating-point operation."""

Role = Literal["quality", "cost", "caveat", "state"]
"""Use of a metric: quality of a model, its cost, caveat on other figures, or state of the training."""


@dataclass(frozen=True)
class Metric:
    """A quantity that is measured."""

    name: str
    """key of its values in metrics.jsonl or in the results of a suite; a prefix of the keys of a family"""
    unit: Unit
    direction: Direction
    role: Role
    has_chance: bool = False
    """True when guessing has an expected score, which the suite computes for each dataset"""
    is_family: bool = False
    """True when there is a value for each class or kind, whose name completes the key"""

    def names(self, key: str) -> bool:
        """Return True when values of this metric have the key `key`."""
        return key.startswith(self.name) if self.is_family else key == self.name

    def key(self, member: str) -> str:
        """Return the key of a family's member."""
        assert self.is_family
        return f"{self.name}{member}"


def score_metric(name: str, *, has_chance: bool = False, is_family: bool = False) -> Metric:
    """Return a metric that is the share of right answers among all."""
    return Metric(name, "share", "max", "quality", has_chance, is_family)


def loss_metric(name: str) -> Metric:
    """Return a metric that training minimises."""
    return Metric(name, "nats", "min", "quality")


def state_metric(name: str, unit: Unit = "") -> Metric:
    """Return a metric of progress or settings of training, of which no value is better than another."""
    return Metric(name, unit, "", "state")


LOSS = loss_metric("loss")
"""Loss that training minimises."""

TOTAL_LOSSES = (LOSS, loss_metric("contrastive"), loss_metric("distill"))
"""Loss of training, and its two parts."""

DISTILL_LOSSES = tuple(loss_metric(f"distill_{term}") for term in DistillTermParams.model_fields)
"""Terms of the distillation loss."""

STEP = state_metric("step", "steps")
EPOCH = state_metric("epoch", "epochs")
SAMPLES = state_metric("samples", "samples")

SAMPLES_LISTED = state_metric("samples_listed", "samples")
"""Samples of the training data."""

SAMPLES_USED = Metric("samples_used", "samples", "max", "caveat")
"""Samples of these that are neither missing nor damaged, as far as training has met them."""

SECONDS = Metric("seconds", "seconds", "min", "cost")
DEVICE_SECONDS = Metric("device_seconds", "seconds", "min", "cost")
"""Seconds of training x devices."""
DEVICE_MEMORY = Metric("device_memory", "bytes", "min", "cost")
"""Largest memory that a process held on its device."""
SAMPLES_PER_SECOND = Metric("samples_per_second", "samples per second", "max", "cost")

TIME_SHARE = "time/"
"""Beginning of the names of shares of the time."""

TIME_SHARES = {
    part: state_metric(f"{TIME_SHARE}{part}", "share") for part in COUNTED_PARTS if part not in WAITING_PARTS
}
"""Shares of the time by part, beside `data_wait`."""

TRAINING_METRICS: tuple[Metric, ...] = (
    STEP,
    EPOCH,
    SAMPLES,
    *TOTAL_LOSSES,
    *DISTILL_LOSSES,
    *map(state_metric, ("logit_scale", "distill_logit_scale", "learning_rate", "momentum", "grad_norm")),
    state_metric("teacher_distance"),
    SECONDS,
    DEVICE_SECONDS,
    DEVICE_MEMORY,
    SAMPLES_PER_SECOND,
    Metric("data_wait", "share", "min", "cost"),
    *TIME_SHARES.values(),
    state_metric("flops_per_sample", "FLOP"),
    Metric("flops_per_second", "FLOP per second", "max", "cost"),
    Metric("mfu", "share", "max", "cost"),
    Metric("replaced_samples", "samples", "min", "caveat"),
    Metric("damaged_samples", "samples", "min", "caveat"),
    SAMPLES_LISTED,
    SAMPLES_USED,
    Metric("skipped_steps", "steps", "min", "caveat"),
    state_metric("skipped_in_a_row", "steps"),
)
"""Metrics of a line of metrics.jsonl."""

GROWING_METRICS = frozenset(
    {
        SECONDS.name,
        DEVICE_SECONDS.name,
        DEVICE_MEMORY.name,
        "replaced_samples",
        "damaged_samples",
        "skipped_steps",
    }
)
"""Metrics of training that never fall while a run trains: what is beyond a limit stays there."""

RECALLS = (1, 5, 10)
"""Values of k for which recall at k is measured."""


@dataclass(frozen=True)
class RetrievalMetrics:
    """Metrics of retrieval from queries of one modality to candidates of the other."""

    name: str

    def recall(self, k: int) -> Metric:
        """Return the share of queries that have one of their own among the first `k` candidates."""
        return score_metric(f"{self.name}_R@{k}", has_chance=True)

    @property
    def mean_rank(self) -> Metric:
        """Mean over queries of the rank of the best own candidate."""
        return Metric(f"{self.name}_mean_rank", "rank", "min", "quality", has_chance=True)

    @property
    def median_rank(self) -> Metric:
        """Median over queries of the rank of the best own candidate, rounded down."""
        return Metric(f"{self.name}_median_rank", "rank", "min", "quality")

    @property
    def ties(self) -> Metric:
        """Share of queries whose best own candidate ties with another's."""
        return Metric(f"{self.name}_ties", "share", "", "caveat")

    @property
    def declared(self) -> tuple[Metric, ...]:
        """All of these metrics."""
        return (*map(self.recall, RECALLS), self.mean_rank, self.median_rank, self.ties)


IMAGE_TO_TEXT = RetrievalMetrics("image_to_text")
TEXT_TO_IMAGE = RetrievalMetrics("text_to_image")

TOP1 = score_metric("top1", has_chance=True)
TOP5 = score_metric("top5", has_chance=True)
MEAN_PER_CLASS = score_metric("mean_per_class", has_chance=True)
CLASS_ACCURACY = score_metric("accuracy/", is_family=True)
TIES = Metric("ties", "share", "", "caveat")
"""Share of images whose class ties with another."""

MEAN_IOU = score_metric("mIoU")
PIXEL_ACCURACY = score_metric("accuracy")
CLASS_IOU = score_metric("IoU/", is_family=True)

TEXT_SCORE = score_metric("text", has_chance=True)
IMAGE_SCORE = score_metric("image", has_chance=True)
GROUP_SCORE = score_metric("group", has_chance=True)
MEAN_OVER_KINDS = score_metric("mean", has_chance=True)
KIND_SCORE = score_metric("", has_chance=True, is_family=True)
"""Share of right answers of a kind of items, which the dataset names."""


def with_attention(metric: Metric, attention: Attention) -> Metric:
    """Return a metric of segmentation as measured with one kind of attention in the last block."""
    return replace(metric, name=name_with_attention(metric.name, attention))


def name_with_attention(name: str, attention: Attention) -> str:
    """Return the key of a segmentation metric's value as measured with one kind of attention."""
    return f"{attention}_{name}"


SUITE_METRICS: dict[str, tuple[Metric, ...]] = {
    "retrieval": (*IMAGE_TO_TEXT.declared, *TEXT_TO_IMAGE.declared),
    "classification": (TOP1, TOP5, MEAN_PER_CLASS, TIES, CLASS_ACCURACY),
    "segmentation": tuple(
        with_attention(metric, attention)
        for attention in get_args(Attention)
        for metric in (MEAN_IOU, PIXEL_ACCURACY, CLASS_IOU)
    ),
    "perception": (TEXT_SCORE, IMAGE_SCORE, GROUP_SCORE, MEAN_OVER_KINDS, KIND_SCORE),
}
"""Metrics of each suite."""


EVALUATION = "evaluation"
"""Key of the figures that are measured while training, in a line of metrics.jsonl."""


def training_figure(suite: str, dataset: str, model: str, metric: str) -> str:
    """Return the name of a figure among those that are measured while training.

    It is <model>/<dataset>/<metric> of retrieval, and that of the result for other suites.
    """
    return f"{model}/{dataset}/{metric}" if suite == "retrieval" else f"{suite}/{dataset}/{model}/{metric}"


def repeated_result(figure: str) -> str:
    """Return the result that repeats a figure which was measured while training; "" for other figures.

    The figure is named evaluation/ and what `training_figure` returns, the result
    <suite>/<dataset>/<model>/<metric>.
    """
    key, *path = figure.split("/", 3)
    if key != EVALUATION or len(path) < 3:
        return ""
    model, dataset, metric = path
    is_whole = model in SUITE_METRICS
    return figure.partition("/")[2] if is_whole else f"retrieval/{dataset}/{model}/{metric}"


@cache
def metric_of(figure: str) -> Metric | None:
    """Return the metric of a figure; None for a figure that is not declared.

    Figures are named by their key in metrics.jsonl, or <suite>/<dataset>/<model>/<metric>, or, measured while
    training, evaluation/ and what `training_figure` returns.
    """
    suite, *path = (repeated_result(figure) or figure).split("/", 3)
    if suite not in SUITE_METRICS:
        return _named(figure, TRAINING_METRICS)
    return _named(path[-1], SUITE_METRICS[suite]) if len(path) == 3 else None


def direction_of(figure: str) -> Direction:
    """Return the better direction of a figure, named as `metric_of` takes it; "" where none is known."""
    metric = metric_of(figure)
    return metric.direction if metric else ""


TRAINING_DATA = "train"
"""Name of the data that a run was trained on, among the data of its figures."""


def data_of_figure(figure: str) -> str:
    """Return the name of the data that a figure, named as `metric_of` takes it, is of.

    It is <suite>/<dataset> for a result, and TRAINING_DATA for losses and, while training, for evaluations on
    splits of the prepared dataset; evaluation/<dataset> or, of other suites than retrieval,
    evaluation/<suite>/<dataset> for those on others. "" stands for no data, as of seconds.
    """
    suite, *path = figure.split("/", 3)
    if suite == EVALUATION:
        if path[:1] and path[0] in SUITE_METRICS:
            return "/".join([suite, *path[:2]])
        dataset = path[1] if len(path) > 1 else ""
        return TRAINING_DATA if dataset in PREPARED_SPLITS else dataset and f"{suite}/{dataset}"
    if len(path) == 3:
        return f"{suite}/{path[0]}"
    metric = metric_of(figure)
    return TRAINING_DATA if metric and metric.role == "quality" else ""


def describe_missing_data(figures: Mapping[str, Any]) -> str:
    """Return the samples used of those listed, for people; "" where all are used, or nothing is known."""
    used, listed = figures.get(SAMPLES_USED.name, math.inf), figures.get(SAMPLES_LISTED.name, math.inf)
    return f"{used:,.0f} of {listed:,.0f}" if used < listed else ""


def is_cost(figure: str) -> bool:
    """Return True for a figure that measures cost, such as seconds."""
    metric = metric_of(figure)
    return metric is not None and metric.role == "cost"


def is_caveat(figure: str) -> bool:
    """Return True for a figure that only qualifies others, such as a share of ties."""
    metric = metric_of(figure)
    return metric is not None and metric.role == "caveat"


def _named(key: str, metrics: Sequence[Metric]) -> Metric | None:
    """Return the first of the metrics whose values have this key; families stand behind others."""
    return next((metric for metric in metrics if metric.names(key)), None)
