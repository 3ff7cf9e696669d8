import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cosmos.evaluation.perception.metrics import (
    captions_chosen,
    captions_preferred,
    composition_scores,
    images_chosen,
    share_of_right,
    shares_by_kind,
)

NORTH, EAST, SOUTH = [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]
NORTHEAST = [0.6, 0.8]


def test_a_caption_is_preferred_when_it_is_strictly_closer_than_its_negative() -> None:
    images = torch.tensor([NORTH, NORTH, NORTH])
    captions = torch.tensor([NORTHEAST, EAST, SOUTH])
    negatives = torch.tensor([EAST, NORTHEAST, NORTH])
    assert captions_preferred(images, captions, negatives).tolist() == [True, False, False]


def test_a_caption_that_ties_with_its_negative_is_wrong() -> None:
    image, caption = torch.rand(1, 512), torch.rand(1, 512)
    assert captions_preferred(image, caption, caption).tolist() == [False]


def pair(first: list[float], second: list[float]) -> Tensor:
    return torch.tensor([[first, second]])


def test_images_and_captions_that_belong_together_choose_each_other() -> None:
    assert captions_chosen(pair(NORTH, EAST), pair(NORTH, EAST)).tolist() == [True]
    assert images_chosen(pair(NORTH, EAST), pair(NORTH, EAST)).tolist() == [True]
    assert captions_chosen(pair(NORTH, EAST), pair(EAST, NORTH)).tolist() == [False]


def test_choosing_captions_and_choosing_images_are_two_things() -> None:
    # Cosines, a row for each image:  0.8  0.0     Both images choose their captions,
    #                                 0.6  1.0     both captions choose their images.
    images, captions = pair(NORTH, EAST), pair(NORTHEAST, EAST)
    assert captions_chosen(images, captions).tolist() == [True]
    assert images_chosen(images, captions).tolist() == [True]
    # Cosines:  0.8   0.6     The first image chooses its caption, the second
    #           -0.8  -0.6    its own; but the second caption chooses the first image.
    images, captions = pair(NORTH, SOUTH), pair(NORTHEAST, [0.8, 0.6])
    assert captions_chosen(images, captions).tolist() == [True]
    assert images_chosen(images, captions).tolist() == [False]
    assert images_chosen(captions, images).tolist() == [True]
    assert composition_scores(images, captions) == {"text": 1.0, "image": 0.0, "group": 0.0}


def test_a_pair_whose_captions_or_images_are_equal_is_wrong() -> None:
    images, captions = pair(NORTH, EAST), pair(NORTHEAST, NORTHEAST)
    assert captions_chosen(images, captions).tolist() == [False]
    assert images_chosen(captions, images).tolist() == [False]


def test_one_wrong_choice_makes_a_pair_wrong() -> None:
    # Cosines:  0.8  1.0   The first image prefers the second caption, the second image chooses its own.
    #           0.6  0.0
    assert captions_chosen(pair(NORTH, EAST), pair(NORTHEAST, NORTH)).tolist() == [False]


def test_the_group_score_needs_both() -> None:
    images = torch.tensor([[NORTH, EAST], [NORTH, SOUTH], [NORTH, EAST], [NORTH, EAST]])
    captions = torch.tensor([[NORTH, EAST], [NORTHEAST, [0.8, 0.6]], [EAST, NORTH], [NORTH, EAST]])
    assert composition_scores(images, captions) == {"text": 0.75, "image": 0.5, "group": 0.5}


def test_random_scores_reach_a_quarter_a_quarter_and_a_sixth() -> None:
    generator = torch.Generator().manual_seed(0)
    # In many dimensions the four cosines of a pair are as good as independent.
    images, captions = torch.randn(2, 20_000, 2, 64, generator=generator)
    scores = composition_scores(images, captions)
    assert scores == pytest.approx({"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}, abs=0.015)


def test_the_mean_is_over_kinds_however_many_items_they_have() -> None:
    right = torch.tensor([True, True, False, True, True])
    kinds = ["swap", "add", "add", "swap", "swap"]
    assert shares_by_kind(right, kinds) == {"swap": 1.0, "add": 0.5, "mean": 0.75}


@given(st.lists(st.booleans(), min_size=1))
def test_the_share_of_one_kind_is_the_share_of_all(right: list[bool]) -> None:
    shares = shares_by_kind(torch.tensor(right), ["all"] * len(right))
    assert shares["all"] == shares["mean"] == share_of_right(torch.tensor(right)) == sum(right) / len(right)
