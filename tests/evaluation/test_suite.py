from typing import get_args

import pytest

from cosmos.config.evaluate_params import ClassificationSet, EvaluateParams, SuiteName
from cosmos.evaluation.suite import BUILT_IN_CARDS, suites


def with_classification(datasets: tuple[str, ...], own: tuple[str, ...] = ()) -> EvaluateParams:
    described = {name: ClassificationSet(images="photos") for name in own}
    default = EvaluateParams()
    changed = default.classification.model_copy(update={"datasets": datasets, "own": described})
    return default.model_copy(update={"classification": changed})


def test_there_are_the_suites_that_the_command_knows() -> None:
    assert tuple(suites(EvaluateParams())) == get_args(SuiteName)
    assert {card.suite for card in BUILT_IN_CARDS} == set(get_args(SuiteName))


def test_no_two_datasets_of_a_suite_have_one_name() -> None:
    names = [(card.suite, card.name) for card in BUILT_IN_CARDS]
    assert len(names) == len(set(names))


def test_every_card_says_what_people_ask_of_a_dataset() -> None:
    for card in BUILT_IN_CARDS:
        assert card.title, card.name
        assert card.layout, card.name
        assert card.size, card.name
        assert card.licence, card.name


def test_the_datasets_that_the_parameters_name_are_wanted_once_each_in_their_order() -> None:
    evaluate = with_classification(("mine", "cifar10", "mine"), own=("mine",))
    assert [card.name for card in suites(evaluate)["classification"].requested()] == ["mine", "cifar10"]


def test_a_name_that_is_no_dataset_is_refused_with_those_there_are() -> None:
    suite = suites(with_classification(("cifar11",)))["classification"]
    with pytest.raises(
        ValueError, match=r"evaluate\.classification\.datasets: no cifar11; near it: cifar10, cifar100"
    ):
        suite.requested()


def test_a_set_of_ones_own_cannot_take_the_name_of_another() -> None:
    with pytest.raises(ValueError, match=r"evaluate\.classification\.own: cifar10 is the name of another"):
        suites(with_classification((), own=("cifar10",)))
