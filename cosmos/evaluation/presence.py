"""Presence of datasets, as far as the names of their files tell it: no image, shard or list is opened.

What names cannot tell is not claimed: a dataset that is there may have damaged files, or other ones than its
lists name. Evaluation finds that, and `cosmos verify` of prepared datasets.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cosmos.config.disk_reading import find_paths, is_dir, list_names
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.folders import walk_files
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.errors import DamagedDataError, InputError
from cosmos.evaluation.dataset_files import DEMO_REMEDY, MAX_NAMED_FILES, check_file_exists


@dataclass(frozen=True)
class DatasetPresence:
    """Presence of a dataset whose files are there, by their names."""

    state: str = "there"
    """number of images, where it is known without counting them, or of those that are there of all"""
    is_complete: bool = True
    """True when there are as many images as were published, or more"""


@dataclass(frozen=True)
class ImageNames:
    """Names of the images of a dataset: folders that hold them, and the ends that they have."""

    folders: tuple[Path, ...]
    suffixes: Collection[str]
    """ends in lower case, as of `.jpg`, or of `_mask.png`"""
    is_deep: bool = True
    """True when they may lie in folders below these as well"""

    def count(self, limit: int, remedy: str) -> int:
        """Return the number of images, counted up to `limit`. Raises InputError where there is none."""
        suffixes = tuple(self.suffixes)
        names = (path for folder in self.folders for path in self._files_in(folder))
        images = (path for path in names if path.name.lower().endswith(suffixes))
        number = sum(1 for _ in islice(images, limit))
        if not number:
            folder, problem = self.folders[0], f"no images (*{', *'.join(sorted(suffixes))}) in it"
            raise InputError(f"{folder}: {problem if is_dir(folder) else 'no such folder'}; {remedy}")
        return number

    def _files_in(self, folder: Path) -> Iterable[Path]:
        return walk_files(folder) if self.is_deep else (folder / name for name in list_names(folder))


def find_files(
    files: Iterable[Path], images: Iterable[ImageNames], published: int, remedy: str
) -> DatasetPresence:
    """Return the presence of a dataset that has these files and images, `published` of each kind of images.

    `published`: 0 where there is no such number. Raises InputError, which ends in the remedy, for a file that
    is missing and where there are no images, TransientError where the disk fails.
    """
    for file in files:
        check_file_exists(file, remedy)
    number = min(names.count(max(published, 1), remedy) for names in images)
    if number < published:
        return DatasetPresence(f"{number:,} images of {published:,}", is_complete=False)
    return DatasetPresence()


def find_whole(
    files: Iterable[Path], images: Iterable[ImageNames], published: int, remedy: str
) -> DatasetPresence:
    """Return the presence of a dataset of which no image may be missing. Raises as `find_files`."""
    images = tuple(images)
    presence = find_files(files, images, published, remedy)
    if not presence.is_complete:
        raise InputError(f"{images[0].folders[0]}: {presence.state} are there; {remedy}")
    return presence


def find_demo(suite: str, params: Params, machine: Machine) -> DatasetPresence:
    """Return the presence of a suite's set of the demo world. Raises InputError where a file is missing."""
    from cosmos.data.drawn_sets import find_missing_file

    folder = machine.data_root / params.data.name / "evaluation" / suite
    if not is_dir(folder):
        raise InputError(f"{folder}: no such folder; {DEMO_REMEDY}")
    if missing := find_missing_file(folder.parent, suite):
        raise InputError(f"{missing}: missing; {DEMO_REMEDY}")
    return DatasetPresence()


def find_split(split: str, params: Params, machine: Machine) -> DatasetPresence:
    """Return the presence of a split of the prepared dataset, by its manifest and the names of its shards.

    Storages of remote shards are not asked. Raises InputError for a split that was not prepared or is empty,
    DamagedDataError where shards or indexes are missing.
    """
    folder = machine.dataset(params.data.name, split)
    check_split(folder)
    manifest = Manifest.read(folder)
    check_shards(folder, manifest)
    if not manifest.num_samples:
        raise InputError(f"{folder}: the dataset is empty; `cosmos prepare` says what was left out of it")
    is_remote = any("://" in shard.path for shard in manifest.shards)
    return DatasetPresence(
        f"{manifest.num_samples:,} images" + (", in a storage that is not asked" if is_remote else "")
    )


def check_shards(folder: Path, manifest: Manifest) -> None:
    """Raise DamagedDataError, which names them and the remedy, where local shards or indexes are missing."""
    from cosmos.data.readable import PUT_BACK, repair_advice
    from cosmos.data.shards.listing import find_missing_files

    if missing := find_missing_files(folder, manifest):
        named = ", ".join(map(str, missing[:MAX_NAMED_FILES])) + (", ..." * (len(missing) > MAX_NAMED_FILES))
        raise DamagedDataError(
            f"{folder}: {len(missing):,} files of its shards are missing: {named};"
            f" {repair_advice(manifest.source, PUT_BACK)}"
        )


def check_split(folder: Path) -> None:
    """Raise InputError, which names the splits that there are, where others were prepared.

    A folder of the split that lost its manifest is none of these: whoever reads the manifest names it.
    """
    others = [path.parent.name for path in find_paths(folder.parent, f"*/{MANIFEST_FILE}")]
    if others and not is_dir(folder):
        raise InputError(
            f"{folder.parent} has no split {folder.name!r}, only {', '.join(others)}; data.num_heldout sets"
            " samples aside"
        )
