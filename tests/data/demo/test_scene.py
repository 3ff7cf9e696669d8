import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosmos.data.demo.scene import (
    ALL_PAIRS,
    CLASHES,
    HELD_OUT_PAIRS,
    SHAPES,
    STREAMS,
    TRAIN_PAIRS,
    draw_count,
    generator,
    make_scene,
)

seeds = st.integers(0, 10_000)


@settings(deadline=None)
@given(seeds, st.integers(1, 4))
def test_objects_lie_inside_the_image_apart_from_each_other(seed: int, count: int) -> None:
    objects = make_scene(np.random.default_rng(seed), ALL_PAIRS, count).objects
    assert len(objects) == count
    assert all(o.radius < min(o.x, o.y) and max(o.x, o.y) < 1 - o.radius for o in objects)
    for i, a in enumerate(objects):
        for b in objects[:i]:
            assert max(abs(a.x - b.x), abs(a.y - b.y)) > a.radius + b.radius


@settings(deadline=None)
@given(seeds)
def test_no_two_objects_share_colour_and_shape_so_that_naming_both_names_one(seed: int) -> None:
    objects = make_scene(np.random.default_rng(seed), ALL_PAIRS, 4).objects
    assert len({(o.colour, o.shape) for o in objects}) == 4


@settings(deadline=None)
@given(seeds)
def test_objects_stand_out_from_the_background(seed: int) -> None:
    scene = make_scene(np.random.default_rng(seed), ALL_PAIRS, 4)
    assert not {o.colour for o in scene.objects} & CLASHES.get(scene.background.colour, set())


@settings(deadline=None)
@given(seeds)
def test_small_objects_are_smaller_than_large_ones(seed: int) -> None:
    for item in make_scene(np.random.default_rng(seed), ALL_PAIRS, 4).objects:
        assert (item.radius < 0.15) == (item.size == "small")


def test_every_shape_is_held_out_in_one_colour_and_trained_on_in_the_others() -> None:
    assert {shape for _, shape in HELD_OUT_PAIRS} == set(SHAPES)
    assert not set(HELD_OUT_PAIRS) & set(TRAIN_PAIRS)
    assert set(HELD_OUT_PAIRS) | set(TRAIN_PAIRS) == set(ALL_PAIRS)


def test_scenes_have_one_to_four_objects_and_all_counts_occur() -> None:
    assert {draw_count(generator(0, "train", i)) for i in range(60)} == {1, 2, 3, 4}


@pytest.mark.parametrize("stream", STREAMS)
def test_streams_and_indices_have_their_own_randomness(stream: str) -> None:
    first = generator(3, stream, 5).random()
    assert first == generator(3, stream, 5).random()
    others = [generator(3, other, 5) for other in STREAMS if other != stream]
    others += [generator(3, stream, 6), generator(4, stream, 5)]
    assert first not in [other.random() for other in others]
