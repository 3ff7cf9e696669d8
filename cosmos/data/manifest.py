"""Manifest of a split: its shards, their sizes and hashes, and inputs that were left out, with reasons."""

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

from cosmos.config.disk_reading import folders_with
from cosmos.config.near_names import close_names
from cosmos.config.printable_text import encodable_text
from cosmos.errors import DamagedDataError, InputError, convert_os_error
from cosmos.run.files import write_json
from cosmos.run.records import read_record

CaptionSchema = Literal["dreamlip", "pixelprose", "captions"]
"""Form of a sample's annotation:

dreamlip    `raw_caption`, `shortIB_captions`, `longIB_captions`, ... each a list of strings
pixelprose  `original_caption` and `caption`, strings
captions    `captions`, a list of strings
"""

MANIFEST_FILE = "manifest.json"

REMEDY = "delete it and run `cosmos prepare` again"

MAX_NAME_CHARACTERS, MAX_PATH_CHARACTERS = 250, 4000

MIN_SAMPLE_BYTES = 1024
"""Bytes that a sample takes of a tar at least: a header of 512 bytes each for its image and its captions."""


@dataclass(frozen=True)
class ShardInfo:
    """A tar file of samples."""

    path: str
    """file name beside the manifest, or a local path or URL elsewhere"""
    num_samples: int
    num_bytes: int
    sha256: str

    def problem(self, is_elsewhere: bool) -> str:
        """Return the reason why no shard can be as this says; "" for none.

        `is_elsewhere`: the shard existed before and may lie anywhere, not beside the manifest alone.
        """
        if "\0" in self.path or not (_is_elsewhere(self.path) if is_elsewhere else _is_name(self.path)):
            place = "an absolute path or URL" if is_elsewhere else "a file name beside the manifest"
            return f"shard {self.path!r:.200} is not {place}"
        if not 0 <= self.num_samples * MIN_SAMPLE_BYTES <= self.num_bytes:
            return f"shard {self.path!r} cannot hold {self.num_samples} samples in {self.num_bytes} bytes"
        return ""


def _is_elsewhere(path: str) -> bool:
    return (path.startswith("/") or "://" in path) and len(path) < MAX_PATH_CHARACTERS


def _is_name(path: str) -> bool:
    return path not in ("", ".", "..") and "/" not in path and len(path) < MAX_NAME_CHARACTERS


MAX_SKIPPED_CHARACTERS = 5000
"""Largest name of a skipped input, and reason, that is recorded; strangers' may be megabytes."""


@dataclass(frozen=True)
class Skipped:
    """An input that is in no shard.

    Bytes of names that are no UTF-8, which no file of JSON can hold, become escapes.
    """

    input: str
    reason: str

    def __post_init__(self) -> None:
        for key in ("input", "reason"):
            text: str = getattr(self, key)
            object.__setattr__(self, key, encodable_text(text[:MAX_SKIPPED_CHARACTERS]))

    def below(self, root: Path) -> Self:
        """Return the same input and reason with paths that start from `root`."""
        return type(self)(paths_below(root, self.input), paths_below(root, self.reason))


def paths_below(root: Path, text: str) -> str:
    """Return `text` with paths that start from `root`, so that it is the same wherever a source lies."""
    return re.sub(rf"(?<![\w./-]){re.escape(str(root))}/", "", text)


@dataclass(frozen=True)
class Manifest:
    """Shards, caption schema and origin of a split: all that a reader needs before it opens a shard."""

    schema: CaptionSchema
    shards: tuple[ShardInfo, ...]
    skipped: tuple[Skipped, ...]
    source: dict[str, Any]
    """the `data` section that it was prepared from"""

    @property
    def num_samples(self) -> int:
        """Number of samples in all shards."""
        return sum(shard.num_samples for shard in self.shards)

    @property
    def content_hash(self) -> str:
        """SHA-256 of what training reads: caption schema, and sizes and hashes of the shards in their order.

        It does not change with the place of the shards, and with inputs that are in no shard.
        """
        shards = [[shard.num_samples, shard.sha256] for shard in self.shards]
        return sha256(json.dumps([self.schema, shards]).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write manifest.json into `folder`, atomically."""
        write_json(folder / MANIFEST_FILE, {"num_samples": self.num_samples, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the manifest in `folder`.

        Raises InputError when there is none, DamagedDataError when it is broken, TransientError when the disk
        fails; each names the file and the remedy.
        """
        path = folder / MANIFEST_FILE
        try:
            manifest = read_record(path, cls, "manifest", REMEDY)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; {_near_datasets(folder)}") from None
        except OSError as error:
            message = f"{path}: cannot be read ({error.strerror})"
            remedy = "" if isinstance(error, PermissionError) else "correct data.name"
            raise convert_os_error(error, message, InputError, remedy) from None
        if problem := manifest._problem():
            raise DamagedDataError(f"{path}: not a manifest ({problem}); {REMEDY}")
        return manifest

    def _problem(self) -> str:
        """Return the reason why `write` cannot have been given this manifest; "" for none."""
        for path, number in Counter(shard.path for shard in self.shards).most_common(1):
            if number > 1:
                return f"shard {path!r:.200} is there {number} times"
        is_elsewhere = self.source.get("source") == "shards"
        problems = (shard.problem(is_elsewhere) for shard in self.shards)
        return next(filter(None, problems), "")


def _near_datasets(folder: Path) -> str:
    """Return the prepared datasets with names near that of `folder`, a split, and the remedy."""
    datasets = folders_with(folder.parents[1], f"{folder.name}/{MANIFEST_FILE}")
    close = close_names(folder.parent.name, [dataset.name for dataset in datasets])
    near = f"near it: {', '.join(close)}; " if close else ""
    remedy = "--data.name names another dataset, COSMOS_DATA_ROOT the folder of all"
    return f"{near}`cosmos prepare` makes it; {remedy}"
