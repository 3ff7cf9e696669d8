"""Image files in folders of classes, which is how users and ImageNet lay out labelled images."""

from dataclasses import dataclass
from pathlib import Path

from cosmos.data.image_verification import IMAGE_SUFFIXES
from cosmos.errors import InputError
from cosmos.evaluation.dataset_files import walk_files


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

    Files and folders that begin with a dot are left out. InputError names a folder that is missing or empty.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; correct the path")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path, folder))
    if not folders:
        raise InputError(f"{folder}: no folders in it; make a folder for each class, with its images")
    images = [_image_files(path) for path in folders]
    return LabelledFiles(
        tuple(path for paths in images for path in paths),
        tuple(label for label, paths in enumerate(images) for _ in paths),
        tuple(path.name for path in folders),
    )


def _image_files(folder: Path) -> list[Path]:
    """Return the image files below a class's folder, sorted."""
    paths = sorted(
        path
        for path in walk_files(folder, follow_links=False)
        if path.suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(path, folder) and path.is_file()
    )
    if not paths:
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"{folder}: no image in it ({endings}); add some, or remove the folder")
    return paths


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
