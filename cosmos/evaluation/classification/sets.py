"""Datasets for classification: the published ones, the demo world's, and folders of one's own."""

from functools import partial
from pathlib import Path

from cosmos.config.evaluate_params import ClassificationSet
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.caption_files import load_text_file
from cosmos.errors import InputError
from cosmos.evaluation.card import Card, OpenDataset, demo_folder
from cosmos.evaluation.classification.labelled_images import ClassificationDataset, read_class_folders
from cosmos.evaluation.classification.published import PUBLISHED_CARDS
from cosmos.evaluation.images import DEMO_REMEDY, ImageFiles
from cosmos.evaluation.prompts import CLASSIFICATION, Prompts

SUITE = "classification"

DEMO_TEMPLATES = ("a {} shape", "a large {} object", "A picture of a {} figure", "There is one {} shape")
"""As the demo world's captions speak of things."""


def own_card(name: str, described: ClassificationSet) -> Card:
    """The card of a folder of class folders that evaluate.classification.own describes."""
    layout = (f"{described.images}/<class>/*.jpg",)
    return Card.own(SUITE, name, layout, partial(_open_own, name, described))


def own_prompts(
    name: str, described: ClassificationSet, folders: tuple[str, ...], machine: Machine
) -> Prompts:
    """Prompts of a set of one's own, for its sorted class folders.

    ValueError for prompts that are not shipped, templates without {}, both prompts and class_names, an empty
    line in the class names, and as many classes as there are no folders.
    """
    where = f"evaluate.classification.own.{name}"
    if described.prompts and described.class_names:
        raise InputError(f"{where}: prompts and class_names are both given; remove one of them")
    if described.prompts:
        return _shipped(where, described.prompts)
    for template in described.templates:
        if "{}" not in template:
            raise InputError(
                f"{where}.templates: {template!r} has no {{}} in the place of the class name; add it"
            )
    if described.class_names:
        return Prompts(_read_class_names(machine.source(described.class_names)), described.templates)
    return Prompts(tuple(map(_words, folders)), described.templates)


def _open_own(name: str, described: ClassificationSet, params: Params, machine: Machine) -> OpenDataset:
    folder = machine.source(described.images)
    found = read_class_folders(folder)
    prompts = own_prompts(name, described, found.classes, machine)
    if len(prompts.class_names) != len(found.classes):
        raise InputError(
            f"{folder}: {len(found.classes)} folders of classes for {len(prompts.class_names)} class names;"
            f" correct prompts or class_names of evaluate.classification.own.{name}, or the folders"
        )
    images = ImageFiles(folder, found.paths, params.data.max_pixels)
    sources = (machine.source(described.class_names),) if described.class_names else ()
    return ClassificationDataset(images, found.labels, prompts).opened(sources)


def _open_demo(params: Params, machine: Machine) -> OpenDataset:
    folder = demo_folder(SUITE, params, machine)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {DEMO_REMEDY}")
    found = read_class_folders(folder)
    images = ImageFiles(folder, found.paths, params.data.max_pixels)
    return ClassificationDataset(images, found.labels, Prompts(found.classes, DEMO_TEMPLATES)).opened(())


def _shipped(where: str, name: str) -> Prompts:
    if name not in CLASSIFICATION:
        raise InputError(
            f"{where}.prompts: no prompts of {name!r}; there are those of {', '.join(CLASSIFICATION)}"
        )
    return CLASSIFICATION[name]


def _words(folder: str) -> str:
    """A folder's name as words."""
    return folder.replace("_", " ").replace("-", " ")


def _read_class_names(path: Path) -> tuple[str, ...]:
    """Class names, a line each. ValueError names file and line."""
    names = tuple(line.strip() for line in load_text_file(path).splitlines())
    for number, class_name in enumerate(names, 1):
        if not class_name:
            raise InputError(f"{path}, line {number}: no class name in it; add it, or remove the line")
    return names


_DEMO = Card.demo(SUITE, "colours of the demo world's objects", "200 images of 10 colours; 1 MB", _open_demo)

CARDS = (_DEMO, *PUBLISHED_CARDS)
"""Datasets of this suite."""
