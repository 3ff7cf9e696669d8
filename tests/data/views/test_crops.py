import numpy as np
import pytest
from PIL import Image

from cosmos.config.params import ViewParams
from cosmos.data.views.crops import ImageViews, resize_crop
from tests.data.views.examples import detailed_picture


def test_crops_have_the_documented_form() -> None:
    views = ImageViews(ViewParams(image_size=32, local_size=16, num_local_crops=5))
    global_crops, local_crops = views.crop(detailed_picture(90, 60), np.random.default_rng(0))
    assert global_crops.pixels.shape == (2, 32, 32, 3)
    assert local_crops.pixels.shape == (5, 16, 16, 3)
    assert global_crops.pixels.dtype == local_crops.pixels.dtype == np.uint8
    assert (len(global_crops.draws), len(local_crops.draws)) == (2, 5)


def test_no_local_crops_are_an_empty_array() -> None:
    views = ImageViews(ViewParams(image_size=32, local_size=16, num_local_crops=0))
    assert views.crop(detailed_picture(90, 60), np.random.default_rng(0))[1].pixels.shape == (0, 16, 16, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 2)])
def test_images_of_a_few_pixels_have_views(size: tuple[int, int]) -> None:
    views = ImageViews(ViewParams(image_size=16, local_size=8))
    image = Image.new("RGB", size, (10, 20, 30))
    for crops in views.crop(image, np.random.default_rng(0)):
        assert (crops.pixels == (10, 20, 30)).all()


@pytest.mark.parametrize(
    "extent", [(500, 375), (320, 300), (224, 224), (150, 113), (60, 45), (9, 12), (1, 1)]
)
@pytest.mark.parametrize("size", [224, 96, 17])
def test_resizing_is_within_two_levels_of_pillows(extent: tuple[int, int], size: int) -> None:
    picture = detailed_picture(500, 375)
    corner = np.array([500, 375]) - np.array(extent)
    box = (*corner, 500, 375)
    expected = np.asarray(picture.crop(box).resize((size, size), Image.Resampling.BICUBIC), np.int64)
    difference = np.abs(resize_crop(np.asarray(picture), corner, np.array(extent), size) - expected)
    assert difference.max() <= 2
    assert difference.mean() < 0.05


def test_views_are_flipped_as_drawn() -> None:
    views, picture = ImageViews(ViewParams(image_size=32, local_size=16)), detailed_picture(90, 60)
    crops, _ = views.crop(picture, np.random.default_rng(3))
    for crop, draw in zip(crops.pixels, crops.draws, strict=True):
        resized = resize_crop(np.asarray(picture), draw["corner"], draw["extent"], 32)
        assert np.array_equal(crop, resized[:, ::-1] if draw["is_flipped"] else resized)
    assert set(crops.draws["is_flipped"]) == {True, False}, "another seed is needed"
