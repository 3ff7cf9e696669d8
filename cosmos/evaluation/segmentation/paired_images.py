"""Images with a mask of the classes of their pixels, in two folders."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cosmos.config.evaluate_params import SegmentationProtocol
from cosmos.config.params import Params
from cosmos.data.caption_files import load_text_file, path_below
from cosmos.errors import InputError
from cosmos.evaluation.card import OpenDataset
from cosmos.evaluation.images import ImageFiles, check_file, check_present, digest, file_key
from cosmos.evaluation.segmentation.measure import SegmentationDataset, measure, pictures

Classes = tuple[tuple[str, ...], ...]
"""The query words of every class, in the order of labels."""


@dataclass(frozen=True)
class PairedFolders:
    """A folder of images and one of masks on this machine; an image and its mask share their path's stem.

    A stem is a path below the folder, without the suffix. Folders inside the folders are part of it.
    """

    images: Path
    image_suffix: str
    masks: Path
    mask_suffix: str
    remedy: str
    """what to do about a file that is missing"""

    def image(self, stem: str) -> Path:
        """The file of an image. ValueError when it would lie outside of the folder."""
        return path_below(self.images, stem + self.image_suffix)

    def mask(self, stem: str) -> Path:
        """The file of an image's mask. ValueError when it would lie outside of the folder."""
        return path_below(self.masks, stem + self.mask_suffix)


@dataclass(frozen=True)
class Described:
    """All that is known of a dataset on this machine but for the stems that it holds."""

    name: str
    folders: PairedFolders
    classes: Classes
    names: tuple[str, ...]
    """what each class is called in results"""
    protocol: SegmentationProtocol
    sources: tuple[Path, ...]
    """files that say what it holds"""


def read_classes(path: Path) -> Classes:
    """The classes of a file: one per line in the order of labels, synonyms after commas.

    ValueError names file and line of an empty line or word, and of a word that is there twice (in whatever
    case, which the tokenizer ignores): its classes could not be told apart.
    """
    classes = [_words(path, number, line) for number, line in enumerate(_lines(path), 1)]
    if not classes:
        raise InputError(f"{path}: no classes in it; write one per line, synonyms after commas")
    lines: dict[str, int] = {}
    for number, words in enumerate(classes, 1):
        for word in map(str.lower, words):
            if word in lines:
                raise InputError(
                    f"{path}, line {number}: {word!r} is on line {lines[word]} already;"
                    " leave it to one class, once"
                )
            lines[word] = number
    return tuple(classes)


def class_names(classes: Classes, has_background: bool) -> tuple[str, ...]:
    """The first word of every class; class 0 may be whatever is none of the others, put into words."""
    names = tuple(words[0] for words in classes)
    return ("background", *names[1:]) if has_background else names


def opened(described: Described, stems: Sequence[str], params: Params) -> OpenDataset:
    """Opens the images and masks of these stems, all of which must be there."""
    folders, classes, protocol = described.folders, described.classes, described.protocol
    images = ImageFiles(folders.images, tuple(map(folders.image, stems)), params.data.max_pixels)
    masks = tuple(map(folders.mask, stems))
    check_present(folders.images, "images", images.paths, folders.remedy)
    check_present(folders.masks, "masks", masks, folders.remedy)
    attention = params.evaluate.segmentation.attention
    dataset = SegmentationDataset(described.name, images, masks, classes, described.names, protocol)
    keys = map(images.key, range(len(images)))
    mask_keys = (file_key(mask, folders.masks) for mask in masks)
    settings = (protocol.model_dump_json(), *attention, *map(", ".join, classes))
    return OpenDataset(
        size={"num_images": len(images), "num_classes": len(classes)},
        chance={},
        sources=described.sources,
        fingerprint=digest([*settings, *keys, *mask_keys]),
        measure=partial(measure, dataset, attention),
        pictures=partial(pictures, dataset, attention),
    )


def listed_stems(list_file: Path, folders: PairedFolders) -> list[str]:
    """Stems that a list names, in its order. ValueError when there are none, or one leads outside."""
    check_file(list_file, folders.remedy)
    stems = list(dict.fromkeys(line.strip() for line in _lines(list_file) if line.strip()))
    if not stems:
        raise InputError(f"{list_file}: no names in it; {folders.remedy}")
    try:
        for stem in stems:
            folders.image(stem)
    except ValueError as error:
        raise InputError(f"{list_file}: {error}; {folders.remedy}") from None
    return stems


def found_stems(folders: PairedFolders) -> list[str]:
    """Stems of all images and all masks, sorted. ValueError for a missing folder, and for no images."""
    for folder in (folders.images, folders.masks):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; {folders.remedy}")
    images = set(_stems_below(folders.images, folders.image_suffix))
    masks = set(_stems_below(folders.masks, folders.mask_suffix))
    if folders.images == folders.masks and folders.mask_suffix.endswith(folders.image_suffix):
        # Side by side, what ends like a mask ends like an image as well: a_mask.png beside a.png.
        images -= {f"{stem}{folders.mask_suffix}".removesuffix(folders.image_suffix) for stem in masks}
    if not images:
        raise InputError(f"{folders.images}: no images (*{folders.image_suffix}) in it; {folders.remedy}")
    return sorted(images | masks)


def _stems_below(folder: Path, suffix: str) -> Iterable[str]:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    names = (path.relative_to(folder).as_posix() for path in paths)
    return (name.removesuffix(suffix) for name in names if name.endswith(suffix))


def _lines(path: Path) -> list[str]:
    text = load_text_file(path).removesuffix("\n")
    return text.split("\n") if text else []


def _words(path: Path, number: int, line: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in line.split(","))
    if not all(words):
        raise InputError(
            f"{path}, line {number}: an empty class or synonym; write a class per line, synonyms after commas"
        )
    return words
