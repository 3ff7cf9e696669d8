"""The four suites. Each is a set of cards; a card opens a dataset, which measures an encoder."""

from collections.abc import Iterator
from dataclasses import dataclass

from cosmos.evaluate_params import EvaluateParams
from cosmos.evaluation import classification_sets, perception_sets, retrieval_sets, segmentation_sets
from cosmos.evaluation.card import Card

BUILT_IN = (
    *retrieval_sets.CARDS,
    *classification_sets.CARDS,
    *segmentation_sets.CARDS,
    *perception_sets.CARDS,
)


@dataclass(frozen=True)
class Suite:
    """The datasets that one suite knows, and those of them that the parameters ask for."""

    name: str
    cards: dict[str, Card]
    datasets: tuple[str, ...]

    def wanted(self) -> list[Card]:
        """The cards of the datasets asked for. ValueError for a name that there is none of."""
        unknown = [name for name in self.datasets if name not in self.cards]
        if unknown:
            raise ValueError(
                f"evaluate.{self.name}.datasets: no {', '.join(unknown)}; there are {', '.join(self.cards)}"
            )
        return [self.cards[name] for name in dict.fromkeys(self.datasets)]


def suites(evaluate: EvaluateParams) -> dict[str, Suite]:
    """Every suite by name, with the sets of one's own that the parameters describe."""
    return {suite.name: suite for suite in _suites(evaluate)}


def _suites(evaluate: EvaluateParams) -> Iterator[Suite]:
    retrieval, classification = evaluate.retrieval, evaluate.classification
    segmentation, perception = evaluate.segmentation, evaluate.perception
    yield _suite(
        "retrieval", retrieval.datasets, [retrieval_sets.own_card(*item) for item in retrieval.own.items()]
    )
    yield _suite(
        "classification",
        classification.datasets,
        [classification_sets.own_card(*item) for item in classification.own.items()],
    )
    yield _suite(
        "segmentation",
        segmentation.datasets,
        [segmentation_sets.own_card(*item) for item in segmentation.own.items()],
    )
    yield _suite(
        "perception",
        perception.datasets,
        [perception_sets.own_card(*item) for item in perception.own.items()],
    )


def _suite(name: str, datasets: tuple[str, ...], own: list[Card]) -> Suite:
    cards = {card.name: card for card in BUILT_IN if card.suite == name}
    taken = sorted(cards.keys() & {card.name for card in own})
    if taken:
        raise ValueError(
            f"evaluate.{name}.own: {', '.join(taken)} is the name of another dataset; choose another"
        )
    return Suite(name, {**cards, **{card.name: card for card in own}}, datasets)
