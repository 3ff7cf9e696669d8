import base64
import io

import numpy as np
import pytest
from PIL import Image

from cosmos.report.galleries.pictures import (
    MAP_SIDE,
    EmbeddedPicture,
    heat_picture,
    segmentation_panels,
    stretch,
    thumbnail,
)
from cosmos.report.segmentations import SegmentationSample
from tests.report.galleries.examples import GreyPictures


def decoded(picture: EmbeddedPicture) -> Image.Image:
    head, _, content = picture.uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_a_thumbnail_keeps_the_shape_of_its_image() -> None:
    picture = thumbnail(GreyPictures(3), 2, "a picture", side=40)
    assert decoded(picture).size == (picture.width, picture.height) == (40, 20)
    assert picture.text == "a picture"


def test_an_image_that_cannot_be_read_leaves_its_reason() -> None:
    picture = thumbnail(GreyPictures(3, damaged=[1]), 1, "a picture")
    assert picture.uri == ""
    assert picture.text == "picture 1: cut off"


def test_a_map_is_lightest_at_its_highest_patch() -> None:
    weights = np.zeros((4, 4))
    weights[1, 2] = 0.3
    light = np.asarray(decoded(heat_picture(Image.new("RGB", (50, 50)), weights, "")).convert("L"), float)
    assert light.shape == (MAP_SIDE, MAP_SIDE)
    patches = light.reshape(4, MAP_SIDE // 4, 4, -1).mean(axis=(1, 3))
    assert np.unravel_index(patches.argmax(), (4, 4)) == (1, 2)


@pytest.mark.parametrize("weights", [[[0.5, 0.5]], [[np.nan, 1.0]], [[np.inf, 1.0]]])
def test_a_map_without_a_highest_patch_is_dark(weights: list[list[float]]) -> None:
    assert stretch(np.array(weights)).tolist() == [[0.0, 0.0]]


def test_labels_keep_their_colours_exactly() -> None:
    labels = np.array([[0, 1], [1, 255]], np.uint8)
    sample = SegmentationSample(Image.new("RGB", (2, 2)), labels, np.zeros_like(labels), ["sky", "red"])
    panels = segmentation_panels(sample)
    colours = decoded(panels.label).convert("RGB").getcolors()
    assert colours
    shown = {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in colours}  # type: ignore[misc]
    assert shown == {colour for colour, _ in panels.legend}
    assert [name for _, name in panels.legend] == ["sky", "red", "ignored"]
    assert panels.accuracy == pytest.approx(1 / 3)
