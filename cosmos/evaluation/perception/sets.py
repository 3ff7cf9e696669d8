"""Cards of datasets for perception and composition: the demo world's, the published ones, and users' own."""

from collections.abc import Callable, Sequence
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
from cosmos.evaluation.presence import DatasetPresence, find_files

SUITE = "perception"

SUGARCREPE_KINDS = (
    "add_att",
    "add_obj",
    "replace_att",
    "replace_obj",
    "replace_rel",
    "swap_att",
    "swap_obj",
)
SUGARCREPE_FILES = tuple(f"sugarcrepe/{kind}.json" for kind in SUGARCREPE_KINDS)
"""SugarCrepe's files, below datasets_root."""


def own_card(name: str, description: PerceptionSet) -> DatasetCard:
    """Return the card of a user's own set."""
    layout = (description.annotations, description.images)
    finding, opening = partial(_find_own, name, description), partial(_open_own, name, description)
    return DatasetCard.own(SUITE, name, layout, finding, opening)


def _find_own(name: str, description: PerceptionSet, params: Params, machine: Machine) -> DatasetPresence:
    annotations, folder = (
        machine.source(description.annotations),
        _own_images(name, description, params, machine),
    )
    is_folder = description.layout == "sugarcrepe"
    files = find_hard_negative_files(annotations, folder.remedy) if is_folder else [annotations]
    return find_files(files, [folder.names], 0, folder.remedy)


def _own_images(name: str, description: PerceptionSet, params: Params, machine: Machine) -> ImageFolder:
    remedy = f"correct evaluate.perception.own.{name}, or complete the folder"
    return ImageFolder(machine.source(description.images), params.data.max_pixels, remedy)


def _open_own(name: str, description: PerceptionSet, params: Params, machine: Machine) -> OpenDataset:
    folder = _own_images(name, description, params, machine)
    return _OPENERS[description.layout](machine.source(description.annotations), folder)


def _open_demo(params: Params, machine: Machine) -> OpenDataset:
    folder = demo_folder(SUITE, params, machine)
    return _open_json_files(folder, ImageFolder(folder / "images", params.data.max_pixels, DEMO_REMEDY))


def _open_sugarcrepe(params: Params, machine: Machine) -> OpenDataset:
    from cosmos.evaluation.perception.measure import open_hard_negatives

    folder = _published_images("coco/images/val2017", params, machine)
    files = [machine.datasets_root / file for file in SUGARCREPE_FILES]
    return open_hard_negatives(load_hard_negatives(files, folder), files)


def _open_mmvp(params: Params, machine: Machine) -> OpenDataset:
    folder = _published_images("mmvp-vlm/MLLM_VLM Images", params, machine)
    return _open_statements_file(machine.datasets_root / "mmvp-vlm" / "Questions.csv", folder)


def _open_winoground(params: Params, machine: Machine) -> OpenDataset:
    folder = _published_images("winoground/images", params, machine)
    return _open_examples_file(machine.datasets_root / "winoground" / "examples.jsonl", folder)


def _open_json_files(annotations: Path, folder: ImageFolder) -> OpenDataset:
    from cosmos.evaluation.perception.measure import open_hard_negatives

    files = find_hard_negative_files(annotations, folder.remedy)
    return open_hard_negatives(load_hard_negatives(files, folder), files)


def _open_statements_file(file: Path, folder: ImageFolder) -> OpenDataset:
    from cosmos.evaluation.perception.measure import open_statements

    return open_statements(load_statements(file, folder), file)


def _open_examples_file(file: Path, folder: ImageFolder) -> OpenDataset:
    from cosmos.evaluation.perception.measure import open_composition

    return open_composition(load_examples(file, folder), file)


_OPENERS: dict[str, Callable[[Path, ImageFolder], OpenDataset]] = {
    "sugarcrepe": _open_json_files,
    "mmvp": _open_statements_file,
    "winoground": _open_examples_file,
}
"""Openers by the layout of a user's own set."""


def _published_images(folder: str, params: Params, machine: Machine) -> ImageFolder:
    return ImageFolder(machine.datasets_root / folder, params.data.max_pixels, PUBLISHED_REMEDY)


def _find_published(
    files: Sequence[str], images: str, num_images: int, params: Params, machine: Machine
) -> DatasetPresence:
    paths = [machine.datasets_root / file for file in files]
    names = _published_images(images, params, machine).names
    return find_files(paths, [names], num_images, PUBLISHED_REMEDY)


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
        (*SUGARCREPE_FILES, "coco/images/val2017/<id>.jpg"),
        "7,500 captions and near misses; 2 MB, beside the images of COCO val2017",
        "MIT; photographs under Flickr's terms",
        0,
        partial(_find_published, SUGARCREPE_FILES, "coco/images/val2017", 0),
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
        partial(_find_published, ["mmvp-vlm/Questions.csv"], "mmvp-vlm/MLLM_VLM Images", 270),
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
        partial(_find_published, ["winoground/examples.jsonl"], "winoground/images", 800),
        _open_winoground,
    ),
)
"""Cards of the datasets of this suite."""
