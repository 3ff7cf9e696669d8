"""Record of the evaluation sets that the demo world drew: their files, and whether these are as they were."""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cosmos.config.disk_reading import find_paths, is_dir, is_file
from cosmos.data.folders import walk_files
from cosmos.errors import DamagedDataError
from cosmos.run.files import naming_disk_errors
from cosmos.run.records import read_record

COMPLETE_FILE = "complete.json"
"""File that is written last, with the number of all others."""


@dataclass(frozen=True)
class DrawnSets:
    """Sets that were drawn, and their files."""

    image_size: int
    seed: int
    num_files: int
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file; empty for sets that an earlier version drew"""

    def files_of(self, name: str) -> dict[str, str]:
        """Return the SHA-256 of each file of the set `name`; of all for `*`."""
        return {path: digest for path, digest in self.files.items() if name in ("*", Path(path).parts[0])}


def find_changed_file(folder: Path, name: str = "*") -> Path | None:
    """Return a file below `folder` that is not as it was drawn, of the set `name` or of all; None: whole."""
    drawn = read_drawn_sets(folder)
    if drawn is None:
        return folder / COMPLETE_FILE
    if not drawn.files:
        return None if drawn.num_files == len(files_of_sets(folder)) else folder
    hashes, expected = hashes_of_sets(folder, name), drawn.files_of(name)
    changed = [path for path in sorted({*hashes, *expected}) if hashes.get(path) != expected.get(path)]
    return folder / changed[0] if changed else None


def find_missing_file(folder: Path, name: str) -> Path | None:
    """Return a file of the set `name` below `folder` that is not there; None: all are, by their names."""
    drawn = read_drawn_sets(folder)
    if drawn is None:
        return folder / COMPLETE_FILE
    names = {path.relative_to(folder).as_posix() for path in walk_files(folder / name)}
    return next((folder / path for path in drawn.files_of(name) if path not in names), None)


def files_of_sets(folder: Path, name: str = "*") -> list[Path]:
    """Return the files of a set, or of all, in a folder, without hidden ones, which systems leave there."""
    sets = filter(is_dir, find_paths(folder, name))
    return sorted(path for each in sets for path in walk_files(each) if is_file(path))


def hashes_of_sets(folder: Path, name: str = "*") -> dict[str, str]:
    """Return the SHA-256 of each file of a set, or of all, in a folder."""
    hashes = {}
    for path in files_of_sets(folder, name):
        with naming_disk_errors(path):
            hashes[str(path.relative_to(folder))] = sha256(path.read_bytes()).hexdigest()
    return hashes


def read_drawn_sets(folder: Path) -> DrawnSets | None:
    """Return the description of the sets in a folder; None where there is none, or it is broken."""
    try:
        return read_record(folder / COMPLETE_FILE, DrawnSets, "description of sets", "")
    except (FileNotFoundError, DamagedDataError):
        return None
