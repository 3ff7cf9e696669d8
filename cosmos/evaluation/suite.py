"""The four suites: the cards of the datasets that each knows, and those that the parameters ask for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import starmap

from cosmos.config.evaluate_params import EvaluateParams
from cosmos.config.near_names import near_names
from cosmos.errors import InputError
from cosmos.evaluation.card import DatasetCard
from cosmos.evaluation.classification import sets as classification_sets
from cosmos.evaluation.perception import sets as perception_sets
from cosmos.evaluation.retrieval import sets as retrieval_sets
from cosmos.evaluation.segmentation import sets as segmentation_sets

BUILT_IN_CARDS = (
    *retrieval_sets.CARDS,
    *classification_sets.CARDS,
    *segmentation_sets.CARDS,
    *perception_sets.CARDS,
)
"""Cards of the datasets that every user has: those of the demo world and the published ones."""


@dataclass(frozen=True)
class EvaluationSuite:
    """Suite: cards of all its datasets, and names of those that the parameters ask for."""

    name: str
    cards: dict[str, DatasetCard]
    datasets: tuple[str, ...]

    def requested(self) -> list[DatasetCard]:
        """Return the cards of the datasets asked for. Raises InputError for a name without a card."""
        unknown = [name for name in self.datasets if name not in self.cards]
        if unknown:
            near = near_names(unknown[0], self.cards)
            raise InputError(f"evaluate.{self.name}.datasets: no {', '.join(unknown)}; {near}")
        return [self.cards[name] for name in dict.fromkeys(self.datasets)]


def suites(evaluate: EvaluateParams) -> dict[str, EvaluationSuite]:
    """Return every suite by name, with the user's own sets that the parameters describe."""
    return {suite.name: suite for suite in _suites(evaluate)}


def _suites(evaluate: EvaluateParams) -> Iterator[EvaluationSuite]:
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


def _suite(name: str, datasets: tuple[str, ...], own_cards: Iterable[DatasetCard]) -> EvaluationSuite:
    own = {card.name: card for card in own_cards}
    cards = {card.name: card for card in BUILT_IN_CARDS if card.suite == name}
    taken = sorted(cards.keys() & own.keys())
    if taken:
        raise InputError(
            f"evaluate.{name}.own: {', '.join(taken)} is the name of another dataset; choose another"
        )
    return EvaluationSuite(name, cards | own, datasets)
