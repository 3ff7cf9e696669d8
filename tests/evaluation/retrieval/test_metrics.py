import itertools
import math
from collections.abc import Mapping
from statistics import median

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cosmos.evaluation.retrieval import metrics as retrieval
from cosmos.evaluation.retrieval.metrics import retrieval_chance, retrieval_metrics

# Two images; captions 0 and 2 belong to the first one, caption 1 to the second.
SIMILARITY = torch.tensor([[0.1, 0.5, 0.9], [0.8, 0.7, 0.2]])
OWNERS = torch.tensor([0, 1, 0])


def similarity_metrics(similarity: Tensor, owners: Tensor) -> Mapping[str, float]:
    """Metrics of a matrix of similarities (I, C): its rows, as embeddings, have these with unit vectors."""
    return retrieval_metrics(similarity, torch.eye(len(owners), dtype=similarity.dtype), owners)


COLLAPSED = torch.ones(30, 300)
OWNERS_OF_TEN = torch.arange(300) % 30


def naive(similarity: list[list[float]], owners: list[int]) -> dict[str, float]:
    """By sorting; among equal scores a query's own candidates come first."""
    images = range(len(similarity))
    by_image = [sorted(range(len(owners)), key=lambda c: (-similarity[i][c], owners[c] != i)) for i in images]
    by_caption = [
        sorted(images, key=lambda i: (-similarity[i][c], owners[c] != i)) for c in range(len(owners))
    ]
    ranks = {
        "image_to_text": [
            next(r for r, c in enumerate(order) if owners[c] == i) for i, order in enumerate(by_image)
        ],
        "text_to_image": [order.index(owners[c]) for c, order in enumerate(by_caption)],
    }
    return {
        f"{direction}_{name}": value
        for direction, found in ranks.items()
        for name, value in {
            **{f"R@{k}": sum(rank < k for rank in found) / len(found) for k in (1, 5, 10)},
            "mean_rank": sum(found) / len(found) + 1,
            "median_rank": math.floor(median(found)) + 1,
        }.items()
    }


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[list[float]], list[int]]:
    """Similarities with many ties, and the images of captions; every image has one at least."""
    num_images = draw(st.integers(1, 12))
    extra = draw(st.lists(st.integers(0, num_images - 1), max_size=20))
    owners = draw(st.permutations([*range(num_images), *extra]))
    row = st.lists(st.integers(-4, 4).map(float), min_size=len(owners), max_size=len(owners))
    return draw(st.lists(row, min_size=num_images, max_size=num_images)), owners


def test_an_image_is_found_at_the_best_placed_of_its_own_captions() -> None:
    metrics = similarity_metrics(SIMILARITY, OWNERS)
    # Image 0 ranks caption 2 first; image 1 ranks caption 1 second.
    assert metrics["image_to_text_R@1"] == 0.5
    assert metrics["image_to_text_mean_rank"] == 1.5


def test_a_caption_is_found_where_its_image_stands_among_the_images() -> None:
    metrics = similarity_metrics(SIMILARITY, OWNERS)
    # Caption 0 prefers image 1, captions 1 and 2 their own.
    assert metrics["text_to_image_R@1"] == pytest.approx(2 / 3)
    assert metrics["text_to_image_R@5"] == metrics["text_to_image_R@10"] == 1
    assert metrics["text_to_image_mean_rank"] == pytest.approx(4 / 3)
    assert metrics["text_to_image_median_rank"] == 1


def test_the_median_rank_of_an_even_number_of_queries_is_between_the_two_in_the_middle_rounded_down() -> None:
    similarity = torch.eye(4)
    similarity[0, 1:] = 2  # image 0 finds its caption in place 4
    similarity[1] = torch.tensor([3.0, 1.0, 3.0, 3.0])  # image 1 as well; images 2 and 3 in place 1
    assert similarity_metrics(similarity, torch.arange(4))["image_to_text_median_rank"] == 2


@given(worlds())
def test_counting_gives_what_sorting_gives(world: tuple[list[list[float]], list[int]]) -> None:
    similarity, owners = world
    metrics = similarity_metrics(torch.tensor(similarity), torch.tensor(owners))
    assert {name: metrics[name] for name in naive(*world)} == pytest.approx(naive(*world))


@pytest.mark.parametrize("elements", [1, 7, 50, 10**9])
def test_embeddings_give_what_their_similarities_give_whatever_the_size_of_a_chunk(
    monkeypatch: pytest.MonkeyPatch, elements: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(n, 16, generator=generator, dtype=torch.float64) for n in (13, 31))
    owners = torch.arange(31) % 13
    expected = similarity_metrics(images @ texts.T, owners)
    monkeypatch.setattr(retrieval, "SIMILARITIES_AT_ONCE", elements)
    assert retrieval_metrics(images, texts, owners) == expected


def test_a_model_that_embeds_everything_alike_finds_everything_and_ties_give_it_away() -> None:
    vector = torch.nn.functional.normalize(torch.arange(1.0, 65.0), dim=0)
    metrics = retrieval_metrics(vector.expand(30, -1), vector.expand(300, -1), OWNERS_OF_TEN)
    assert metrics == similarity_metrics(COLLAPSED, OWNERS_OF_TEN)
    assert metrics["image_to_text_R@1"] == metrics["text_to_image_R@1"] == 1
    assert metrics["image_to_text_ties"] == metrics["text_to_image_ties"] == 1


def test_only_ties_of_the_best_own_candidate_with_a_wrong_one_are_counted() -> None:
    similarity = torch.tensor([[0.9, 0.9, 0.1, 0.1], [0.2, 0.3, 0.3, 0.2]])
    metrics = similarity_metrics(similarity, torch.tensor([0, 0, 1, 1]))
    # Image 0 ties between its own captions; image 1's best caption ties with caption 1 of image 0.
    assert metrics["image_to_text_ties"] == 0.5
    assert metrics["text_to_image_ties"] == 0


def test_chance_is_what_all_orders_of_the_candidates_score_on_average() -> None:
    owners = torch.tensor([0, 1, 1, 2, 2, 2])

    def average(metric: str, matrices: list[Tensor]) -> float:
        return sum(similarity_metrics(matrix, owners)[metric] for matrix in matrices) / len(matrices)

    # The same order of the captions for every image, then the same order of the images for every caption.
    rows = [torch.tensor([order] * 3).float() for order in itertools.permutations(range(6))]
    columns = [torch.tensor([order] * 6).float().T for order in itertools.permutations(range(3))]
    for metric, value in retrieval_chance(3, owners).items():
        assert value == pytest.approx(average(metric, rows if metric.startswith("image") else columns))


def test_chance_at_coco_is_one_image_in_five_thousand() -> None:
    chance = retrieval_chance(5000, torch.arange(25_000) % 5000)
    assert chance["image_to_text_R@1"] == pytest.approx(1 / 5000)
    assert chance["text_to_image_R@1"] == 1 / 5000
    assert chance["text_to_image_R@10"] == 10 / 5000


@pytest.mark.parametrize(
    ("images", "texts", "owners", "message"),
    [
        (torch.eye(3), torch.eye(3) * torch.nan, [0, 1, 2], "3 of 3 caption embeddings .* first number 0"),
        (torch.tensor([[1.0], [torch.inf]]), torch.ones(2, 1), [0, 1], "1 of 2 image embeddings .* number 1"),
        (torch.eye(3), torch.eye(3), [0, 1, 1], "image 2 has no caption"),
        (torch.eye(3), torch.eye(3), [0, 1, 3], "caption 2 belongs to image 3, but there are 3 images"),
        (torch.eye(3), torch.eye(3), [0, -1, 2], "caption 1 belongs to image -1"),
        (torch.eye(3), torch.eye(3), [0, 1], "caption_to_image has the shape"),
        (torch.empty(0, 3), torch.empty(0, 3), [], "there are no images"),
    ],
)
def test_what_has_no_defined_rank_is_refused(
    images: Tensor, texts: Tensor, owners: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(images, texts, torch.tensor(owners, dtype=torch.long))
