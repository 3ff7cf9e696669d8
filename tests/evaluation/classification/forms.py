"""Small copies of the published classification datasets, in the forms that they are published in."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from PIL import Image

from cosmos.evaluation.card import OpenDataset
from cosmos.evaluation.classification.measure import ClassificationDataset
from cosmos.evaluation.prompts import CLASSIFICATION_PROMPTS

MODES = ("RGB", "L", "CMYK")

Write = Callable[[Path], list[str]]
"""Writes a dataset into a datasets_root; returns the class name that each evaluated image belongs to."""


def write_jpegs(folder: Path, names: Iterable[str]) -> None:
    """Coloured, grey and CMYK JPEGs in turn."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(MODES[number % len(MODES)], (6, 4)).save(path, "JPEG")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_mat(path: Path, **values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, values)


def names_of(name: str) -> tuple[str, ...]:
    return CLASSIFICATION_PROMPTS[name].class_names


def write_imagenet(root: Path) -> list[str]:
    wnids = [f"n{1440764 + i:08d}" for i in range(1000)]
    write_jpegs(root / "imagenet" / "val", (f"{wnid}/ILSVRC2012_val_{wnid[1:]}.JPEG" for wnid in wnids))
    return list(names_of("imagenet"))


def write_food101(root: Path) -> list[str]:
    folders = [name.replace(" ", "_") for name in names_of("food101")]
    images = {folder: [f"{folder}/{number}" for number in (1004763, 1009595)] for folder in folders}
    write_jpegs(root / "food-101" / "images", (f"{image}.jpg" for some in images.values() for image in some))
    (root / "food-101" / "meta").mkdir()
    (root / "food-101" / "meta" / "test.json").write_text(json.dumps(dict(reversed(images.items()))))
    return [name for name in reversed(names_of("food101")) for _ in range(2)]


def write_stanford_cars(root: Path) -> list[str]:
    folder, names = root / "stanford_cars", names_of("stanford-cars")
    write_mat(folder / "devkit" / "cars_meta.mat", class_names=np.array([names], dtype=object))
    write_jpegs(folder / "cars_test", (f"{i + 1:05d}.jpg" for i in range(len(names))))
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    rows = [(1, 1, 4, 4, len(names) - i, f"{i + 1:05d}.jpg") for i in range(len(names))]
    annotations = np.array([rows], dtype=[(field, object) for field in fields])
    write_mat(folder / "cars_test_annos_withlabels.mat", annotations=annotations)
    return list(reversed(names))


def write_fgvc_aircraft(root: Path) -> list[str]:
    folder, names = root / "fgvc-aircraft-2013b" / "data", names_of("fgvc-aircraft")
    write_lines(folder / "variants.txt", names)
    write_jpegs(folder / "images", (f"{1514522 + i:07d}.jpg" for i in range(len(names))))
    lines = [f"{1514522 + i:07d} {name}" for i, name in enumerate(names)]
    write_lines(folder / "images_variant_test.txt", lines[::-1])
    return list(reversed(names))


def write_dtd(root: Path) -> list[str]:
    folder, names = root / "dtd" / "dtd", names_of("dtd")
    files = [f"{name}/{name}_0002.jpg" for name in names]
    write_jpegs(folder / "images", files)
    write_lines(folder / "labels" / "test1.txt", files[::-1])
    return list(reversed(names))


def write_oxford_pets(root: Path) -> list[str]:
    folder, names = root / "oxford-iiit-pet", names_of("oxford-pets")
    breeds = [f"{name.replace(' ', '_').strip(chr(39))}_201" for name in names]
    write_jpegs(folder / "images", (f"{breed}.jpg" for breed in breeds))
    lines = [f"{breed} {label} 1 1" for label, breed in enumerate(breeds, 1)]
    write_lines(folder / "annotations" / "test.txt", lines)
    return list(names)


CALTECH101_FOLDERS = {"off-center face": "Faces", "centered face": "Faces_easy", "side of a car": "car_side"}


def write_caltech101(root: Path) -> list[str]:
    """Two more images than are set aside for training, of each class; the folders of most are their names."""
    folder, names = root / "caltech101" / "101_ObjectCategories", names_of("caltech101")
    folders = [CALTECH101_FOLDERS.get(name, f"c{number:03d}") for number, name in enumerate(names)]
    folders[2:4] = "Leopards", "Motorbikes"
    write_jpegs(folder, (f"{name}/image_{number:04d}.jpg" for name in folders for number in range(1, 33)))
    write_jpegs(folder / "BACKGROUND_Google", ["image_0001.jpg", "tmp"])
    return [name for name in names for _ in range(2)]


def write_flowers102(root: Path) -> list[str]:
    folder, names = root / "flowers-102", names_of("flowers102")
    write_jpegs(folder / "jpg", (f"image_{number:05d}.jpg" for number in range(1, len(names) + 1)))
    write_mat(folder / "imagelabels.mat", labels=np.arange(1, len(names) + 1)[None])
    write_mat(folder / "setid.mat", tstid=np.arange(len(names), 0, -1)[None], trnid=[[1]], valid=[[1]])
    return list(reversed(names))


def sun397_folder(name: str) -> str:
    """Where SUN397 has a class: indoor and outdoor scenes lie in folders of their own."""
    kind, _, place = name.rpartition(" ")
    path = f"{kind.replace(' ', '_')}/{place}" if place in ("indoor", "outdoor") else name.replace(" ", "_")
    return f"{path[0]}/{path}"


def write_sun397(root: Path) -> list[str]:
    """An image of each class, and 52 abbeys."""
    folders = sorted(map(sun397_folder, names_of("sun397")))
    write_lines(root / "SUN397" / "ClassName.txt", (f"/{folder}" for folder in folders))
    write_jpegs(root / "SUN397", (f"{folder}/sun_aaaaaaaaaaaaaaaa.jpg" for folder in folders))
    write_jpegs(root / "SUN397" / "a" / "abbey", (f"sun_{number:016d}.jpg" for number in range(51)))
    at_their_place = {sun397_folder(name): name for name in names_of("sun397")}
    return ["abbey"] * 49 + [at_their_place[folder] for folder in folders]


WRITERS: dict[str, tuple[int, Write]] = {
    "imagenet": (1000, write_imagenet),
    "food101": (202, write_food101),
    "sun397": (397 + 51, write_sun397),
    "stanford-cars": (196, write_stanford_cars),
    "fgvc-aircraft": (100, write_fgvc_aircraft),
    "dtd": (47, write_dtd),
    "oxford-pets": (37, write_oxford_pets),
    "caltech101": (101 * 32, write_caltech101),
    "flowers102": (102, write_flowers102),
}


def dataset_of(opened: OpenDataset) -> ClassificationDataset:
    dataset = opened.measure.args[0] if isinstance(opened.measure, partial) else None
    assert isinstance(dataset, ClassificationDataset)
    return dataset


def classes_of(opened: OpenDataset) -> list[str]:
    """The class name of each image."""
    dataset = dataset_of(opened)
    return [dataset.prompts.class_names[label] for label in dataset.labels]
