from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cosmos.evaluation.answers import pair_margins, pair_scores, rank_candidates, sample_answers
from cosmos.evaluation.classification.measure import ClassificationDataset
from cosmos.evaluation.perception.measure import CaptionedPairs, HardNegatives, SharedImages
from cosmos.evaluation.perception.metrics import composed_pairs, images_chosen
from cosmos.evaluation.prompts import Prompts
from cosmos.evaluation.retrieval.measure import RetrievalDataset
from cosmos.evaluation.retrieval.metrics import rank_retrieval
from cosmos.run.statistics.answers import ClassAnswers, PairAnswers, RetrievalAnswers
from tests.evaluation.examples import (
    COLOURS,
    ColourEncoder,
    ImagesInMemory,
    embedder,
    image_bytes,
    write_images,
)


def pictures(*colours: str) -> ImagesInMemory:
    return ImagesInMemory([image_bytes(colour) for colour in colours])


def embeddings(*shape: int) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(shape[0])), dim=-1)


def test_ranks_are_those_that_the_figures_are_made_of() -> None:
    images, captions, owners = embeddings(40, 8), embeddings(100, 8), torch.arange(100) % 40
    ranks = rank_retrieval(images, captions, owners)
    numbers = torch.arange(40)
    assert rank_candidates(images, captions, numbers, owners).ranks.tolist() == ranks.of_images.ranks.tolist()
    ranked = rank_candidates(captions, images, owners, numbers)
    assert ranked.ranks.tolist() == ranks.of_captions.ranks.tolist()
    assert ((ranked.margins < 0) == (ranked.ranks > 0)).all()


def test_the_first_candidates_come_in_order_with_their_scores() -> None:
    queries, candidates = embeddings(3, 4), embeddings(7, 4)
    ranked = rank_candidates(queries, candidates, torch.arange(3), torch.arange(7))
    scores = (queries @ candidates.T).numpy()
    assert ranked.first.shape == (3, 5)
    assert ranked.first.tolist() == np.argsort(-scores, axis=1)[:, :5].tolist()
    np.testing.assert_allclose(ranked.first_scores, np.take_along_axis(scores, ranked.first, axis=1))
    np.testing.assert_allclose(ranked.own_scores, scores.diagonal())


def test_queries_find_what_their_own_are(tmp_path: Path) -> None:
    dataset = RetrievalDataset(pictures("red", "green"), ("green", "red", "blue"), (0, 1, 1))
    answers = sample_answers(dataset, embedder(tmp_path, ColourEncoder()))
    assert isinstance(answers, RetrievalAnswers)
    assert answers.of_images.first[:, 0].tolist() == [1, 0]
    assert (answers.of_images.ranks > 0).all()
    assert answers.of_captions.own.tolist() == [0, 1, 1]


def test_a_single_candidate_has_no_other(tmp_path: Path) -> None:
    answers = sample_answers(
        RetrievalDataset(pictures("red"), ("red",), (0,)), embedder(tmp_path, ColourEncoder())
    )
    assert isinstance(answers, RetrievalAnswers)
    assert answers.of_images.margins.tolist() == [np.inf]


def test_the_largest_confusion_comes_first(tmp_path: Path) -> None:
    names = ("red", "green", "blue", "green")
    shown = pictures("red", "green", "red", "red", "blue")
    dataset = ClassificationDataset(shown, (0, 0, 1, 1, 2), Prompts(names, ("{}",)))
    answers = sample_answers(dataset, embedder(tmp_path, ColourEncoder()))
    assert isinstance(answers, ClassAnswers)
    assert answers.confusions() == [(1, 0, 2), (0, 1, 1)]
    assert answers.class_counts().tolist() == [2, 2, 1, 0]
    assert answers.class_names == ("red", "green (1)", "blue", "green (3)")


def shared(folder: Path, *colours: str) -> SharedImages:
    write_images(folder, {f"{colour}.png": colour for colour in colours})
    return SharedImages.of(folder, [folder / f"{colour}.png" for colour in colours], 10_000)


def test_a_false_caption_is_preferred_by_a_margin(tmp_path: Path) -> None:
    dataset = HardNegatives(shared(tmp_path, "red", "red"), ("red", "green"), ("green", "red"), ("a", "b"))
    answers = sample_answers(dataset, embedder(tmp_path, ColourEncoder()))
    assert isinstance(answers, PairAnswers)
    assert (answers.margins > 0).tolist() == [True, False]
    assert answers.scores.shape == (2, 1, 2)
    assert answers.captions == (("red", "green"), ("green", "red"))


def test_pairs_are_right_where_the_figures_say_so() -> None:
    images, captions = embeddings(60, 2, 3), embeddings(61, 2, 3)[:60]
    scores = pair_scores(images, captions)
    group = pair_margins(scores, images_choose=True) > 0
    assert group.tolist() == composed_pairs(images, captions)["group"].tolist()
    assert (pair_margins(scores, images_choose=False) > 0).tolist() == images_chosen(
        images, captions
    ).tolist()
    assert 0 < group.sum() < 60


def test_captioned_pairs_keep_their_two_images(tmp_path: Path) -> None:
    colours = list(COLOURS)[:4]
    dataset = CaptionedPairs(shared(tmp_path, *colours), tuple(colours), ("a", "b"))
    answers = sample_answers(dataset, embedder(tmp_path, ColourEncoder()))
    assert isinstance(answers, PairAnswers)
    assert answers.places.tolist() == [[0, 1], [2, 3]]
    assert (answers.margins > 0).all()


def test_other_content_has_no_answers(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="str"):
        sample_answers("", embedder(tmp_path, ColourEncoder()))
