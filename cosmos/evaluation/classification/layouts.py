"""Image files in folders of classes, which is how users and ImageNet lay out labelled images."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cosmos.config.disk_reading import is_broken_link, is_dir, is_file, list_names
from cosmos.data.folders import walk_files
from cosmos.data.image_decoding import IMAGE_SUFFIXES, UNREAD_REMEDY, UNREAD_SUFFIXES
from cosmos.errors import InputError
from cosmos.evaluation.dataset_files import MAX_NAMED_FILES

BROKEN_LINKS = "links to what is not there", "mend or remove them"
"""Problem and remedy of links that are broken."""


@dataclass(frozen=True)
class LabelledFiles:
    """Image files and the class of each."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    """class of each image: an index of `classes`"""
    classes: tuple[str, ...]
    """names of the classes on disk"""


def read_class_folders(folder: Path) -> LabelledFiles:
    """Return the images in folders of classes, by sorted folder; deeper folders are part of a class.

    Links are followed. Hidden files and folders are left out, and so are files that are no images. InputError
    names a folder that is missing or empty, and images that would be left out: in no class's folder, or in
    formats that are not decoded.
    """
    if not is_dir(folder):
        raise InputError(f"{folder}: no such folder; correct the path")
    paths = [folder / name for name in list_names(folder)]
    folders = [path for path in paths if is_dir(path)]
    if not folders:
        raise InputError(f"{folder}: no folders in it; make a folder for each class, with its images")
    _refuse(folder, filter(is_broken_link, paths), *BROKEN_LINKS)
    _refuse(folder, filter(_is_image, paths), "images in no class's folder", "move them into one, or away")
    images = [_image_files(path) for path in folders]
    return LabelledFiles(
        tuple(path for paths in images for path in paths),
        tuple(label for label, paths in enumerate(images) for _ in paths),
        tuple(path.name for path in folders),
    )


def _image_files(folder: Path) -> list[Path]:
    """Return the image files below a class's folder, sorted."""
    files = sorted(walk_files(folder))
    unread = (path for path in files if path.suffix.lower() in UNREAD_SUFFIXES)
    _refuse(folder, unread, "images in formats that are not decoded", f"{UNREAD_REMEDY}, or move them away")
    _refuse(folder, filter(is_broken_link, files), *BROKEN_LINKS)
    paths = [path for path in files if _is_image(path)]
    if not paths:
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"{folder}: no image in it ({endings}); add some, or remove the folder")
    return paths


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and is_file(path)


def _refuse(folder: Path, paths: Iterable[Path], problem: str, remedy: str) -> None:
    """Raise InputError, which names and counts the files, if there are any: figures would leave them out."""
    named = [str(path) for path in paths]
    if named:
        files = ", ".join(named[:MAX_NAMED_FILES])
        raise InputError(f"{folder}: {problem}: {files} ({len(named):,} in all); {remedy}")
