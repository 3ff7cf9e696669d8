"""Images and masks in two folders, with a file of classes, opened as a dataset."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unicodedata import normalize

from cosmos.config.disk_reading import is_dir
from cosmos.config.evaluate_params import SegmentationProtocol
from cosmos.config.params import Params
from cosmos.data.folders import walk_files
from cosmos.data.sources.caption_files import load_text_file, locate_below
from cosmos.errors import InputError
from cosmos.evaluation.card import OpenDataset
from cosmos.evaluation.dataset_files import check_all_exist, check_file_exists, file_key, listing_hash
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.evaluation.images import ImageFiles
from cosmos.evaluation.presence import ImageNames

QueryWords = tuple[tuple[str, ...], ...]
"""Query words of every class, in the order of labels."""


@dataclass(frozen=True)
class PairedFolders:
    """Folder of images and folder of masks on this machine; an image and its mask share their path's stem.

    A stem is a path below the folder, without the suffix. Folders inside the folders are part of it.
    """

    images: Path
    image_suffix: str
    masks: Path
    mask_suffix: str
    remedy: str
    """advice on a file that is missing"""

    @property
    def names(self) -> tuple[ImageNames, ImageNames]:
        """Names of the images, and of the masks."""
        return (
            ImageNames((self.images,), (self.image_suffix.lower(),)),
            ImageNames((self.masks,), (self.mask_suffix.lower(),)),
        )

    def image(self, stem: str) -> Path:
        """Return the file of an image. Raises InputError when it would lie outside of the folder."""
        return locate_below(self.images, stem + self.image_suffix)

    def mask(self, stem: str) -> Path:
        """Return the file of an image's mask. Raises InputError when it would lie outside of the folder."""
        return locate_below(self.masks, stem + self.mask_suffix)


@dataclass(frozen=True)
class SegmentationSource:
    """Folders, classes and protocol of a dataset on this machine: all but the stems of its images."""

    name: str
    folders: PairedFolders
    classes: QueryWords
    names: tuple[str, ...]
    """name of each class in results"""
    protocol: SegmentationProtocol
    sources: tuple[Path, ...]
    """files that define its content: the list of images or the file of classes"""


def read_class_file(path: Path) -> QueryWords:
    """Return the classes of a file: one per line in the order of labels, synonyms after commas.

    InputError names file and line of an empty line or word, and of a word that occurs twice, in any case:
    the tokenizer ignores case, so that its classes would have the same embedding.
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


def class_names(classes: QueryWords, has_background: bool) -> tuple[str, ...]:
    """Return the first word of every class, but `background` for class 0 where that is all else."""
    names = tuple(words[0] for words in classes)
    return ("background", *names[1:]) if has_background else names


def open_masked_images(source: SegmentationSource, stems: Sequence[str], params: Params) -> OpenDataset:
    """Open the images and masks of these stems. Raises InputError unless all are there."""
    from cosmos.evaluation.segmentation.measure import SegmentationDataset, measure, segment_examples

    folders, classes, protocol = source.folders, source.classes, source.protocol
    images = ImageFiles(folders.images, tuple(map(folders.image, stems)), params.data.max_pixels)
    masks = tuple(map(folders.mask, stems))
    check_all_exist(folders.images, "images", images.paths, folders.remedy)
    check_all_exist(folders.masks, "masks", masks, folders.remedy)
    attention = params.evaluate.segmentation.attention
    dataset = SegmentationDataset(source.name, images, masks, classes, source.names, protocol)
    keys = [images.key(index) for index in range(len(images))]
    mask_keys = [file_key(mask, folders.masks) for mask in masks]
    settings = (protocol.model_dump_json(), *attention, *map(", ".join, classes))
    return OpenDataset(
        size={"num_images": len(images), "num_classes": len(classes)},
        chance={},
        sources=source.sources,
        fingerprint=fingerprint_strings([*settings, *keys, *mask_keys]),
        measure=partial(measure, dataset, attention),
        pictures=partial(segment_examples, dataset, attention),
        listings={folders.images: listing_hash([*keys, *mask_keys])},
        content=dataset,
        image_set=listing_hash(keys),
    )


def read_stems(list_file: Path, folders: PairedFolders) -> list[str]:
    """Return the stems that a list names, in its order. InputError for none, or one that leads outside."""
    check_file_exists(list_file, folders.remedy)
    stems = list(dict.fromkeys(line.strip() for line in _lines(list_file) if line.strip()))
    if not stems:
        raise InputError(f"{list_file}: no names in it; {folders.remedy}")
    try:
        for stem in stems:
            folders.image(stem)
    except InputError as error:
        raise InputError(f"{list_file}: {error}; {folders.remedy}") from None
    return stems


def find_stems(folders: PairedFolders) -> list[str]:
    """Return the stems of all images and masks, sorted. InputError for a missing or empty folder."""
    for folder in (folders.images, folders.masks):
        if not is_dir(folder):
            raise InputError(f"{folder}: no such folder; {folders.remedy}")
    images = set(_stems_below(folders.images, folders.image_suffix))
    masks = set(_stems_below(folders.masks, folders.mask_suffix))
    if folders.images == folders.masks and folders.mask_suffix.endswith(folders.image_suffix):
        # Side by side, what ends like a mask ends like an image as well: a_mask.png beside a.png.
        images -= {f"{stem}{folders.mask_suffix}".removesuffix(folders.image_suffix) for stem in masks}
    if not images:
        raise InputError(f"{folders.images}: no images (*{folders.image_suffix}) in it; {folders.remedy}")
    # A Mac writes é as two characters, other systems as one: both are the same stem.
    by_form = {normalize("NFC", stem): stem for stem in sorted(images | masks)}
    return sorted(by_form.values())


def _stems_below(folder: Path, suffix: str) -> Iterable[str]:
    names = (path.relative_to(folder).as_posix() for path in walk_files(folder))
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
