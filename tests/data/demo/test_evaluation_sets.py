import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cosmos.data.demo import write_evaluation_sets
from cosmos.data.demo.captions import NOUNS
from cosmos.data.demo.evaluation_sets import COMPLETE_FILE, negatives, said, stacked_pair
from cosmos.data.demo.scene import SHAPES, generator
from cosmos.params import DataParams, DemoParams
from tests.data.demo.reading import is_true, mentions

PARAMS = DataParams(demo=DemoParams(image_size=32))
FILES = ("replace_att", "replace_obj", "replace_rel")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_evaluation_sets(PARAMS, folder)
    return folder


@settings(deadline=None)
@given(st.integers(0, 100_000))
def test_captions_are_true_and_negatives_false_of_the_scene(index: int) -> None:
    rng = generator(0, "perception", index)
    scene = stacked_pair(rng)
    assert is_true(said(*scene.objects), scene)
    for negative in negatives(scene, rng).values():
        assert not is_true(negative, scene), negative


@settings(deadline=None)
@given(st.integers(0, 100_000))
def test_a_negative_differs_in_exactly_one_thing_of_its_files_kind(index: int) -> None:
    rng = generator(0, "perception", index)
    scene = stacked_pair(rng)
    caption = said(*scene.objects)
    told = negatives(scene, rng)
    assert tuple(told) == FILES
    for name, negative in told.items():
        pairs = zip(mentions(caption), mentions(negative), strict=True)
        changes = [k for a, b in pairs for k in a.keys() | b.keys() if a.get(k) != b.get(k)]
        moved = [
            word for word in ("above", "below") if (word in caption.split()) != (word in negative.split())
        ]
        assert (len(changes), len(moved)) == ((0, 2) if name == "replace_rel" else (1, 0))
        assert set(changes) <= ({"shape"} if name == "replace_obj" else {"colour", "texture", "size"})


def test_every_segmented_image_has_a_mask_of_its_size_with_labels_of_the_class_file(sets: Path) -> None:
    lines = (sets / "segmentation" / "classes.txt").read_text().splitlines()
    assert lines[0].startswith("background, ")
    assert [tuple(line.split(", ")) for line in lines[1:]] == [NOUNS[shape] for shape in SHAPES]
    images = sorted((sets / "segmentation" / "images").glob("*.jpg"))
    masks = sorted((sets / "segmentation" / "masks").glob("*.png"))
    assert [image.stem for image in images] == [mask.stem for mask in masks]
    assert len(images) == 200
    labels = [np.asarray(Image.open(mask)) for mask in masks]
    assert all(label.shape == (32, 32) and label.dtype == np.uint8 for label in labels)
    assert set(np.unique(np.stack(labels))) == set(range(len(lines)))


def test_every_class_folder_has_the_same_number_of_images(sets: Path) -> None:
    folders = sorted((sets / "classification").iterdir())
    assert [folder.name for folder in folders] == sorted(SHAPES)
    assert {len(list(folder.glob("*.jpg"))) for folder in folders} == {25}


@pytest.mark.parametrize("name", FILES)
def test_perception_files_have_sugarcrepes_form(sets: Path, name: str) -> None:
    items = json.loads((sets / "perception" / f"{name}.json").read_text())
    assert len(items) == 200
    for item in items.values():
        assert item.keys() == {"filename", "caption", "negative_caption"}
        assert (sets / "perception" / "images" / item["filename"]).is_file()


def state(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_complete_sets_are_left_alone(sets: Path) -> None:
    before = state(sets)
    write_evaluation_sets(PARAMS, sets)
    assert state(sets) == before


@pytest.mark.parametrize("note", ["{", "[]", "{}", '{"made_from": {"image_size": 32, "seed": 0}}'])
def test_sets_with_a_broken_note_are_written_again_the_same(sets: Path, note: str) -> None:
    note_file, picture = sets / COMPLETE_FILE, sets / "segmentation" / "images" / "0000.jpg"
    whole, image = note_file.read_text(), picture.read_bytes()
    note_file.write_text(note)
    picture.unlink()
    write_evaluation_sets(PARAMS, sets)
    assert (note_file.read_text(), picture.read_bytes()) == (whole, image)


def test_a_missing_file_is_written_again(sets: Path) -> None:
    mask = sets / "segmentation" / "masks" / "0007.png"
    content = mask.read_bytes()
    mask.unlink()
    write_evaluation_sets(PARAMS, sets)
    assert mask.read_bytes() == content


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "evaluation").write_text("")
    with pytest.raises(ValueError, match="evaluation: evaluation sets need a folder here; remove this file"):
        write_evaluation_sets(PARAMS, tmp_path / "evaluation")
