"""Cards of datasets for classification: the demo world's, the published ones, and users' own folders."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos.config.disk_reading import is_dir
from cosmos.config.evaluate_params import ClassificationSet
from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.params import Params
from cosmos.data.image_decoding import IMAGE_SUFFIXES
from cosmos.data.sources.caption_files import load_text_file
from cosmos.errors import InputError
from cosmos.evaluation.card import DatasetCard, OpenDataset, demo_folder
from cosmos.evaluation.classification import published_sets
from cosmos.evaluation.classification.layouts import read_class_folders
from cosmos.evaluation.dataset_files import DEMO_REMEDY
from cosmos.evaluation.images import ImageFiles
from cosmos.evaluation.presence import DatasetPresence, ImageNames, find_files

if TYPE_CHECKING:
    from cosmos.evaluation.prompts import Prompts

SUITE = "classification"

DEMO_TEMPLATES = ("a {} shape", "a large {} object", "A picture of a {} figure", "There is one {} shape")
"""Templates in the words of the demo world's captions."""


def own_card(name: str, description: ClassificationSet) -> DatasetCard:
    """Return the card of a folder of class folders that evaluate.classification.own describes."""
    layout = (f"{description.images}/<class>/*.jpg",)
    finding, opening = partial(_find_own, name, description), partial(_open_own, name, description)
    return DatasetCard.own(SUITE, name, layout, finding, opening)


def _find_own(name: str, description: ClassificationSet, params: Params, machine: Machine) -> DatasetPresence:
    names = [machine.source(description.class_names)] if description.class_names else []
    images = ImageNames((machine.source(description.images),), IMAGE_SUFFIXES)
    return find_files(names, [images], 0, f"correct evaluate.classification.own.{name}, or the folder")


def own_prompts(
    name: str, description: ClassificationSet, folders: tuple[str, ...], machine: Machine
) -> "Prompts":
    """Return the prompts of a user's own set, for its sorted class folders.

    Raises InputError for prompts that are not shipped, templates without {}, both prompts and class_names,
    and an empty line in the class names.
    """
    from cosmos.evaluation.prompts import Prompts

    where = f"evaluate.classification.own.{name}"
    if description.prompts and description.class_names:
        raise InputError(f"{where}: prompts and class_names are both given; remove one of them")
    if description.prompts:
        return _shipped_prompts(where, description.prompts)
    for template in description.templates:
        if "{}" not in template:
            raise InputError(
                f"{where}.templates: {template!r} has no {{}} in the place of the class name; add it"
            )
    if description.class_names:
        return Prompts(_read_class_names(machine.source(description.class_names)), description.templates)
    return Prompts(tuple(map(_as_words, folders)), description.templates)


def _open_own(name: str, description: ClassificationSet, params: Params, machine: Machine) -> OpenDataset:
    from cosmos.evaluation.classification.measure import ClassificationDataset, open_labelled_images

    folder = machine.source(description.images)
    files = read_class_folders(folder)
    prompts = own_prompts(name, description, files.classes, machine)
    if len(prompts.class_names) != len(files.classes):
        raise InputError(
            f"{folder}: {len(files.classes)} folders of classes for {len(prompts.class_names)} class names;"
            f" correct prompts or class_names of evaluate.classification.own.{name}, or the folders"
        )
    images = ImageFiles(folder, files.paths, params.data.max_pixels)
    sources = (machine.source(description.class_names),) if description.class_names else ()
    return open_labelled_images(ClassificationDataset(images, files.labels, prompts), sources)


def _open_demo(params: Params, machine: Machine) -> OpenDataset:
    from cosmos.evaluation.classification.measure import ClassificationDataset, open_labelled_images
    from cosmos.evaluation.prompts import Prompts

    folder = demo_folder(SUITE, params, machine)
    if not is_dir(folder):
        raise InputError(f"{folder}: no such folder; {DEMO_REMEDY}")
    files = read_class_folders(folder)
    images = ImageFiles(folder, files.paths, params.data.max_pixels)
    prompts = Prompts(files.classes, DEMO_TEMPLATES)
    return open_labelled_images(ClassificationDataset(images, files.labels, prompts), ())


def _shipped_prompts(where: str, name: str) -> "Prompts":
    from cosmos.evaluation.prompts import CLASSIFICATION_PROMPTS

    if name not in CLASSIFICATION_PROMPTS:
        near = near_names(name, CLASSIFICATION_PROMPTS)
        raise InputError(f"{where}.prompts: no prompts of {name!r}; {near}")
    return CLASSIFICATION_PROMPTS[name]


def _as_words(folder: str) -> str:
    """Return a folder's name as words."""
    return folder.replace("_", " ").replace("-", " ")


def _read_class_names(path: Path) -> tuple[str, ...]:
    """Return class names, one a line. InputError names file and line of an empty one."""
    names = tuple(line.strip() for line in load_text_file(path).splitlines())
    for number, class_name in enumerate(names, 1):
        if not class_name:
            raise InputError(f"{path}, line {number}: no class name in it; add it, or remove the line")
    return names


_DEMO = DatasetCard.demo(
    SUITE, "colours of the demo world's objects", "200 images of 10 colours; 1 MB", _open_demo
)

CARDS = (_DEMO, *published_sets.CARDS)
"""Cards of the datasets of this suite."""
