from pathlib import Path
from typing import Any

import pytest

from cosmos.config.evaluate_params import ClassificationSet
from cosmos.config.params import DataParams, Params
from cosmos.data.demo_world.evaluation_sets import write_classification
from cosmos.data.demo_world.scene import COLOURS
from cosmos.evaluation.card import OpenDataset
from cosmos.evaluation.classification import published_sets
from cosmos.evaluation.classification.sets import CARDS, own_card
from cosmos.evaluation.prompts import CLASSIFICATION_PROMPTS
from tests.evaluation.classification.forms import classes_of, write_jpegs, write_lines
from tests.evaluation.examples import ColourEncoder, complete, embedder, machine, write_images


def test_the_suite_knows_the_demo_world_and_the_published_datasets() -> None:
    assert [card.name for card in CARDS] == ["demo", *(card.name for card in published_sets.CARDS)]


def test_the_demo_worlds_classes_are_its_colours(tmp_path: Path) -> None:
    params = Params(data=DataParams(name="small"))
    folder = tmp_path / "data" / "small" / "evaluation"
    write_classification(folder / "classification", 16, seed=0)
    complete(folder)
    opened = CARDS[0].open(params, machine(tmp_path))
    assert opened.size == {"num_images": 200, "num_classes": 10}
    assert sorted(set(classes_of(opened))) == sorted(COLOURS)


def test_a_demo_world_that_was_not_drawn_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`cosmos prepare` draws it"):
        CARDS[0].open(Params(), machine(tmp_path))


def write_own(folder: Path) -> ClassificationSet:
    """Three colours: two images of each, of which one red one is blue."""
    names = {f"{colour}/{i}.png": colour for colour in ("red", "green", "blue") for i in range(2)}
    write_images(folder / "own", names | {"red/1.png": "blue"})
    return ClassificationSet(images="own", templates=("{}",))


def open_own(described: ClassificationSet, folder: Path) -> OpenDataset:
    return own_card("mine", described).open(Params(), machine(folder))


def test_folders_of_ones_own_are_measured(tmp_path: Path) -> None:
    opened = open_own(write_own(tmp_path), tmp_path)
    found = opened.measure(embedder(tmp_path, ColourEncoder())).figures
    assert opened.size == {"num_images": 6, "num_classes": 3}
    assert found == pytest.approx(
        {
            "top1": 5 / 6,
            "mean_per_class": 5 / 6,
            "ties": 1 / 6,  # blue is as far from red as from green
            "accuracy/red": 1 / 2,
            "accuracy/green": 1,
            "accuracy/blue": 1,
        }
    )


def test_a_folders_name_is_its_classs_name(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "own", ["hot_dog/a.jpg", "apple-pie/b.JPEG", "apple-pie/more/c.jpg"])
    opened = open_own(ClassificationSet(images="own"), tmp_path)
    assert classes_of(opened) == ["apple pie", "apple pie", "hot dog"]


def test_hidden_folders_and_other_files_are_passed_over(tmp_path: Path) -> None:
    described = write_own(tmp_path)
    write_jpegs(tmp_path / "own", [".trash/1.jpg", "red/._0.jpg", "red/.thumbnails/0.jpg"])
    (tmp_path / "own" / "red" / "notes.txt").write_text("red")
    assert open_own(described, tmp_path).size == {"num_images": 6, "num_classes": 3}


def test_linked_folders_are_measured_like_others(tmp_path: Path) -> None:
    described = write_own(tmp_path)
    write_jpegs(tmp_path / "disk", ["yellow/1.jpg", "more/2.jpg"])
    (tmp_path / "own" / "yellow").symlink_to(tmp_path / "disk" / "yellow")
    (tmp_path / "own" / "red" / "more").symlink_to(tmp_path / "disk" / "more")
    (tmp_path / "own" / "red" / "more" / "up").symlink_to(tmp_path / "own" / "red")
    assert open_own(described, tmp_path).size == {"num_images": 8, "num_classes": 4}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("red/2.HEIC", r"red: images in formats that are not decoded: .*red/2\.HEIC \(1 in all\); convert"),
        ("loose.jpg", r"own: images in no class's folder: .*own/loose\.jpg"),
        ("gone", r"own: links to what is not there: .*own/gone"),
        ("red/gone", r"red: links to what is not there: .*red/gone"),
    ],
)
def test_no_image_is_left_out_without_a_word(tmp_path: Path, name: str, message: str) -> None:
    described = write_own(tmp_path)
    path = tmp_path / "own" / name
    path.symlink_to(tmp_path / "nothing") if path.name == "gone" else path.write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        open_own(described, tmp_path)


def test_names_of_ones_own_are_read_from_a_file(tmp_path: Path) -> None:
    described = write_own(tmp_path).model_copy(update={"class_names": "names.txt"})
    write_lines(tmp_path / "names.txt", ["sky", "grass", "wine"])
    opened = open_own(described, tmp_path)
    assert sorted(set(classes_of(opened))) == ["grass", "sky", "wine"]
    assert opened.sources == (tmp_path / "names.txt",)


def test_shipped_prompts_fit_a_dataset_in_folders(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "own", (f"{number}/1.jpg" for number in range(10)))
    opened = open_own(ClassificationSet(images="own", prompts="cifar10"), tmp_path)
    assert classes_of(opened) == list(CLASSIFICATION_PROMPTS["cifar10"].class_names)


@pytest.mark.parametrize(
    ("changes", "names", "message"),
    [
        ({"prompts": "cifar"}, [], r"own\.mine\.prompts: no prompts of 'cifar'; near it: cifar10"),
        ({"prompts": "cifar10"}, [], r"own: 3 folders of classes for 10 class names"),
        ({"prompts": "cifar10", "class_names": "names.txt"}, ["a"], "both given; remove one"),
        ({"templates": ("a {}", "a photo")}, [], r"templates: 'a photo' has no \{\}"),
        ({"class_names": "names.txt"}, ["a", "", "c"], r"names\.txt, line 2: no class name"),
        ({"class_names": "names.txt"}, ["a", "b"], r"3 folders of classes for 2 class names"),
        ({"class_names": "none.txt"}, [], r"none\.txt: cannot be read \(No such file or directory\)"),
        ({"images": "nowhere"}, [], r"nowhere: no such folder"),
        ({"images": "own/red"}, [], r"red: no folders in it; make a folder for each class"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    changes: dict[str, Any], names: list[str], message: str, tmp_path: Path
) -> None:
    write_lines(tmp_path / "names.txt", names)
    described = write_own(tmp_path).model_copy(update=changes)
    with pytest.raises(ValueError, match=message):
        open_own(described, tmp_path)


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    described = write_own(tmp_path)
    (tmp_path / "own" / "yellow").mkdir()
    with pytest.raises(ValueError, match="yellow: no image in it"):
        open_own(described, tmp_path)


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    described = write_own(tmp_path)
    (tmp_path / "own" / "red" / "1.png").write_bytes(b"not an image")
    opened = open_own(described, tmp_path)
    with pytest.raises(ValueError, match=r"red/1\.png: image cannot be decoded"):
        opened.measure(embedder(tmp_path, ColourEncoder()))
