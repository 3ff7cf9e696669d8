"""Datasets for perception and composition: the published ones, the demo world's, and one's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from cosmos.config.evaluate_params import PerceptionSet
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import InputError
from cosmos.evaluation.card import Card, Figures, OpenDataset, demo_folder
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.images import (
    DEMO_REMEDY,
    PUBLISHED_REMEDY,
    ImageFiles,
    check_file,
    digest,
    locate,
)
from cosmos.evaluation.perception.files import read_examples, read_hard_negatives, read_statements
from cosmos.evaluation.perception.metrics import (
    COMPOSITION_CHANCE,
    captions_preferred,
    composition_scores,
    images_chosen,
    shares_by_kind,
)

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

SUGARCREPE_CHANCE, MMVP_CHANCE = 1 / 2, 1 / 4


@dataclass(frozen=True)
class SharedImages:
    """The image of each of N items. Items may share an image, which is embedded once."""

    images: ImageFiles
    index: tuple[int, ...]
    """place among the images, (N,)"""

    def embedded(self, embedder: Embedder) -> Tensor:
        """Embeddings of the items' images, (N, D)."""
        return embedder.images(self.images)[list(self.index)]

    def keys(self) -> list[str]:
        """What tells the items' images from others, N strings."""
        return [self.images.key(place) for place in self.index]


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images on this machine."""

    path: Path
    max_pixels: int
    remedy: str
    """what to do about a file that is missing"""

    def locate(self, listed_in: Path, names: Sequence[str]) -> list[Path]:
        """Files of the images that `listed_in` names. ValueError says how many are missing, and which."""
        return locate(listed_in, self.path, names, self.remedy)

    def shared(self, paths: Sequence[Path]) -> SharedImages:
        """The images of items, by their files."""
        places = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        images = ImageFiles(self.path, tuple(places), self.max_pixels)
        return SharedImages(images, tuple(places[path] for path in paths))


@dataclass(frozen=True)
class HardNegatives:
    """N images, each with a caption and one that is false of it. Source: SugarCrepe."""

    images: SharedImages
    captions: tuple[str, ...]
    negatives: tuple[str, ...]
    kinds: tuple[str, ...]
    """kind of each negative, (N,)"""


@dataclass(frozen=True)
class Pairs:
    """P pairs of images with a caption each, one pair after the other."""

    images: SharedImages
    """of 2 P items"""
    captions: tuple[str, ...]
    """(2 P,)"""
    kinds: tuple[str, ...]
    """kind of each pair, (P,)"""

    def embedded(self, embedder: Embedder) -> tuple[Tensor, Tensor]:
        """Embeddings of the images (P, 2, D) and of the captions (P, 2, D)."""
        images, captions = self.images.embedded(embedder), embedder.texts(self.captions)
        return images.view(-1, 2, images.shape[1]), captions.view(-1, 2, captions.shape[1])


def measure_hard_negatives(dataset: HardNegatives, embedder: Embedder) -> Figures:
    """Share of captions preferred to their negatives: of each kind, and the mean over kinds."""
    images, texts = dataset.images.embedded(embedder), embedder.texts(dataset.captions + dataset.negatives)
    return shares_by_kind(captions_preferred(images, *texts.chunk(2)), dataset.kinds)


def measure_statements(pairs: Pairs, embedder: Embedder) -> Figures:
    """Share of pairs whose statements both choose their image: of each kind, and the mean over kinds."""
    return shares_by_kind(images_chosen(*pairs.embedded(embedder)), pairs.kinds)


def measure_composition(pairs: Pairs, embedder: Embedder) -> Figures:
    """Text, image and group score."""
    return composition_scores(*pairs.embedded(embedder))


def open_hard_negatives(files: Sequence[Path], folder: ImageFolder) -> OpenDataset:
    """Opens files in SugarCrepe's form. Their names are the kinds of negatives."""
    entries = {path: read_hard_negatives(path) for path in files}
    items = [(path, entry) for path, some in entries.items() for entry in some]
    images = [folder.locate(path, [entry.image for entry in some]) for path, some in entries.items()]
    dataset = HardNegatives(
        folder.shared([image for some in images for image in some]),
        captions=tuple(entry.caption for _, entry in items),
        negatives=tuple(entry.negative for _, entry in items),
        kinds=tuple(path.stem for path, _ in items),
    )
    return OpenDataset(
        size={"num_images": len(dataset.images.images), "num_captions": len(items)},
        chance=dict.fromkeys([*dataset.kinds, "mean"], SUGARCREPE_CHANCE),
        sources=tuple(files),
        fingerprint=digest([*dataset.images.keys(), *dataset.captions, *dataset.negatives, *dataset.kinds]),
        measure=partial(measure_hard_negatives, dataset),
    )


def open_statements(file: Path, folder: ImageFolder) -> OpenDataset:
    """Opens a Questions.csv in MMVP-VLM's form."""
    check_file(file, folder.remedy)
    pairs = read_statements(file)
    statements = [statement for pair in pairs for statement in pair]
    names = [f"{statement.kind}/{statement.number}.jpg" for statement in statements]
    captions = tuple(f"a photo of {statement.text}" for statement in statements)
    kinds = tuple(first.kind for first, _ in pairs)
    dataset = Pairs(folder.shared(folder.locate(file, names)), captions, kinds)
    chance = dict.fromkeys([*kinds, "mean"], MMVP_CHANCE)
    return _open_pairs(dataset, file, chance, partial(measure_statements, dataset))


def open_examples(file: Path, folder: ImageFolder) -> OpenDataset:
    """Opens an examples.jsonl in Winoground's form."""
    check_file(file, folder.remedy)
    examples = read_examples(file)
    names = [name for example in examples for name in example.images]
    captions = tuple(caption for example in examples for caption in example.captions)
    dataset = Pairs(folder.shared(folder.locate(file, names)), captions, ("",) * len(examples))
    return _open_pairs(dataset, file, COMPOSITION_CHANCE, partial(measure_composition, dataset))


def own_card(name: str, description: PerceptionSet) -> Card:
    """The card of a set of one's own."""
    layout = (description.annotations, description.images)
    return Card.own(SUITE, name, layout, partial(_open_own, name, description))


def _open_own(name: str, description: PerceptionSet, params: Params, machine: Machine) -> OpenDataset:
    remedy = f"correct evaluate.perception.own.{name}, or complete the folder"
    folder = ImageFolder(machine.source(description.images), params.data.max_pixels, remedy)
    return _OPENERS[description.layout](machine.source(description.annotations), folder)


def _open_demo(params: Params, machine: Machine) -> OpenDataset:
    folder = demo_folder(SUITE, params, machine)
    return _open_folder(folder, ImageFolder(folder / "images", params.data.max_pixels, DEMO_REMEDY))


def _open_sugarcrepe(params: Params, machine: Machine) -> OpenDataset:
    folder = _published_images("coco/images/val2017", params, machine)
    files = [machine.datasets_root / "sugarcrepe" / f"{name}.json" for name in SUGARCREPE_FILES]
    for file in files:
        check_file(file, folder.remedy)
    return open_hard_negatives(files, folder)


def _open_mmvp(params: Params, machine: Machine) -> OpenDataset:
    folder = _published_images("mmvp-vlm/MLLM_VLM Images", params, machine)
    return open_statements(machine.datasets_root / "mmvp-vlm" / "Questions.csv", folder)


def _open_winoground(params: Params, machine: Machine) -> OpenDataset:
    folder = _published_images("winoground/images", params, machine)
    return open_examples(machine.datasets_root / "winoground" / "examples.jsonl", folder)


def _open_folder(folder: Path, images: ImageFolder) -> OpenDataset:
    """Opens all JSON files directly in a folder."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise InputError(f"{folder}: no such folder, or no .json file in it; {images.remedy}")
    return open_hard_negatives(files, images)


_OPENERS: dict[str, Callable[[Path, ImageFolder], OpenDataset]] = {
    "sugarcrepe": _open_folder,
    "mmvp": open_statements,
    "winoground": open_examples,
}


def _published_images(folder: str, params: Params, machine: Machine) -> ImageFolder:
    return ImageFolder(machine.datasets_root / folder, params.data.max_pixels, PUBLISHED_REMEDY)


def _open_pairs(
    pairs: Pairs, source: Path, chance: Figures, measure: Callable[[Embedder], Figures]
) -> OpenDataset:
    return OpenDataset(
        size={"num_images": len(pairs.images.images), "num_pairs": len(pairs.kinds)},
        chance=chance,
        sources=(source,),
        fingerprint=digest([*pairs.images.keys(), *pairs.captions, *pairs.kinds]),
        measure=measure,
    )


CARDS = (
    Card.demo(
        SUITE,
        "true and false captions of the demo world",
        "600 images, 600 captions and near misses; 2 MB",
        _open_demo,
    ),
    Card(
        SUITE,
        "sugarcrepe",
        "SugarCrepe: seven kinds of hard negatives",
        (*(f"sugarcrepe/{name}.json" for name in SUGARCREPE_FILES), "coco/images/val2017/<id>.jpg"),
        "7,500 captions and near misses; 2 MB, beside the images of COCO val2017",
        "MIT; photographs under Flickr's terms",
        0,
        _open_sugarcrepe,
    ),
    Card(
        SUITE,
        "mmvp-vlm",
        "MMVP-VLM: pairs that CLIP confuses, nine kinds",
        ("mmvp-vlm/Questions.csv", "mmvp-vlm/MLLM_VLM Images/<type>/<id>.jpg"),
        "270 images, 135 pairs; 50 MB",
        "MIT",
        270,
        _open_mmvp,
    ),
    Card(
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
"""Datasets of this suite."""
