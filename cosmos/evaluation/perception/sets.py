"""Cards of datasets for perception and composition: the demo world's, the published ones, and users' own."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cosmos.config.evaluate_params import PerceptionSet
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.evaluation.card import DatasetCard, OpenDataset, demo_folder
from cosmos.evaluation.dataset_files import DEMO_REMEDY, PUBLISHED_REMEDY
from cosmos.evaluation.perception.layouts import (
    ImageFolder,
    find_hard_negative_files,
    load_examples,
    load_hard_negatives,
    load_statements,
)
from cosmos.evaluation.perception.measure import open_composition, open_hard_negatives, open_statements

SUITE = "perception"

SUGARCREPE_FILES = (
    "add_att",
    "add_obj",
    "replace_att",
    "replace_obj",
    "replace_rel",
    "swap_att",
    "swap_obj",
)
"""Names of SugarCrepe's files, without .json."""


def own_card(name: str, description: PerceptionSet) -> DatasetCard:
    """Return the card of a user's own set."""
    layout = (description.annotations, description.images)
    return DatasetCard.own(SUITE, name, layout, partial(_open_own, name, description))


def _open_own(name: str, description: PerceptionSet, params: Params, machine: Machine) -> OpenDataset:
    remedy = f"correct evaluate.perception.own.{name}, or complete the folder"
    folder = ImageFolder(machine.source(description.images), params.data.max_pixels, remedy)
    return _OPENERS[description.layout](machine.source(description.annotations), folder)


def _open_demo(params: Params, machine: Machine) -> OpenDataset:
    folder = demo_folder(SUITE, params, machine)
    return _open_json_files(folder, ImageFolder(folder / "images", params.data.max_pixels, DEMO_REMEDY))


def _open_sugarcrepe(params: Params, machine: Machine) -> OpenDataset:
    folder = _published_images("coco/images/val2017", params, machine)
    files = [machine.datasets_root / "sugarcrepe" / f"{name}.json" for name in SUGARCREPE_FILES]
    return open_hard_negatives(load_hard_negatives(files, folder), files)


def _open_mmvp(params: Params, machine: Machine) -> OpenDataset:
    folder = _published_images("mmvp-vlm/MLLM_VLM Images", params, machine)
    return _open_statements_file(machine.datasets_root / "mmvp-vlm" / "Questions.csv", folder)


def _open_winoground(params: Params, machine: Machine) -> OpenDataset:
    folder = _published_images("winoground/images", params, machine)
    return _open_examples_file(machine.datasets_root / "winoground" / "examples.jsonl", folder)


def _open_json_files(annotations: Path, folder: ImageFolder) -> OpenDataset:
    files = find_hard_negative_files(annotations, folder.remedy)
    return open_hard_negatives(load_hard_negatives(files, folder), files)


def _open_statements_file(file: Path, folder: ImageFolder) -> OpenDataset:
    return open_statements(load_statements(file, folder), file)


def _open_examples_file(file: Path, folder: ImageFolder) -> OpenDataset:
    return open_composition(load_examples(file, folder), file)


_OPENERS: dict[str, Callable[[Path, ImageFolder], OpenDataset]] = {
    "sugarcrepe": _open_json_files,
    "mmvp": _open_statements_file,
    "winoground": _open_examples_file,
}
"""Openers by the layout of a user's own set."""


def _published_images(folder: str, params: Params, machine: Machine) -> ImageFolder:
    return ImageFolder(machine.datasets_root / folder, params.data.max_pixels, PUBLISHED_REMEDY)


CARDS = (
    DatasetCard.demo(
        SUITE,
        "true and false captions of the demo world",
        "600 images, 600 captions and near misses; 2 MB",
        _open_demo,
    ),
    DatasetCard(
        SUITE,
        "sugarcrepe",
        "SugarCrepe: seven kinds of hard negatives",
        (*(f"sugarcrepe/{name}.json" for name in SUGARCREPE_FILES), "coco/images/val2017/<id>.jpg"),
        "7,500 captions and near misses; 2 MB, beside the images of COCO val2017",
        "MIT; photographs under Flickr's terms",
        0,
        _open_sugarcrepe,
    ),
    DatasetCard(
        SUITE,
        "mmvp-vlm",
        "MMVP-VLM: pairs that CLIP confuses, nine kinds",
        ("mmvp-vlm/Questions.csv", "mmvp-vlm/MLLM_VLM Images/<type>/<id>.jpg"),
        "270 images, 135 pairs; 50 MB",
        "MIT",
        270,
        _open_mmvp,
    ),
    DatasetCard(
        SUITE,
        "winoground",
        "Winoground: pairs with the same words",
        ("winoground/examples.jsonl", "winoground/images/<name>.png"),
        "800 images, 400 pairs; 400 MB",
        "research only, on request",
        800,
        _open_winoground,
    ),
)
"""Cards of the datasets of this suite."""
