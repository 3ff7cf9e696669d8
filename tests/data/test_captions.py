import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.data.captions import (
    DREAMLIP_GENERATED,
    DREAMLIP_KEYS,
    MAX_CAPTION_CHARACTERS,
    caption_form,
    captions_in,
    clean_caption,
    split_sentences,
)

texts = st.text(max_size=20)
cells = texts | st.lists(texts | st.none() | st.integers(), max_size=3)
annotations = st.dictionaries(
    st.sampled_from([*DREAMLIP_KEYS, "original_caption", "vlm_caption", "caption", "captions", "url"]), cells
)


@given(annotations | cells)
def test_what_was_put_in_form_stays_as_it_is(value: Any) -> None:
    try:
        schema, annotation = caption_form(value)
    except ValueError:
        return
    assert captions_in(schema, json.loads(json.dumps(annotation))) == annotation
    json.dumps(annotation, ensure_ascii=False).encode()


def test_sentences_end_at_full_stops_line_ends_and_end_marks() -> None:
    assert split_sentences("A dog.  A cat</s>A cow\n\nA pig. ") == ["A dog", "A cat", "A cow", "A pig"]


@pytest.mark.parametrize("value", ["a dog", ["a dog"], {"caption": "a dog"}, {"captions": ["a dog", " "]}])
def test_plain_captions_come_in_many_forms(value: Any) -> None:
    assert caption_form(value) == ("captions", {"captions": ["a dog"]})


def test_pixelprose_takes_the_generated_caption_under_either_of_its_names() -> None:
    expected = ("pixelprose", {"original_caption": "dog", "caption": "A dog. It runs."})
    assert (
        caption_form({"original_caption": "dog", "vlm_caption": "A dog. It runs.", "caption": "x"})
        == expected
    )
    assert caption_form({"original_caption": "dog", "caption": "A dog. It runs."}) == expected


def test_dreamlip_splits_generated_captions_and_keeps_lists_and_the_raw_caption_whole() -> None:
    schema, annotation = caption_form(
        {
            "raw_caption": "Dog. Photo no. 3",
            "shortIB_captions": "A dog. It runs.",
            "longIB_captions": '["One. Two", "Three"]',
            "longSV_captions": "['It\\'s one', 'two']",
            "longLLA_captions": ["a. b"],
        }
    )
    assert schema == "dreamlip"
    assert annotation == {key: [] for key in DREAMLIP_GENERATED} | {
        "raw_caption": ["Dog. Photo no. 3"],
        "shortIB_captions": ["A dog", "It runs"],
        "longIB_captions": ["One. Two", "Three"],
        "longSV_captions": ["It's one", "two"],
        "longLLA_captions": ["a. b"],
    }


@pytest.mark.parametrize("cell", ["[__import__('os').getcwd()]", "[" * 5000 + "]", "[-" + "-" * 90000 + "1]"])
def test_a_cell_that_only_looks_like_a_list_is_text_and_is_never_run(cell: str) -> None:
    assert caption_form({"raw_caption": cell})[1]["raw_caption"] == [clean_caption(cell)]


def test_img2dataset_s_caption_is_the_raw_one_of_dreamlip() -> None:
    assert caption_form({"caption": "dog", "longSV_captions": "A dog."})[1]["raw_caption"] == ["dog"]


@pytest.mark.parametrize("value", [None, 3, [], [3], {}, {"caption": None}, {"raw_caption": " "}, "  "])
def test_what_has_no_captions_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="no captions"):
        caption_form(value)


def test_captions_in_another_schema_are_refused() -> None:
    with pytest.raises(ValueError, match=r"form 'captions'.*'dreamlip'"):
        captions_in("dreamlip", ["a dog"])


def test_long_captions_are_cut_and_half_characters_dropped() -> None:
    assert len(clean_caption("x" * 20_000)) == MAX_CAPTION_CHARACTERS
    assert clean_caption(" a\ud800b ") == "ab"
