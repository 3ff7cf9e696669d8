"""Published classification datasets, with an image or two of each class."""

import builtins
import errno
import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100, Flowers102

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import NotPermittedError
from cosmos.evaluation.card import DatasetCard, OpenDataset
from cosmos.evaluation.classification.layouts import LabelledFiles
from cosmos.evaluation.classification.published_sets import CARDS, IMAGE_FILE_SETS, draw_split
from tests.evaluation.classification.forms import (
    WRITERS,
    classes_of,
    dataset_of,
    names_of,
    write_dtd,
    write_food101,
    write_imagenet,
    write_jpegs,
    write_lines,
    write_oxford_pets,
)
from tests.evaluation.examples import machine

BY_NAME = {published.name: published for published in IMAGE_FILE_SETS}
PARAMS = Params()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def accept_flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets torchvision take the lists that are there for the published ones."""
    files = {"label": "imagelabels.mat", "setid": "setid.mat"}
    known = {key: (file, md5(root / "flowers-102" / file)) for key, file in files.items()}
    monkeypatch.setattr(Flowers102, "_file_dict", known)


def open_small(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> OpenDataset:
    """Opens what WRITERS have written into `folder`, as if so many images had been published."""
    if name == "flowers102":
        accept_flowers(folder / "datasets", monkeypatch)
    return replace(BY_NAME[name], num_files=WRITERS[name][0]).card().open(PARAMS, machine_of(folder))


def machine_of(folder: Path) -> Machine:
    return machine(folder).model_copy(update={"datasets_root": folder / "datasets"})


def test_the_papers_datasets_have_cards_with_the_sizes_of_their_test_splits() -> None:
    assert {card.name: card.num_images for card in CARDS} == {
        "imagenet": 50_000,
        "food101": 25_250,
        "cifar10": 10_000,
        "cifar100": 10_000,
        "sun397": 50 * 397,
        "stanford-cars": 8_041,
        "fgvc-aircraft": 3_333,
        "dtd": 1_880,
        "oxford-pets": 3_669,
        "caltech101": 8_677 - 30 * 101,
        "flowers102": 6_149,
    }


@pytest.mark.parametrize("name", WRITERS)
def test_a_published_dataset_is_read_with_the_class_of_each_image(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = WRITERS[name][1](tmp_path / "datasets")
    opened = open_small(name, tmp_path, monkeypatch)
    num_classes = len(names_of(name))
    assert classes_of(opened) == expected
    assert opened.size == {"num_images": len(expected), "num_classes": num_classes}
    assert opened.chance["top1"] == 1 / num_classes
    assert all(source.is_file() for source in opened.sources)


@pytest.mark.parametrize("name", WRITERS)
def test_grey_and_cmyk_images_become_rgb(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS[name][1](tmp_path / "datasets")
    images = dataset_of(open_small(name, tmp_path, monkeypatch)).images
    assert {images.read(index).mode for index in range(9)} == {"RGB"}


@pytest.mark.parametrize("name", WRITERS)
def test_a_dataset_of_which_an_image_is_missing_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name][1](tmp_path / "datasets")
    images = (tmp_path / "datasets" / BY_NAME[name].folder).rglob("*[0-9a].[jJ]*")
    max(images).unlink()  # the first of Caltech-101's are of no class
    with pytest.raises(ValueError, match=r"`cosmos datasets` shows what it expects"):
        open_small(name, tmp_path, monkeypatch)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_dataset_that_is_not_there_is_named_with_what_to_do(card: DatasetCard, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`cosmos datasets` shows what it expects") as error:
        card.open(PARAMS, machine_of(tmp_path))
    assert str(tmp_path / "datasets") in str(error.value)
    assert (f"`cosmos datasets {card.name} --download` fetches it" in str(error.value)) == bool(card.download)
    assert not (tmp_path / "datasets").exists()


@pytest.mark.parametrize("name", ["food101", "stanford-cars", "fgvc-aircraft", "dtd", "oxford-pets"])
def test_images_that_a_list_names_and_are_missing_are_counted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name][1](tmp_path / "datasets")
    missing = sorted((tmp_path / "datasets" / BY_NAME[name].folder).rglob("*.jpg"))[:2]
    for path in missing:
        path.unlink()
    with pytest.raises(ValueError, match=rf"2 of {WRITERS[name][0]} images are missing: ") as error:
        open_small(name, tmp_path, monkeypatch)
    assert all(str(path) in str(error.value) for path in missing)


def test_a_list_that_this_user_may_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_food101(tmp_path / "datasets")
    wanted, opened = tmp_path / "datasets" / "food-101" / "meta" / "test.json", builtins.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        if path == wanted:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(NotPermittedError, match=rf"^{wanted}: cannot be read: Permission denied"):
        open_small("food101", tmp_path, monkeypatch)


def test_a_folder_without_its_lists_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_food101(tmp_path / "datasets")
    (tmp_path / "datasets" / "food-101" / "meta" / "test.json").unlink()
    with pytest.raises(ValueError, match=r"food-101: not the whole dataset .*test\.json"):
        open_small("food101", tmp_path, monkeypatch)


def test_a_list_that_leads_out_of_its_dataset_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dtd(tmp_path / "datasets")
    write_lines(tmp_path / "datasets" / "dtd" / "dtd" / "labels" / "test1.txt", ["../secret.jpg"])
    with pytest.raises(ValueError, match="not a path below"):
        open_small("dtd", tmp_path, monkeypatch)


def test_a_label_without_a_class_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_oxford_pets(tmp_path / "datasets")
    annotations = tmp_path / "datasets" / "oxford-iiit-pet" / "annotations" / "test.txt"
    annotations.write_text(annotations.read_text().replace(" 37 1 1", " 38 1 1"))
    with pytest.raises(ValueError, match="labels outside of its 37 classes"):
        open_small("oxford-pets", tmp_path, monkeypatch)


def test_another_number_of_classes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_imagenet(tmp_path / "datasets")
    write_jpegs(tmp_path / "datasets" / "imagenet" / "val" / "n99999999", ["1.JPEG"])
    with pytest.raises(ValueError, match=r"val: 1001 classes in place of 1000; `cosmos datasets`"):
        open_small("imagenet", tmp_path, monkeypatch)


def test_half_of_imagenet_is_refused(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "datasets")
    with pytest.raises(ValueError, match=r"val: 1,000 images in place of 50,000"):
        BY_NAME["imagenet"].card().open(PARAMS, machine_of(tmp_path))


def test_a_test_split_is_drawn_alike_everywhere_and_from_each_class() -> None:
    paths = tuple(Path(f"{number}.jpg") for number in range(10))
    found = LabelledFiles(paths, (0, 1) * 5, ("cat", "dog"))
    test, train = draw_split(found, slice(2)), draw_split(found, slice(2, None))
    assert sorted(test.labels) == [0, 0, 1, 1]
    assert set(test.paths) | set(train.paths) == set(paths)
    assert not set(test.paths) & set(train.paths)
    assert [path.stem for path in test.paths] == ["3", "4", "8", "9"]
    assert draw_split(found, slice(None)) == found


def test_a_fingerprint_changes_with_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dtd(tmp_path / "datasets")
    before = open_small("dtd", tmp_path, monkeypatch).fingerprint
    assert open_small("dtd", tmp_path, monkeypatch).fingerprint == before
    Image.new("RGB", (60, 60)).save(tmp_path / "datasets/dtd/dtd/images/banded/banded_0002.jpg", "JPEG")
    assert open_small("dtd", tmp_path, monkeypatch).fingerprint != before


def write_pickle(path: Path, content: dict[str, Any]) -> list[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return [path.name, md5(path)]


def write_cifar(dataset: Any, labels: str, name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of each class, its first pixel red; torchvision takes the files for the published ones."""
    folder, names = root / dataset.base_folder, names_of(name)
    pixels = np.zeros((len(names), 3, 32, 32), np.uint8)
    pixels[:, 0, 0, 0] = 255
    batch = {"data": pixels.reshape(len(names), -1), labels: list(range(len(names)))}
    for lists in ("train_list", "test_list"):
        files = [write_pickle(folder / file, batch) for file, _ in getattr(dataset, lists)]
        monkeypatch.setattr(dataset, lists, files)
    meta = dataset.meta
    file, known = write_pickle(folder / meta["filename"], {meta["key"]: [n.replace(" ", "_") for n in names]})
    monkeypatch.setattr(dataset, "meta", {**meta, "filename": file, "md5": known})


@pytest.mark.parametrize(
    ("dataset", "labels", "name"), [(CIFAR10, "labels", "cifar10"), (CIFAR100, "fine_labels", "cifar100")]
)
def test_cifar_is_read_from_its_batches(
    dataset: Any, labels: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(dataset, labels, name, tmp_path / "datasets", monkeypatch)
    (card,) = (card for card in CARDS if card.name == name)
    opened = card.open(PARAMS, machine_of(tmp_path))
    assert classes_of(opened) == list(names_of(name))
    image = dataset_of(opened).images.read(0)
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert (image.getpixel((0, 0)), image.getpixel((1, 0))) == ((255, 0, 0), (0, 0, 0))
    assert all((tmp_path / "datasets" / line).is_file() for line in card.layout)


def test_a_pickle_that_is_not_cifars_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(CIFAR10, "labels", "cifar10", tmp_path / "datasets", monkeypatch)
    with (tmp_path / "datasets" / CIFAR10.base_folder / "test_batch").open("ab") as file:
        file.write(b"more")
    (card,) = (card for card in CARDS if card.name == "cifar10")
    with pytest.raises(ValueError, match=r"cifar-10-batches-py: files are missing, or are not the published"):
        card.open(PARAMS, machine_of(tmp_path))
