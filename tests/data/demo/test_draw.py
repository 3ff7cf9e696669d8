import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cosmos.data.demo.draw import JPEG_QUALITY, RGB, draw, draw_mask, jpeg
from cosmos.data.demo.scene import (
    ALL_PAIRS,
    BACKGROUND_COLOURS,
    BACKGROUND_PATTERNS,
    COLOURS,
    SHAPES,
    TEXTURES,
    Background,
    Object,
    Scene,
    make_scene,
)

seeds = st.integers(0, 10_000)


def random_scene(seed: int) -> Scene:
    return make_scene(np.random.default_rng(seed), ALL_PAIRS, 4)


def eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(3))) > 0


def nearest(pixels: NDArray[np.uint8], names: list[str]) -> list[str]:
    """The named colour next to each pixel's hue, brightness left aside as far as light changes it."""
    named = np.array([RGB[name] for name in names])
    distance = np.linalg.norm(pixels[:, None].astype(float) - named[None], axis=2)
    return [names[i] for i in distance.argmin(axis=1)]


@settings(deadline=None, max_examples=30)
@given(seeds, st.sampled_from([32, 64, 96, 101]))
def test_masks_hold_the_labels_of_the_objects_where_they_are(seed: int, side: int) -> None:
    scene = random_scene(seed)
    image = draw_mask(scene, side)
    mask = np.asarray(image)
    assert (image.mode, image.size) == ("L", (side, side))
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    owner = np.zeros((side, side), dtype=np.uint8)
    for item in scene.objects:
        label = 1 + SHAPES.index(item.shape)
        near = np.hypot(x - item.x, y - item.y) < 1.25 * item.radius
        assert (mask[near] == label).any()
        owner[near & (mask == label)] = label
    assert np.array_equal(owner, mask)  # no label lies away from its object


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_the_picture_shows_the_objects_colours_inside_the_mask_and_the_backgrounds_outside(seed: int) -> None:
    scene = random_scene(seed)
    scene = Scene(
        tuple(replace(item, texture="plain") for item in scene.objects),
        replace(scene.background, pattern="plain"),
    )
    pixels = np.asarray(draw(scene, 96, np.random.default_rng(seed)))
    everything = np.asarray(draw_mask(scene, 96)) > 0
    names = [scene.background.colour, *(item.colour for item in scene.objects)]
    for item in scene.objects:
        inside = eroded(np.asarray(draw_mask(Scene((item,), scene.background), 96)) > 0)
        seen = nearest(pixels[inside], names)
        assert seen.count(item.colour) > 0.9 * len(seen)
    seen = nearest(pixels[eroded(~everything)], names)
    assert seen.count(scene.background.colour) > 0.9 * len(seen)


@pytest.mark.parametrize("texture", TEXTURES[1:])
@pytest.mark.parametrize("colour", COLOURS)
def test_a_texture_marks_a_good_part_of_an_object_and_leaves_a_good_part(texture: str, colour: str) -> None:
    plain = Scene(
        (Object("square", colour, "plain", "large", 0.5, 0.5, 0.19, 0),), Background("grey", "plain")
    )
    textured = replace(plain, objects=(replace(plain.objects[0], texture=texture),))
    pixels = [
        np.asarray(draw(scene, 96, np.random.default_rng(0)), dtype=float) for scene in (plain, textured)
    ]
    inside = eroded(np.asarray(draw_mask(plain, 96)) > 0)
    light = pixels[1][inside].mean(axis=1)
    marked = np.abs(light - np.median(pixels[0][inside].mean(axis=1))) > 25
    assert 0.15 < marked.mean() < 0.75


@pytest.mark.parametrize("name", COLOURS + BACKGROUND_COLOURS)
def test_every_colour_can_be_drawn(name: str) -> None:
    assert len(RGB[name]) == 3


@pytest.mark.parametrize("pattern", BACKGROUND_PATTERNS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_a_silhouette_of_its_own_on_every_background(shape: str, pattern: str) -> None:
    def silhouette(name: str) -> NDArray[np.uint8]:
        scene = Scene(
            (Object(name, "red", "plain", "large", 0.5, 0.5, 0.2, 0),), Background("cream", pattern)
        )
        draw(scene, 48, np.random.default_rng(0))
        return np.asarray(draw_mask(scene, 64)) > 0

    mine = silhouette(shape)
    for other in set(SHAPES) - {shape}:
        theirs = silhouette(other)
        assert (mine & theirs).sum() / (mine | theirs).sum() < 0.9, other


def test_the_same_scene_looks_different_each_time() -> None:
    scene = random_scene(1)
    first, second = (np.asarray(draw(scene, 64, np.random.default_rng(i)), dtype=float) for i in (0, 1))
    assert np.abs(first - second).mean() > 3


def test_pictures_are_jpegs_close_to_what_was_drawn() -> None:
    picture = draw(random_scene(0), 96, np.random.default_rng(0))
    with Image.open(io.BytesIO(jpeg(picture))) as image:
        assert (image.format, image.size) == ("JPEG", (96, 96))
        error = np.asarray(image, dtype=float) - np.asarray(picture)
    assert np.abs(error).mean() < 8
    assert JPEG_QUALITY >= 90
