import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cosmos.config.params import DataParams, DemoParams
from cosmos.data.captions import DREAMLIP_KEYS
from cosmos.data.demo_world import draw_sample, evaluation_sets, write_evaluation_sets
from cosmos.data.demo_world.captions import describe_scene, full_phrase
from cosmos.data.demo_world.drawing import draw_colour_mask
from cosmos.data.demo_world.evaluation_sets import caption_pair, make_pair_scene
from cosmos.data.demo_world.scene import CLASHES, COLOURS, change_attribute, make_scene, spatial_relation
from cosmos.data.drawn_sets import find_changed_file
from tests.data.examples import flip_bit

PARAMS = DataParams(demo=DemoParams(image_size=64))
seeds = st.integers(0, 10_000)


def test_a_sample_is_a_pure_function_of_seed_split_and_index() -> None:
    assert draw_sample(PARAMS, "train", 7) == draw_sample(PARAMS, "train", 7)
    others = [draw_sample(PARAMS, "train", 8), draw_sample(PARAMS, "heldout", 7)]
    others.append(draw_sample(PARAMS.model_copy(update={"seed": 1}), "train", 7))
    assert draw_sample(PARAMS, "train", 7).image not in [other.image for other in others]


def test_images_have_the_size_asked_for_and_annotations_dreamlips_form() -> None:
    sample = draw_sample(PARAMS, "train", 0)
    assert Image.open(io.BytesIO(sample.image)).size == (64, 64)
    assert tuple(sorted(sample.annotation)) == tuple(sorted(DREAMLIP_KEYS))
    assert all(isinstance(s, str) for sentences in sample.annotation.values() for s in sentences)
    assert all(len(sample.annotation[k]) > 1 for k in DREAMLIP_KEYS if k.startswith("long"))


def test_few_held_out_scenes_share_a_raw_caption() -> None:
    captions = {draw_sample(PARAMS, "heldout", i).annotation["raw_caption"][0] for i in range(200)}
    assert len(captions) >= 195


@settings(deadline=None)
@given(seeds)
def test_scenes_have_one_to_four_objects_apart_from_each_other_and_visible(seed: int) -> None:
    scene = make_scene(np.random.default_rng(seed))
    assert 1 <= len(scene.objects) <= 4
    assert len({(o.is_high, o.x < 0.5) for o in scene.objects}) == len(scene.objects)
    for item in scene.objects:
        assert item.radius < item.x < 1 - item.radius
        assert item.radius < item.y < 1 - item.radius
        assert item.colour not in CLASHES.get(scene.background, set())


@settings(deadline=None)
@given(seeds)
def test_the_raw_caption_names_every_object_and_is_true(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = make_scene(rng)
    raw = describe_scene(scene, rng)["raw_caption"][0]
    assert all(full_phrase(item) in raw for item in scene.objects)
    assert raw.endswith(f"on a {scene.background} background")
    if len(scene.objects) > 1:
        first, second = scene.objects[:2]
        assert f"{full_phrase(first)} {spatial_relation(first, second)} {full_phrase(second)}" in raw


@settings(deadline=None)
@given(seeds)
def test_relations_agree_with_places(seed: int) -> None:
    scene = make_scene(np.random.default_rng(seed), num_objects=2)
    first, second = scene.objects
    if spatial_relation(first, second) == "above":
        assert first.y < second.y
        assert spatial_relation(second, first) == "below"


@given(seeds)
def test_captions_have_no_left_or_right_since_views_are_flipped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = " ".join(s for sentences in describe_scene(make_scene(rng), rng).values() for s in sentences)
    assert not {"left", "right"} & set(text.split())


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_masks_show_every_object_where_it_is(seed: int) -> None:
    scene = make_scene(np.random.default_rng(seed))
    mask = np.asarray(draw_colour_mask(scene, 96))
    assert set(np.unique(mask)) == {0, *(1 + COLOURS.index(o.colour) for o in scene.objects)}
    for item in scene.objects:
        if item.shape != "ring":  # whose middle is empty
            assert mask[int(item.y * 96), int(item.x * 96)] == 1 + COLOURS.index(item.colour)


@settings(deadline=None)
@given(seeds, st.sampled_from(["colour", "shape", "relation"]))
def test_a_negative_caption_differs_in_one_thing_and_is_false(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    scene = make_pair_scene(rng)
    caption, negative = caption_pair(scene, kind, rng)
    assert caption != negative
    assert len({full_phrase(item) for item in scene.objects}) == 2, (
        "twins would make an exchanged relation true"
    )
    if kind != "relation":
        other = change_attribute(np.random.default_rng(seed), scene, kind)
        assert sum(a != b for a, b in zip(scene.objects, other.objects, strict=True)) == 1
        assert {getattr(o, kind) for o in other.objects} != {getattr(o, kind) for o in scene.objects}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Sets of a few images, which are drawn in a moment."""
    folder = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        for number in ("NUM_SEGMENTED", "NUM_PER_CLASS", "NUM_PER_FILE"):
            patch.setattr(evaluation_sets, number, 4)
        write_evaluation_sets(PARAMS, folder)
        yield folder


def test_segmentation_has_a_mask_of_known_labels_for_every_image(sets: Path) -> None:
    classes = (sets / "segmentation" / "classes.txt").read_text().splitlines()
    assert classes[1:] == list(COLOURS)
    images = sorted((sets / "segmentation" / "images").iterdir())
    assert images
    for image in images:
        mask = np.asarray(Image.open(sets / "segmentation" / "masks" / f"{image.stem}.png"))
        assert mask.dtype == np.uint8
        assert mask.max() < len(classes)


def test_every_class_has_a_folder_of_images(sets: Path) -> None:
    folders = sorted((sets / "classification").iterdir())
    assert [f.name for f in folders] == sorted(COLOURS)
    assert len({len(list(f.iterdir())) for f in folders}) == 1


@pytest.mark.parametrize("name", ["replace_att", "replace_obj", "replace_rel"])
def test_perception_files_have_sugarcrepes_form(sets: Path, name: str) -> None:
    items = json.loads((sets / "perception" / f"{name}.json").read_text())
    for item in items.values():
        assert item.keys() == {"filename", "caption", "negative_caption"}
        assert (sets / "perception" / "images" / item["filename"]).is_file()


def test_sets_that_are_complete_are_left_alone(sets: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in sets.rglob("*")}
    write_evaluation_sets(PARAMS, sets)
    assert {p: p.stat().st_mtime_ns for p in sets.rglob("*")} == before


@pytest.mark.parametrize("damage", ["an image deleted", "a bit flipped", "a record cut short"])
def test_sets_that_are_not_whole_are_drawn_again(sets: Path, damage: str) -> None:
    image, record = sets / "segmentation" / "images" / "0003.jpg", sets / "complete.json"
    before = image.read_bytes(), record.read_text()
    if damage == "an image deleted":
        image.unlink()
    elif damage == "a bit flipped":
        flip_bit(image, -100)
        assert find_changed_file(sets) == image
        assert find_changed_file(sets, "perception") is None
    else:
        record.write_text(before[1][:10])
    write_evaluation_sets(PARAMS, sets)
    assert (image.read_bytes(), record.read_text()) == before
