"""Folders that strangers filled: walks that follow links, names that are not UTF-8."""

import os
from collections.abc import Iterator
from pathlib import Path

from cosmos.config.disk_reading import is_dir, is_hidden, listing_error
from cosmos.config.printable_text import encodable_text
from cosmos.errors import InputError


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and in the folders below it, linked ones too, without hidden ones.

    A folder that links reach as well counts once, at its own place if that is below `folder`: no file comes
    twice, and no link leads in circles. Raises InputError or TransientError for a folder that cannot be
    listed: its files would be left out.
    """
    seen = set[str]()
    folders = [folder]
    while folders:
        links: list[Path] = []
        for start in folders:
            yield from _walk_without_links(start, seen, links)
        folders = sorted(links)


def _walk_without_links(start: Path, seen: set[str], links: list[Path]) -> Iterator[Path]:
    """Yield the files below `start` whose folders are not in `seen`; add links to folders to `links`."""
    real_start = os.path.realpath(start)
    folders = [str(start)]
    while folders:
        parent = folders.pop()
        real = f"{real_start}{parent[len(str(start)) :]}"
        if real in seen:
            continue
        seen.add(real)
        for entry in _list_entries(parent):
            if not _is_folder(entry):
                yield Path(entry.path)
            elif entry.is_symlink():
                links.append(Path(entry.path))
            else:
                folders.append(entry.path)


def _list_entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, without what is hidden. Raises as `walk_files`."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise listing_error(error, folder) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return True for a folder, or a link to one.

    Raises as `walk_files` where that cannot be told: `os.walk` takes a link to a folder on a disk that fails
    for a file, whose name no reader of images looks at.
    """
    try:
        return is_dir(entry.path) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)
    except OSError as error:
        raise listing_error(error, entry.path) from None


def check_utf8(where: str, path: str) -> None:
    """Raise InputError, which begins with `where`, for a path that no record can hold: it is not UTF-8."""
    if (text := encodable_text(path)) != path:
        raise InputError(f"{where}: {text} is not UTF-8; rename the file or folder")


def is_gone_or_empty(folder: Path) -> bool:
    """Return True where there is no folder, or nothing in it, as where a disk is not mounted.

    Raises as `list_folder`.
    """
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        raise listing_error(error, folder) from None
