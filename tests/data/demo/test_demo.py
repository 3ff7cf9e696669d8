import io
import pickle
from functools import partial
from typing import Any

import pytest
from PIL import Image

from cosmos.data.demo import draw_sample
from cosmos.data.demo.scene import HELD_OUT_PAIRS
from cosmos.data.sample import Sample
from cosmos.params import DataParams, DemoParams
from tests.data.demo.reading import mentions

PARAMS = DataParams(demo=DemoParams(image_size=64))


def pairs(sample: Sample) -> set[tuple[str, str]]:
    """Colour and shape of each object, from the raw caption."""
    return {(m["colour"], m["shape"]) for m in mentions(sample.annotation["raw_caption"][0])}


def test_a_sample_is_a_pure_function_of_seed_split_and_index() -> None:
    one = draw_sample(PARAMS, "train", 7)
    assert one == draw_sample(PARAMS, "train", 7)
    others = [draw_sample(PARAMS, "train", 8), draw_sample(PARAMS, "heldout", 7)]
    others.append(draw_sample(PARAMS.model_copy(update={"seed": 1}), "train", 7))
    assert all(other.image != one.image and other.annotation != one.annotation for other in others)


def test_samples_are_named_by_split_and_index() -> None:
    assert draw_sample(PARAMS, "train", 123).key == "train-000123"


def test_images_are_jpegs_of_the_size_asked_for() -> None:
    with Image.open(io.BytesIO(draw_sample(PARAMS, "heldout", 0).image)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")


def test_samples_can_be_drawn_in_another_process() -> None:
    call = pickle.loads(pickle.dumps(partial(draw_sample, PARAMS, "train", 3)))
    assert call() == draw_sample(PARAMS, "train", 3)


def test_few_held_out_scenes_share_a_raw_caption() -> None:
    captions = {draw_sample(PARAMS, "heldout", i).annotation["raw_caption"][0] for i in range(500)}
    assert len(captions) >= 495


def test_training_scenes_never_show_a_pair_of_colour_and_shape_that_is_held_out() -> None:
    held_out = set(HELD_OUT_PAIRS)
    assert not any(pairs(draw_sample(PARAMS, "train", i)) & held_out for i in range(200))
    share = sum(bool(pairs(draw_sample(PARAMS, "heldout", i)) & held_out) for i in range(200)) / 200
    assert 0.1 < share < 0.5


@pytest.mark.parametrize(("split", "index"), [("test", 0), ("train", -1)])
def test_a_sample_that_there_cannot_be_is_refused(split: Any, index: int) -> None:
    with pytest.raises(ValueError, match=f"no sample '{split}' {index}; ask for train or heldout, from 0 on"):
        draw_sample(PARAMS, split, index)
