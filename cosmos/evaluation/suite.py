"""The four suites. Each is a set of cards; a card opens a dataset, which measures an encoder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import starmap

from cosmos.config.evaluate_params import EvaluateParams
from cosmos.errors import InputError
from cosmos.evaluation.card import Card
from cosmos.evaluation.classification import sets as classification_sets
from cosmos.evaluation.perception import sets as perception_sets
from cosmos.evaluation.retrieval import sets as retrieval_sets
from cosmos.evaluation.segmentation import sets as segmentation_sets

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
            raise InputError(
                f"evaluate.{self.name}.datasets: no {', '.join(unknown)}; there are {', '.join(self.cards)}"
            )
        return [self.cards[name] for name in dict.fromkeys(self.datasets)]


def suites(evaluate: EvaluateParams) -> dict[str, Suite]:
    """Every suite by name, with the sets of one's own that the parameters describe."""
    return {suite.name: suite for suite in _suites(evaluate)}


def _suites(evaluate: EvaluateParams) -> Iterator[Suite]:
    retrieval, classification = evaluate.retrieval, evaluate.classification
    segmentation, perception = evaluate.segmentation, evaluate.perception
    own = starmap(retrieval_sets.own_card, retrieval.own.items())
    yield _suite("retrieval", retrieval.datasets, own)
    own = starmap(classification_sets.own_card, classification.own.items())
    yield _suite("classification", classification.datasets, own)
    own = starmap(segmentation_sets.own_card, segmentation.own.items())
    yield _suite("segmentation", segmentation.datasets, own)
    own = starmap(perception_sets.own_card, perception.own.items())
    yield _suite("perception", perception.datasets, own)


def _suite(name: str, datasets: tuple[str, ...], own_cards: Iterable[Card]) -> Suite:
    own = {card.name: card for card in own_cards}
    cards = {card.name: card for card in BUILT_IN if card.suite == name}
    taken = sorted(cards.keys() & own.keys())
    if taken:
        raise InputError(
            f"evaluate.{name}.own: {', '.join(taken)} is the name of another dataset; choose another"
        )
    return Suite(name, cards | own, datasets)
