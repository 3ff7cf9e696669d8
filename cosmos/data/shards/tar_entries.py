"""Members of a tar in webdataset's format, grouped into samples."""

import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cosmos.data.folders import is_hidden
from cosmos.errors import DamagedDataError, convert_os_error

MAX_NAMED_EXTENSIONS = 10


class TarEntry(NamedTuple):
    """Neighbouring members of a tar with the same key: one sample in webdataset's format."""

    key: str
    """the members' path up to the first dot of the file name"""
    parts: dict[str, tuple[int, int]]
    """(offset, size) by lower-case extension"""

    @property
    def extensions(self) -> str:
        """Extensions of its members, for people."""
        return list_extensions(self.parts)


def list_extensions(extensions: Iterable[str]) -> str:
    """Return some extensions of members for people, such as `.jpg, .txt`."""
    named = [f".{name}" if name.isprintable() else ascii(name) for name in sorted(extensions)]
    return ", ".join(named[:MAX_NAMED_EXTENSIONS]) + (", ..." * (len(named) > MAX_NAMED_EXTENSIONS))


def scan_tar(path: Path) -> Iterator[TarEntry]:
    """Yield the samples of an uncompressed tar in webdataset's format, in order.

    Folders, links and hidden files, such as those that a Mac packs beside each file, are passed over.

    Raises DamagedDataError, behind the last whole sample, when the file is no tar or ends too early, and
    TransientError when the disk fails.
    """
    entry: TarEntry | None = None
    for name, offset, size in _members(path):
        key, extension = _split_name(name)
        if entry is None or key != entry.key or extension in entry.parts:
            if entry is not None:
                yield entry
            entry = TarEntry(key, {})
        entry.parts[extension] = (offset, size)
    if entry is not None:
        yield entry


def _members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield (name, offset, size) of the files in a tar."""
    try:
        end = path.stat().st_size
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                if member.offset_data + member.size > end:
                    raise tarfile.ReadError("it ends in the middle of a file")
                if member.isreg() and not member.issparse() and not _is_hidden_path(member.name):
                    yield member.name, member.offset_data, member.size
            # tarfile takes a broken header for the end; the true end is zeros, or nothing.
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"no header at byte {tar.offset}")
    except OSError as error:
        raise convert_os_error(error, f"{path}: cannot be read ({error})", DamagedDataError) from None
    except (tarfile.TarError, ValueError) as error:
        raise DamagedDataError(f"{path}: not a whole, uncompressed tar ({error})") from None


def _is_hidden_path(name: str) -> bool:
    return any(map(is_hidden, name.split("/")))


def _split_name(name: str) -> tuple[str, str]:
    folder, _, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return (f"{folder}/{stem}" if folder else stem), extension.lower()
