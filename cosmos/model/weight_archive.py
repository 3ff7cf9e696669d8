"""Archives of torch.save: zip files whose members have checksums, which torch itself does not check.

Nothing here imports torch.
"""

import errno
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos.config.disk_reading import exists, open_regular
from cosmos.errors import CosmosError, DamagedDataError, InputError, convert_os_error, short_reason
from cosmos.run.directory import RunDir

BLOCK = 1 << 20
"""Bytes of a member that are read at a time."""

DOS_FOLDER = 0x10
"""Attribute of members that are folders."""

END_RECORD = b"PK\5\6"
"""First bytes of the record that ends a zip archive."""


def verify_checkpoint(path: Path) -> bool:
    """Read a checkpoint's file to its end, and compare it with its checksums; nothing in it is loaded.

    Returns False for safetensors and the format of PyTorch before 1.6, which have no checksums, and for a
    file that torch.save was told to write without any. Raises InputError for a file that does not exist,
    DamagedDataError for other bytes than were written, and TransientError where the disk fails.
    """
    with naming_read_errors(path):
        return check_archive(path) if is_archive(path) else False


@contextmanager
def naming_read_errors(path: Path) -> Iterator[None]:
    """Raise an error of ours that names `path` for one of the operating system, as it is read inside."""
    try:
        yield
    except CosmosError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise convert_os_error(error, f"{path}: cannot be read ({error.strerror or error})") from error


def is_archive(path: Path) -> bool:
    """Return True for a file that is a zip archive by its first bytes or its last.

    Raises DamagedDataError for an empty file.
    """
    with open_regular(path) as file:
        start = file.read(2)
        if not start:
            raise DamagedDataError(f"{path}: not a checkpoint: the file is empty; {repair_remedy(path)}")
        file.seek(max(-22, -file.seek(0, os.SEEK_END)), os.SEEK_END)
        return start == b"PK" or file.read(4) == END_RECORD


def check_archive(path: Path) -> bool:
    """Read each member of an archive, and compare it with its checksum; errors as of `verify_checkpoint`.

    It reads at the speed of the disk, in little memory. Returns False where no member has a checksum, as
    torch.save writes archives on request.
    """
    with path.open("rb") as file, naming_damage(path), zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        refuse_other_members(members, os.fstat(file.fileno()).st_size)
        if not any(member.CRC for member in members):
            return False
        for member in members:
            with archive.open(member) as stream:
                while stream.read(BLOCK):
                    pass
    return True


def refuse_other_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raise BadZipFile for members in a file of `size` bytes that torch.save does not write.

    torch would map compressed ones as they are, and one that is marked as a folder has no bytes for it.
    Reading the others takes no longer than reading the file.
    """
    if any(member.compress_type for member in members) or sum(member.file_size for member in members) > size:
        raise zipfile.BadZipFile("its members are compressed, or longer than the file")
    if any(member.external_attr & DOS_FOLDER for member in members):
        raise zipfile.BadZipFile("one of its members is a folder")


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Raise DamagedDataError, naming `path`, for what an archive that is no more as it was written ends in.

    Errors of the disk are raised as they are: zipfile hides some of them in its own.
    """
    try:
        yield
    except Exception as error:  # broken bytes may end in any
        for reason in (error, error.__context__):
            if isinstance(reason, OSError) and reason.errno != errno.EINVAL:  # EINVAL: an offset before 0
                raise reason from None
        raise DamagedDataError(
            f"{path}: broken or cut short ({short_reason(error)}); {repair_remedy(path)}"
        ) from None


def repair_remedy(path: Path) -> str:
    """Return the remedy for a damaged file of weights; what a run saved is made again from an older save."""
    path = path.absolute()
    run = RunDir(path.parent.parent)
    saved = run.saved_checkpoints if exists(run.params) else []
    if path not in saved:
        return "copy or download it again"
    if path != saved[0]:
        return f"delete it: {saved[0]} is newer"
    if len(saved) == 1:
        return "bring a copy back, or move it away to train the run from the first step"
    return f"the run's pretrain command makes it again from {saved[1]}, which may be taken meanwhile"
