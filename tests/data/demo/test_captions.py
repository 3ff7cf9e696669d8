import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmos.data.demo.captions import annotate, brief, full, listed
from cosmos.data.demo.scene import ALL_PAIRS, Background, Object, Scene, draw_count, make_scene
from cosmos.data.text_crops import DREAMLIP_KEYS, LONG_KEYS, RAW_KEYS, SHORT_KEYS
from tests.data.demo.reading import is_true, mentions

seeds = st.integers(0, 100_000)
RED_STAR = Object("star", "red", "plain", "small", 0.25, 0.25, 0.1, 0)
ORANGE_RING = Object("ring", "orange", "dotted", "large", 0.75, 0.7, 0.2, 0)


def described(seed: int) -> tuple[Scene, dict[str, list[str]]]:
    rng = np.random.default_rng(seed)
    scene = make_scene(rng, ALL_PAIRS, draw_count(rng))
    return scene, annotate(scene, rng)


@settings(deadline=None)
@given(seeds)
def test_every_sentence_is_true_of_the_scene(seed: int) -> None:
    scene, annotation = described(seed)
    for sentence in (s for sentences in annotation.values() for s in sentences):
        assert is_true(sentence, scene), sentence


@settings(deadline=None)
@given(seeds)
def test_the_raw_caption_tells_every_object_with_all_its_attributes_and_the_background(seed: int) -> None:
    scene, annotation = described(seed)
    (raw,) = annotation["raw_caption"]
    told = {(m["size"], m["colour"], m.get("texture", "plain"), m["shape"]) for m in mentions(raw)}
    assert told == {(o.size, o.colour, o.texture, o.shape) for o in scene.objects}
    assert scene.background.colour in raw


@settings(deadline=None)
@given(seeds)
def test_annotations_have_dreamlips_form(seed: int) -> None:
    _, annotation = described(seed)
    assert tuple(annotation) == DREAMLIP_KEYS["textcrop"]
    assert all(len(annotation[key]) == 1 for key in RAW_KEYS + SHORT_KEYS)
    assert all(len(annotation[key]) > 1 for key in LONG_KEYS)
    assert all(sentence.strip(" .") == sentence for key in annotation for sentence in annotation[key])


@settings(deadline=None)
@given(seeds)
def test_nothing_says_left_or_right_since_views_are_flipped(seed: int) -> None:
    _, annotation = described(seed)
    words = " ".join(sentence for sentences in annotation.values() for sentence in sentences).split()
    assert not {"left", "right"} & set(words)


def test_the_same_scene_is_worded_in_several_ways() -> None:
    scene = Scene((RED_STAR, ORANGE_RING), Background("cream", "plain"))
    annotations = [annotate(scene, np.random.default_rng(seed)) for seed in range(20)]
    for key in ("raw_caption", "shortIB_captions", "shortLLA_captions", *LONG_KEYS):
        assert len({tuple(annotation[key]) for annotation in annotations}) > 2, key


def test_a_plain_objects_texture_goes_without_saying() -> None:
    assert full(RED_STAR) == "a small red star"
    assert full(ORANGE_RING) == "a large orange dotted ring"
    assert brief(ORANGE_RING) == "an orange dotted ring"


def test_lists_read_as_people_write_them() -> None:
    assert [listed(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    "sentence",
    [
        "a small blue star above a large orange ring",
        "a small red star below a large orange ring",
        "a small red striped star above a large orange ring",
        "a small red star in the lower half",
        "a small red star on a grey background",
        "a small red star on a lined cream background",
        "a red star and a red star",
    ],
)
def test_the_reader_of_these_tests_knows_a_false_sentence(sentence: str) -> None:
    assert not is_true(sentence, Scene((RED_STAR, ORANGE_RING), Background("cream", "plain")))
