from collections import Counter

from cosmos.report.galleries.retrieval import choose_queries, directions, middle_of, query_steps
from tests.report.galleries.examples import at_ranks, retrieval


def test_the_worst_misses_come_first_then_typical_ones_then_hits() -> None:
    ranks = [0, 9, 0, 1, 2, 15, 3, 4, 0, 5, 6, 0, 7, 8, 0, 0]
    chosen = choose_queries(at_ranks(*ranks))
    assert [ranks[query] for _, query in chosen] == [15, 9, 8, 5, 4, 3, 0, 0, 0, 0]
    assert Counter(title for title, _ in chosen) == {
        "Worst miss": 3,
        "Typical miss": 3,
        "Narrowest hit": 2,
        "Typical hit": 2,
    }
    assert len({query for _, query in chosen}) == len(chosen)


def test_few_queries_are_shown_once_each() -> None:
    assert choose_queries(at_ranks(0)) == [("Narrowest hit", 0)]
    assert choose_queries(at_ranks(1, 0)) == [("Worst miss", 0), ("Narrowest hit", 1)]


def test_the_own_candidate_is_shown_also_where_it_is_far_behind() -> None:
    _, of_captions = directions(retrieval(at_ranks(0, 7, *[0] * 8)))
    rows = of_captions.rows(1)
    assert [row.place for row in rows] == [1, 2, 3, 4, 5, 8]
    assert [row.is_own for row in rows] == [False] * 5 + [True]
    assert [row.is_own for row in of_captions.rows(0)] == [True] + [False] * 4
    assert of_captions.place_of_own(1) == "own photograph at place 8 of 10"


def test_queries_and_candidates_are_of_different_modalities() -> None:
    for direction in directions(retrieval(at_ranks(2, 0, 0))):
        step = query_steps(direction)[0]
        assert (step.query.picture is None) != (step.rows[0].candidate.picture is None)


def test_a_caption_is_cut() -> None:
    of_images, _ = directions(retrieval(at_ranks(0), ["word " * 1000]))
    assert len(of_images.rows(0)[0].candidate.text) == 300


def test_the_middle_of_few_is_all_of_them() -> None:
    ranks = at_ranks(3, 2, 1, 0).ranks
    assert middle_of(ranks, 2).tolist() == [2, 1]
    assert middle_of(ranks, 9).tolist() == [3, 2, 1, 0]


def test_several_datasets_share_the_room() -> None:
    ranked = at_ranks(*range(20, 0, -1), 0)
    assert [len(choose_queries(ranked, num_datasets)) for num_datasets in (1, 2, 9)] == [7, 5, 5]
