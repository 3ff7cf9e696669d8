import tarfile
import tracemalloc
from pathlib import Path

import pytest

from cosmos.data.shards.tar_entries import scan_tar
from cosmos.errors import DamagedDataError

END = bytes(2 * tarfile.BLOCKSIZE)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def text(content: bytes, kind: bytes) -> bytes:
    return header("text", len(content), kind) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def record(content: bytes) -> bytes:
    """Return a record of a pax header, which begins with its length."""
    return b"%03d %s\n" % (len(content) + 5, content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (text(b"a\0", tarfile.GNUTYPE_LONGNAME) * 2000, "recursion"),
        (text(record(b"path=a"), tarfile.XHDTYPE) * 2000, "recursion"),
        (header("b.jpg", -512), "a member of -512 bytes"),
        (header("b.jpg", -1536), "a member of -1536 bytes"),
        (text(record(b"size=-1536"), tarfile.XHDTYPE) + header("b.jpg"), "a member of -1536 bytes"),
        (header("text", -1024, tarfile.GNUTYPE_LONGNAME), "a member of -1024 bytes"),
        (
            text(b"".join(record(b"k%d=" % n) for n in range(2000)), tarfile.XGLTYPE) + header("b.jpg"),
            "2000 headers for all members",
        ),
    ],
    ids=["names of names", "headers of headers", "before it", "far before it", "pax", "name", "global"],
)
def test_a_tar_that_an_enemy_made_is_refused_at_once(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "0.tar"
    path.write_bytes(header("a.jpg", 3) + b"abc".ljust(512, b"\0") + header("a.txt") + content + END)
    with pytest.raises(DamagedDataError, match=rf"^{path}: not a whole, uncompressed tar \(.*{reason}.*\)$"):
        list(scan_tar(path))


def test_headers_of_members_do_not_stay_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    headers = text(b"".join(record(b"%0900d=" % n) for n in range(1000)), tarfile.XHDTYPE)
    path.write_bytes((headers + header("a.jpg")) * 20 + END)
    tracemalloc.start()
    try:
        assert len(list(scan_tar(path))) == 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
