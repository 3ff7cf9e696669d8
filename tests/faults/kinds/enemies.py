"""Files made by an enemy: nothing is executed, no member leaves its folder, memory and time are bounded."""

import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch

from tests.faults.kinds.files import USES, files_below
from tests.faults.tries import STATUSES, Try, draw_file, remove
from tests.faults.world import PHOTOS

SHARDS = (
    "--experiment",
    "tiny",
    "--data.name",
    "evil",
    "--data.source",
    "shards",
    "--data.annotations",
    "evil/*.tar",
)


class Payload:
    """Object whose unpickling writes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self.canary, "w")


def attempt(attempt: Try) -> None:
    """Put a file of an enemy somewhere, and give a command that reads it."""
    attempt.copy_world()
    canary = attempt.place / "canary"
    attack = attempt.rng.choice(ATTACKS)
    attempt.tell(attack.__name__)
    command = attack(attempt, canary)
    ended = attempt.cosmos(*command)
    assert ended.status in STATUSES, f"not a status of ours\n{ended.describe()}"
    assert not canary.exists(), f"an enemy's code was executed\n{ended.describe()}"
    strays = [path for path in attempt.place.rglob("escaped*") if "evil" not in path.parts]
    assert not strays, f"a member left its folder: {strays}"


def pickle_for_a_file(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Replace a binary file of the world by a pickle, plain or in an archive."""
    prefix = attempt.rng.choice([prefix for prefix in sorted(USES) if prefix != "experiments"])
    binary = {".pt", ".npz", ".pkl", ".npy", ".safetensors"}
    files = [path for path in files_below(attempt.place, prefix) if path.suffix in binary]
    path = draw_file(files or files_below(attempt.place, prefix), attempt.rng)
    write_pickle(path, Payload(canary), attempt.rng)
    return attempt.rng.choice(USES[prefix]).arguments


def pickle_beside_a_job(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Have a job's record, and its folder, lead to pickles."""
    run = attempt.place / "runs" / "mine"
    for name in ("value-0.pkl", "0_0_result.pkl", "value-0.json"):
        for folder in run.glob("jobs/*"):
            remove(folder / name)
            (folder / name).write_bytes(pickle.dumps(Payload(canary)))
    evil = attempt.place / "evil"
    evil.mkdir()
    (evil / "value-0.pkl").write_bytes(pickle.dumps(Payload(canary)))
    record = json.loads((run / "job.json").read_text())
    if attempt.rng.random() < 0.5:
        (run / "job.json").write_text(json.dumps(record | {"folder": str(evil)}))
    return attempt.rng.choice(
        [("attach", "mine"), ("jobs",), ("pretrain", "--experiment", "tiny", "--run", "mine")]
    )


def checkpoint_from_elsewhere(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Give a pickle as a checkpoint to evaluate, to export, or to report."""
    path = attempt.place / "evil.pt"
    write_pickle(path, Payload(canary), attempt.rng)
    return attempt.rng.choice(
        [
            ("evaluate", "retrieval", "--experiment", "tiny", "--checkpoint", "evil.pt"),
            ("export", "evil.pt", "--to", "exported"),
        ]
    )


def members_that_escape(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Prepare shards whose members have paths and kinds that lead out of their folder."""
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as archive:
        for number in range(8):
            add(archive, f"{number}.jpg", (attempt.place / "photos" / f"{number:02}.jpg").read_bytes())
            add(archive, f"{number}.txt", b"a caption")
        for name in (
            "../escaped.jpg",
            f"{attempt.place}/escaped.jpg",
            "a/../../escaped.txt",
            "escaped\0.jpg",
        ):
            add(archive, name, b"x")
        for kind, target in (
            (tarfile.SYMTYPE, "/etc/passwd"),
            (tarfile.LNKTYPE, "../escaped"),
            (tarfile.CHRTYPE, ""),
        ):
            member = tarfile.TarInfo(f"link-{attempt.rng.randrange(99)}.jpg")
            member.type, member.linkname = kind, target
            archive.addfile(member)
    write_shard(attempt, shard.getvalue())
    return "prepare", *SHARDS


def shard_that_lies(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Prepare a shard whose headers name sizes that no disk has, or whose members are huge."""
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as archive:
        add(archive, "0.jpg", (attempt.place / "photos" / "00.jpg").read_bytes())
        add(archive, "0.json", attempt.rng.choice(JSON_BOMBS)())
    header = tarfile.TarInfo("1.jpg")
    header.size = attempt.rng.choice([2**33, 2**62, 2**70])
    content = shard.getvalue()[: 512 * 4] + header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    write_shard(attempt, content if attempt.rng.random() < 0.5 else shard.getvalue())
    return "prepare", *SHARDS


def shard_of_endless_headers(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Prepare a shard whose headers lead back, are about headers, or hold for all members."""
    place = attempt.place / "photos"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for number in range(8):
            add(archive, f"{number}.jpg", (place / f"{number:02}.jpg").read_bytes())
            add(archive, f"{number}.txt", b"a caption")
    last = member_header("9.jpg", 0)
    records = b"".join(b"%03d k%d=\n" % (len(str(n)) + 7, n) for n in range(50_000))
    endings = [
        member_header("9.jpg", attempt.rng.choice([-512, -1024, -1536, -(2**40)])),
        member_header("text", attempt.rng.choice([-512, -1024]), tarfile.GNUTYPE_LONGNAME),
        header_text(b"019 size=-%08d\n" % attempt.rng.choice([512, 1536]), tarfile.XHDTYPE) + last,
        header_text(b"a\0", tarfile.GNUTYPE_LONGNAME) * 5000 + last,
        header_text(b"011 path=a\n", tarfile.XHDTYPE) * 5000 + last,
        header_text(records, tarfile.XGLTYPE) + last * 5000,
    ]
    samples = content.getvalue().rstrip(b"\0")
    samples += bytes(-len(samples) % tarfile.BLOCKSIZE)
    write_shard(attempt, samples + attempt.rng.choice(endings) + bytes(1024))
    return "prepare", *SHARDS


def picture_of_many_pixels(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Prepare a folder with a picture of 10^10 pixels."""
    for name in ("05.png", "05.jpg"):
        remove(attempt.place / "photos" / "05.jpg")
        (attempt.place / "photos" / name).write_bytes(huge_png())
    remove(attempt.place / "data" / "photos")
    return "prepare", *PHOTOS


def captions_that_explode(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Prepare a folder whose captions are JSON that is deep, wide or long."""
    remove(attempt.place / "photos" / "06.txt")
    (attempt.place / "photos" / "06.json").write_bytes(attempt.rng.choice(JSON_BOMBS)())
    remove(attempt.place / "data" / "photos")
    return "prepare", *PHOTOS


def picture_in_an_evaluation(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Evaluate on a dataset with a picture of 10^10 pixels."""
    pictures = [
        *attempt.place.glob("data/demo/evaluation/**/*.jpg"),
        *attempt.place.glob("data/demo/evaluation/**/*.png"),
    ]
    path = draw_file(pictures, attempt.rng)
    remove(path)
    path.write_bytes(huge_png())
    remove(attempt.place / "runs" / "mine" / "results")
    return "evaluate", "--experiment", "tiny", "--run", "mine"


def yaml_with_tags(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Have settings construct objects, or expand aliases a billion times."""
    tag = f"about: !!python/object/apply:builtins.open ['{canary}', 'w']\n"
    laughs = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 11)
    )
    text = attempt.rng.choice([tag, laughs])
    name = attempt.rng.choice(
        ["experiments/tiny.yaml", "experiments/sweeps/small.yaml", "runs/half/params.yaml"]
    )
    path = attempt.place / name
    path.write_text(attempt.rng.choice([text, path.read_text() + text]))
    return attempt.rng.choice(
        [("params", "--experiment", "tiny"), ("sweep", "small", "--dry-run"), ("runs", "list")]
    )


def archive_that_grows(attempt: Try, canary: Path) -> tuple[str, ...]:
    """Replace an index or an embedding by an archive of a few kilobytes that unpacks to gigabytes."""
    prefix, endings = attempt.rng.choice([("data/demo", {".npz"}), ("runs/mine", {".pt", ".npz"})])
    path = draw_file(
        [file for file in files_below(attempt.place, prefix) if file.suffix in endings], attempt.rng
    )
    with zipfile.ZipFile(path, "r") as old:
        names = old.namelist()
    remove(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in names:
            archive.writestr(name, npy_header(1 << 33) + bytes(1 << 26))
    remove(attempt.place / "runs" / "mine" / "results")
    return attempt.rng.choice(USES[prefix]).arguments


ATTACKS: tuple[Callable[[Try, Path], tuple[str, ...]], ...] = (
    pickle_for_a_file,
    pickle_for_a_file,
    pickle_for_a_file,
    pickle_beside_a_job,
    checkpoint_from_elsewhere,
    members_that_escape,
    shard_that_lies,
    shard_of_endless_headers,
    picture_of_many_pixels,
    captions_that_explode,
    picture_in_an_evaluation,
    yaml_with_tags,
    archive_that_grows,
)


def write_pickle(path: Path, payload: Payload, rng: Random) -> None:
    """Write a payload as a pickle, as torch's file or archive, or as an array of objects."""
    remove(path)
    way = rng.randrange(4)
    if way == 0:
        path.write_bytes(pickle.dumps(payload))
    elif way == 1:
        torch.save({"state_dict": payload, "epoch": 1}, path)
    elif way == 2:
        torch.save(payload, path, _use_new_zipfile_serialization=False)
    else:
        with path.open("wb") as file:
            np.savez(file, allow_pickle=True, offsets=np.array([payload], dtype=object))


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member to a tar."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def member_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return the header of a member of a tar, which may lie about its size."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def header_text(content: bytes, kind: bytes) -> bytes:
    """Return a member of a tar that is text about the next one."""
    return member_header("text", len(content), kind) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def write_shard(attempt: Try, content: bytes) -> None:
    """Write a shard into the folder of the enemy."""
    (attempt.place / "evil").mkdir()
    (attempt.place / "evil" / "00000.tar").write_bytes(content)


def huge_png() -> bytes:
    """Return a PNG of 100,000 times 100,000 pixels, in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )


def npy_header(length: int) -> bytes:
    """Return the header of an array of `length` numbers."""
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({length},), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


JSON_BOMBS: tuple[Callable[[], bytes], ...] = (
    lambda: b"[" * 200_000,
    lambda: b'{"caption": ' * 50_000 + b'"x"' + b"}" * 50_000,
    lambda: b'{"caption": ' + b"9" * 6000 + b"}",
    lambda: b'{"caption": "' + b"x" * (64 << 20) + b'"}',
    lambda: b'{"caption": [' + b'"a",' * 2_000_000 + b'"a"]}',
    lambda: b'{"caption": "\xff\xfe"}',
)
"""Texts that cost a reader of JSON its stack, its time or its memory."""
