"""Download of a published dataset: into a folder aside, so that one that is there is whole.

torchvision takes a folder that is there for the whole dataset, and unpacks into it for minutes.
"""

import gzip
import tarfile
import zipfile
import zlib
from pathlib import Path

from cosmos.config.disk_reading import exists, is_dir, lexists
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import CosmosError, InputError, TransientError, class_of_os_error, is_permanent
from cosmos.evaluation.card import DatasetCard
from cosmos.evaluation.dataset_files import is_transient
from cosmos.run.abandoned_files import discard
from cosmos.run.sole_writer import sole_writer

ARCHIVE_SUFFIXES = (".gz", ".tgz", ".tar", ".zip")
"""Ends of the names of archives; torchvision downloads no archive again that is whole."""

DAMAGED_ARCHIVE = (EOFError, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, zlib.error)
"""Errors of Python's readers of archives."""


def download_dataset(card: DatasetCard, params: Params, machine: Machine) -> None:
    """Download a dataset that is not there, or cannot be measured; for that, it is opened.

    It is unpacked in a hidden folder beside its place, from where it was left. Raises InputError where no
    program can, or a part of it is there, TransientError where the network fails, or the disk does.
    """
    aside = machine.datasets_root / f".{card.name}.download"
    writer = aside.with_suffix(".downloading")
    is_there = _is_there(card, params, machine)
    if is_there and not exists(aside) and not exists(writer):
        return
    if card.download is None:
        raise InputError(
            f"{card.name}: cannot be downloaded by a program; put it below {machine.datasets_root}:"
            f" {', '.join(card.layout)}"
        )
    machine.datasets_root.mkdir(parents=True, exist_ok=True)
    with sole_writer(writer, f"{card.name}: is being downloaded"):
        if is_there or _is_there(card, params, machine):  # another process may have downloaded it meanwhile
            discard(aside)
        else:
            _download_aside(card, machine, aside)


def _is_there(card: DatasetCard, params: Params, machine: Machine) -> bool:
    """Return True for a dataset that can be opened. Raises TransientError where that cannot be told."""
    try:
        card.open(params, machine)
    except (CosmosError, OSError) as error:
        if is_transient(error):
            raise TransientError(f"{card.name}: {error}; run the command again") from None
        return False
    return True


def _download_aside(card: DatasetCard, machine: Machine, aside: Path) -> None:
    """Download and unpack a dataset in a folder, and move it to where its layout says."""
    assert card.download
    place = machine.datasets_root / Path(card.layout[0]).parts[0]
    if exists(place):
        raise InputError(f"{place}: holds a part of {card.name}; remove it, then download the whole")
    try:
        _remove_unpacked(aside)
        aside.mkdir(exist_ok=True)
        card.download(aside)
        (aside / place.name).rename(place)
    except (OSError, RuntimeError) as error:  # torchvision's of a file that came damaged
        raise _download_error(card, machine, error) from None
    except DAMAGED_ARCHIVE as error:
        discard(aside)
        raise TransientError(
            f"{card.name}: the download came damaged ({error}); run the command again"
        ) from None
    _move_others(aside, machine.datasets_root)


def _remove_unpacked(aside: Path) -> None:
    """Remove what a download that was stopped had unpacked, but no archive."""
    for path in sorted(aside.rglob("*"), reverse=True):
        if is_dir(path) and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif not path.name.endswith(ARCHIVE_SUFFIXES):
            path.unlink()


def _move_others(aside: Path, root: Path) -> None:
    """Move what else a download left, such as its archive, and remove the folder."""
    for path in sorted(aside.iterdir()):
        if not lexists(root / path.name):
            path.rename(root / path.name)
    discard(aside)


def _download_error(card: DatasetCard, machine: Machine, error: OSError | RuntimeError) -> CosmosError:
    """Return the error to raise for one that ended a download."""
    from cosmos.data.shards.remote import http_status, is_refusal

    message = f"{card.name}: the download failed ({error})"
    if is_refusal(http_status(error)):
        return InputError(f"{message}; put it below {machine.datasets_root}: {', '.join(card.layout)}")
    if isinstance(error, OSError) and is_permanent(error):
        return class_of_os_error(error)(f"{message}; correct the machine's datasets_root")
    return TransientError(f"{message}; run the command again")
