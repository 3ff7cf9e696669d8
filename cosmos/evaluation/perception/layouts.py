"""Annotation files with their folder of images, read as datasets of this suite."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos.config.disk_reading import list_names
from cosmos.data.image_decoding import IMAGE_SUFFIXES
from cosmos.errors import InputError
from cosmos.evaluation.dataset_files import check_file_exists, locate_images
from cosmos.evaluation.perception.annotations import read_examples, read_hard_negatives, read_statements
from cosmos.evaluation.presence import ImageNames

if TYPE_CHECKING:
    from cosmos.evaluation.perception.measure import CaptionedPairs, HardNegatives, SharedImages


@dataclass(frozen=True)
class ImageFolder:
    """Folder of images on this machine."""

    path: Path
    max_pixels: int
    remedy: str
    """advice on a file that is missing"""

    @property
    def names(self) -> ImageNames:
        """Names of the images."""
        return ImageNames((self.path,), IMAGE_SUFFIXES)

    def locate(self, listed_in: Path, names: Sequence[str]) -> list[Path]:
        """Return the files of the images that `listed_in` names. InputError counts and names missing ones."""
        return locate_images(listed_in, self.path, names, self.remedy)

    def share(self, paths: Sequence[Path]) -> "SharedImages":
        """Return the images of items, from the file of each."""
        from cosmos.evaluation.perception.measure import SharedImages

        return SharedImages.of(self.path, paths, self.max_pixels)


def find_hard_negative_files(folder: Path, remedy: str) -> list[Path]:
    """Return all JSON files directly in a folder, sorted. Raises InputError when there is none."""
    files = [folder / name for name in list_names(folder) if name.endswith(".json")]
    if not files:
        raise InputError(f"{folder}: no such folder, or no .json file in it; {remedy}")
    return files


def load_hard_negatives(files: Sequence[Path], folder: ImageFolder) -> "HardNegatives":
    """Return the dataset of files in SugarCrepe's form. Their names are the kinds of negatives."""
    from cosmos.evaluation.perception.measure import HardNegatives

    for file in files:
        check_file_exists(file, folder.remedy)
    entries = {path: read_hard_negatives(path) for path in files}
    items = [(path, entry) for path, entries_of_file in entries.items() for entry in entries_of_file]
    images = [folder.locate(path, [entry.image for entry in of_file]) for path, of_file in entries.items()]
    return HardNegatives(
        folder.share([image for images_of_file in images for image in images_of_file]),
        captions=tuple(entry.caption for _, entry in items),
        negatives=tuple(entry.negative for _, entry in items),
        kinds=tuple(path.stem for path, _ in items),
    )


def load_statements(file: Path, folder: ImageFolder) -> "CaptionedPairs":
    """Return the dataset of a Questions.csv in MMVP-VLM's form."""
    from cosmos.evaluation.perception.measure import CaptionedPairs

    check_file_exists(file, folder.remedy)
    pairs = read_statements(file)
    statements = [statement for pair in pairs for statement in pair]
    names = [f"{statement.kind}/{statement.number}.jpg" for statement in statements]
    captions = tuple(f"a photo of {statement.text}" for statement in statements)
    kinds = tuple(first.kind for first, _ in pairs)
    return CaptionedPairs(folder.share(folder.locate(file, names)), captions, kinds, images_choose=False)


def load_examples(file: Path, folder: ImageFolder) -> "CaptionedPairs":
    """Return the dataset of an examples.jsonl in Winoground's form."""
    from cosmos.evaluation.perception.measure import CaptionedPairs

    check_file_exists(file, folder.remedy)
    examples = read_examples(file)
    names = [name for example in examples for name in example.images]
    captions = tuple(caption for example in examples for caption in example.captions)
    return CaptionedPairs(folder.share(folder.locate(file, names)), captions, ("",) * len(examples))
