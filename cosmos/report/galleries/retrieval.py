"""Queries of retrieval to look at: the worst and the typical misses and hits, with their first candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cosmos.report.galleries.content import divide_room
from cosmos.report.galleries.pictures import LARGE_SIDE, EmbeddedPicture, thumbnail
from cosmos.report.text import cut_text
from cosmos.run.statistics.answers import IntArray, RankedAnswers, RetrievalAnswers

NUM_MISSES = 3
"""Number of the worst misses that are shown of a direction, and of the typical ones."""
NUM_HITS = 2
"""Number of the narrowest hits that are shown of a direction, and of the typical ones."""


@dataclass(frozen=True)
class ShownSample:
    """Photograph or caption on a page: one of `text` and `picture` is empty."""

    text: str
    picture: EmbeddedPicture | None


@dataclass(frozen=True)
class CandidateRow:
    """Candidate of a query, with its place by score."""

    place: int
    score: float
    candidate: ShownSample
    is_own: bool


@dataclass(frozen=True)
class QueryStep:
    """Query with its first candidates, and the best of its own."""

    title: str
    remark: str
    query: ShownSample
    rows: Sequence[CandidateRow]


@dataclass(frozen=True)
class Direction:
    """Direction of retrieval: queries of one modality, candidates of the other."""

    title: str
    own: str
    """name of a query's own candidate"""
    ranked: RankedAnswers
    num_candidates: int
    is_own: Callable[[int, int], bool]
    """says of a query and a candidate if they belong together"""
    show_query: Callable[[int], ShownSample]
    show_candidate: Callable[[int], ShownSample]

    def place_of_own(self, query: int) -> str:
        """Return the place of a query's best own candidate, in words."""
        return f"{self.own} at place {self.ranked.ranks[query] + 1:,} of {self.num_candidates:,}"

    def rows(self, query: int) -> list[CandidateRow]:
        """Return the first candidates of a query, and its best own one where that is not among them."""
        ranked = self.ranked
        first = zip(ranked.first[query].tolist(), ranked.first_scores[query].tolist(), strict=True)
        rows = [self._row(query, place, *candidate) for place, candidate in enumerate(first, 1)]
        if any(row.is_own for row in rows):
            return rows
        own = int(ranked.own[query]), float(ranked.own_scores[query])
        return [*rows, self._row(query, int(ranked.ranks[query]) + 1, *own)]

    def _row(self, query: int, place: int, candidate: int, score: float) -> CandidateRow:
        is_own = self.is_own(query, candidate)
        return CandidateRow(place, score, self.show_candidate(candidate), is_own)


def directions(answers: RetrievalAnswers) -> tuple[Direction, Direction]:
    """Return both directions: captions for photographs, and photographs for captions."""
    owners = answers.caption_to_image

    def photograph(index: int) -> ShownSample:
        return ShownSample("", thumbnail(answers.images, index, f"photograph {index}"))

    def query_photograph(index: int) -> ShownSample:
        return ShownSample("", thumbnail(answers.images, index, f"photograph {index}", LARGE_SIDE))

    def caption(index: int) -> ShownSample:
        return ShownSample(cut_text(answers.captions[index]), None)

    of_images = Direction(
        "From photographs to captions",
        "own caption",
        answers.of_images,
        len(answers.captions),
        lambda image, text: bool(owners[text] == image),
        query_photograph,
        caption,
    )
    of_captions = Direction(
        "From captions to photographs",
        "own photograph",
        answers.of_captions,
        len(answers.images),
        lambda text, image: bool(owners[text] == image),
        caption,
        photograph,
    )
    return of_images, of_captions


def query_steps(direction: Direction, num_datasets: int = 1) -> list[QueryStep]:
    """Return the queries to look at, with their candidates: fewer where several datasets share the room."""
    return [
        QueryStep(title, direction.place_of_own(query), direction.show_query(query), direction.rows(query))
        for title, query in choose_queries(direction.ranked, num_datasets)
    ]


def choose_queries(ranked: RankedAnswers, num_datasets: int = 1) -> list[tuple[str, int]]:
    """Return queries to look at, each with its kind: misses from the worst on, then the narrowest hits.

    A miss has a candidate before its own; the worst has most of them. Typical ones are in the middle.
    """
    worst_first = np.lexsort((ranked.margins, -ranked.ranks))
    is_miss = ranked.ranks[worst_first] > 0
    misses, hits = worst_first[is_miss], worst_first[~is_miss]
    num_misses, num_hits = (divide_room(count, num_datasets) for count in (NUM_MISSES, NUM_HITS))
    kinds = (
        ("Worst miss", misses[:num_misses]),
        ("Typical miss", middle_of(misses[num_misses:], num_misses)),
        ("Narrowest hit", hits[:num_hits]),
        ("Typical hit", middle_of(hits[num_hits:], num_hits)),
    )
    return [(title, int(query)) for title, queries in kinds for query in queries]


def middle_of(ordered: IntArray, count: int) -> IntArray:
    """Return `count` elements from the middle, or all of fewer."""
    start = max(0, (len(ordered) - count) // 2)
    return ordered[start : start + count]
