"""Members of a tar in webdataset's format, grouped into samples."""

import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cosmos.config.disk_reading import is_hidden, open_regular
from cosmos.errors import DamagedDataError, convert_os_error, short_reason

MAX_NAMED_EXTENSIONS = 10


MAX_HEADER_BYTES = 2**20
"""Largest name of a member, or other text about it; tarfile reads all of it into memory."""

MAX_GLOBAL_HEADERS = 100
"""Most headers that hold for all members behind them; tarfile copies them for each of these."""

TEXT_TYPES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
"""Types of members that are text about the next one."""


class _Member(tarfile.TarInfo):
    """Member of a tar whose size is none below zero, and whose names and other texts are of limited size."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in TEXT_TYPES and self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a name of {self.size} bytes")
        if len(tar.pax_headers) > MAX_GLOBAL_HEADERS:
            raise tarfile.ReadError(f"{len(tar.pax_headers)} headers for all members")
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return member

    def _block(self, count: int) -> int:
        if count < 0:  # tarfile would read the same members for ever
            raise tarfile.ReadError(f"a member of {count} bytes")
        size: int = super()._block(count)  # type: ignore[misc]
        return size


class TarEntry(NamedTuple):
    """Neighbouring members of a tar with the same key: one sample in webdataset's format."""

    key: str
    """the members' path up to the first dot of the file name"""
    parts: dict[str, tuple[int, int]]
    """(offset, size) by lower-case extension"""
    links: set[str]
    """extensions of members that are links to files which the tar does not hold"""

    @property
    def extensions(self) -> str:
        """Extensions of its members, for people."""
        return list_extensions({*self.parts, *self.links})


def list_extensions(extensions: Iterable[str]) -> str:
    """Return some extensions of members for people, such as `.jpg, .txt`."""
    named = [f".{name}" if name.isprintable() else ascii(name) for name in sorted(extensions)]
    return ", ".join(named[:MAX_NAMED_EXTENSIONS]) + (", ..." * (len(named) > MAX_NAMED_EXTENSIONS))


def scan_tar(path: Path) -> Iterator[TarEntry]:
    """Yield the samples of an uncompressed tar in webdataset's format, in order.

    Folders and hidden files, such as those that a Mac packs beside each file, are passed over. A hard link is
    the member that it points to.

    Raises DamagedDataError, behind the last whole sample, when the file is no tar or ends too early, and
    TransientError when the disk fails.
    """
    entry: TarEntry | None = None
    for name, place in _members(path):
        key, extension = _split_name(name)
        if entry is None or key != entry.key or extension in {*entry.parts, *entry.links}:
            if entry is not None:
                yield entry
            entry = TarEntry(key, {}, set())
        if place is None:
            entry.links.add(extension)
        else:
            entry.parts[extension] = place
    if entry is not None:
        yield entry


def _members(path: Path) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Yield name and (offset, size) of the files in a tar; None for a link to what it does not hold."""
    places: dict[str, tuple[int, int] | None] = {}
    try:
        end = path.stat().st_size
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:", tarinfo=_Member) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # each would stay in memory
                if member.offset_data + member.size > end:
                    raise tarfile.ReadError("it ends in the middle of a file")
                if member.isdir():
                    continue
                is_whole = member.isreg() and not member.issparse()
                place = (member.offset_data, member.size) if is_whole else places.get(member.linkname)
                places[member.name] = place
                if not _is_hidden_path(member.name):
                    yield member.name, place
            # tarfile takes a broken header for the end; the true end is zeros, or nothing.
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"no header at byte {tar.offset}")
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror or error})"
        raise convert_os_error(error, message, DamagedDataError) from None
    except (tarfile.TarError, ValueError, RecursionError) as error:  # tarfile recurs for a text about a text
        raise DamagedDataError(f"{path}: not a whole, uncompressed tar ({short_reason(error)})") from None


def _is_hidden_path(name: str) -> bool:
    return any(map(is_hidden, name.split("/")))


def _split_name(name: str) -> tuple[str, str]:
    folder, _, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return (f"{folder}/{stem}" if folder else stem), extension.lower()
