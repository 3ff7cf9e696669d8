import json
from collections import Counter
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.config.params import ViewParams
from cosmos.data.text_crops import CaptionMode, draw_captions, evaluation_captions, sentence_pool
from cosmos.errors import DamagedDataError

DREAMLIP = {
    "longSV_captions": ["l2a", "l2b"],
    "shortLLA_captions": ["s3"],
    "raw_caption": ["raw"],
    "longIB_captions": ["l1"],
    "shortIB_captions": ["s1"],
    "longLLA_captions": ["l3"],
    "shortSV_captions": ["s2"],
}
PIXELPROSE = {
    "original_caption": "IMG 7. jpg",
    "caption": "This image displays a cat. It sits\non a mat.</s> ..  Red",
}

sentences = st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=1, max_size=12, unique=True)


def draw(annotation: dict[str, Any], seed: int = 0, **views: Any) -> list[str]:
    return draw_captions(annotation, ViewParams(**views), np.random.default_rng(seed))


def test_a_dreamlip_pool_is_the_raw_caption_then_short_then_long_ones_by_model() -> None:
    assert sentence_pool(DREAMLIP, "textcrop") == ["raw", "s1", "s2", "s3", "l1", "l2a", "l2b", "l3"]
    assert sentence_pool(DREAMLIP, "random") == sentence_pool(DREAMLIP, "textcrop")


@pytest.mark.parametrize(
    ("mode", "pool"),
    [("raw", ["raw"]), ("short", ["s1", "s2", "s3"]), ("long", ["l1", "l2a", "l2b", "l3"])],
)
def test_raw_short_and_long_use_their_own_keys_only(mode: CaptionMode, pool: list[str]) -> None:
    assert sentence_pool(DREAMLIP, mode) == pool


def test_a_pixelprose_pool_is_the_original_caption_whole_and_the_others_sentences() -> None:
    pool = ["IMG 7. jpg", "This image displays a cat", "It sits", "on a mat", "Red"]
    assert sentence_pool(PIXELPROSE, "textcrop") == pool
    assert sentence_pool(PIXELPROSE, "raw") == ["IMG 7. jpg"]


def test_any_other_pool_is_the_list_of_captions() -> None:
    assert sentence_pool({"captions": ["A cat. Sits.", "b"]}, "textcrop") == ["A cat. Sits.", "b"]


def test_retrieval_is_measured_on_what_people_wrote() -> None:
    assert evaluation_captions(DREAMLIP) == ["raw"]
    assert evaluation_captions(PIXELPROSE) == ["IMG 7. jpg"]
    assert evaluation_captions({"captions": ["a", "b"]}) == ["a", "b"]


def test_blank_sentences_are_not_drawn() -> None:
    assert sentence_pool({"captions": ["", " \n", "a"]}, "random") == ["a"]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"captions": []}, "no sentences in captions"),
        ({"captions": [" "]}, "no sentences in captions"),
        ({"original_caption": "", "caption": "..."}, "no sentences in original_caption, caption"),
        ({}, "no sentences in shortIB_captions, shortSV_captions, shortLLA_captions"),
        ({"captions": "a cat"}, "captions is not a list of strings"),
        ({"shortIB_captions": ["a", 7]}, "shortIB_captions is not a list of strings"),
        ({"original_caption": ["a"]}, "original_caption is not a string"),
    ],
)
def test_an_annotation_without_usable_sentences_is_damaged(annotation: dict[str, Any], message: str) -> None:
    with pytest.raises(DamagedDataError, match=message):
        sentence_pool(annotation, "short")


@given(pool=sentences, seed=st.integers(0, 2**32), num_captions=st.integers(2, 20))
def test_plain_captions_repeat_no_sentence_before_all_are_used(
    pool: list[str], seed: int, num_captions: int
) -> None:
    captions = draw({"captions": pool}, seed, caption_mode="random", num_captions=num_captions)
    counts = Counter(captions)
    assert len(captions) == num_captions
    assert set(captions) <= set(pool)
    assert {counts[sentence] for sentence in pool} <= {
        num_captions // len(pool),
        -(-num_captions // len(pool)),
    }


@given(pool=sentences, seed=st.integers(0, 2**32), num_captions=st.integers(2, 20), most=st.integers(1, 8))
def test_text_crops_are_two_joined_captions_and_then_sentences(
    pool: list[str], seed: int, num_captions: int, most: int
) -> None:
    captions = draw({"captions": pool}, seed, num_captions=num_captions, max_sentences=most)
    assert len(captions) == num_captions
    for caption in captions[:2]:
        parts = caption.split(". ")
        assert 1 <= len(parts) <= most
        assert set(parts) <= set(pool)
        assert max(Counter(parts).values()) <= -(-len(parts) // len(pool))
    assert set(captions[2:]) <= set(pool)
    assert max(Counter(captions[2:]).values(), default=0) <= -(-(num_captions - 2) // len(pool))


def test_a_global_caption_has_each_number_of_sentences_equally_often() -> None:
    annotation, views = {"captions": list("abcdefghi")}, ViewParams(max_sentences=5)
    rng = np.random.default_rng(0)
    counts = Counter(len(draw_captions(annotation, views, rng)[0].split(". ")) for _ in range(2000))
    assert set(counts) == {1, 2, 3, 4, 5}
    assert min(counts.values()) > 320


def test_raw_captions_are_the_raw_caption_over_and_over() -> None:
    assert draw(DREAMLIP, caption_mode="raw", num_captions=4) == ["raw"] * 4


def test_equal_generators_draw_equal_captions_and_others_do_not() -> None:
    annotation = {"captions": [str(number) for number in range(100)]}
    assert draw(annotation, seed=1) == draw(annotation, seed=1) != draw(annotation, seed=2)


def test_generators_of_old_runs_draw_the_sentences_that_they_drew() -> None:
    forty = {"captions": [f"{i} things" for i in range(40)]}
    pools: list[dict[str, Any]] = [DREAMLIP, PIXELPROSE, {"captions": ["a"]}, forty]
    modes: tuple[CaptionMode, ...] = ("textcrop", "random", "raw")
    drawn = [
        draw(pool, seed, caption_mode=mode, num_captions=number)
        for pool in pools
        for mode in modes
        for seed in range(20)
        for number in (2, 3, 8)
    ]
    assert sha256(json.dumps(drawn).encode()).hexdigest()[:16] == "e7faf4e85c2c0a3e"
