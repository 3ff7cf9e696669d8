"""Figures of the suites stand under declared metrics, and those that have a chance level get one."""

import torch

from cosmos.config.figures import SUITE_METRICS, Figures, name_with_attention
from cosmos.evaluation.classification.metrics import classification_chance, classification_metrics
from cosmos.evaluation.perception.metrics import COMPOSITION_CHANCE, chance_by_kind, composition_scores
from cosmos.evaluation.retrieval.metrics import retrieval_chance, retrieval_metrics
from cosmos.evaluation.segmentation.metrics import segmentation_metrics


def declared(suite: str, figures: Figures) -> set[str]:
    """Names of the metrics of figures, each of which must have one."""
    metrics = [next(m for m in SUITE_METRICS[suite] if m.names(key)) for key in figures]
    return {metric.name for metric in metrics}


def with_chance(suite: str) -> set[str]:
    return {metric.name for metric in SUITE_METRICS[suite] if metric.has_chance}


def test_retrieval() -> None:
    figures = retrieval_metrics(torch.eye(3), torch.eye(3), torch.arange(3))
    assert list(figures) == [metric.name for metric in SUITE_METRICS["retrieval"]]
    assert set(retrieval_chance(3, torch.arange(3))) == with_chance("retrieval")


def test_classification() -> None:
    figures = classification_metrics(torch.eye(5), torch.eye(5), torch.arange(5), list("abcde"))
    assert declared("classification", figures) == {metric.name for metric in SUITE_METRICS["classification"]}
    assert set(classification_chance(5)) == with_chance("classification")


def test_segmentation_by_kind_of_attention() -> None:
    figures = segmentation_metrics(torch.eye(2, dtype=torch.long), ["sky", "sea"])
    keys = {name_with_attention(key, kind): 0.0 for kind in ("csa", "plain") for key in figures}
    assert declared("segmentation", keys) == {metric.name for metric in SUITE_METRICS["segmentation"]}
    assert with_chance("segmentation") == set()


def test_perception() -> None:
    pairs = torch.eye(2).repeat(3, 1, 1)
    composed, kinds = composition_scores(pairs, pairs), chance_by_kind(["swap_att"], 1 / 2)
    assert composed.keys() == COMPOSITION_CHANCE.keys()
    assert declared("perception", {**composed, **kinds}) == with_chance("perception")
