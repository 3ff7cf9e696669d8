"""The manifest of a split: which shards it has, what is in them, what was left out and why."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from cosmos.errors import InputError
from cosmos.run.files import write_json

CaptionSchema = Literal["dreamlip", "pixelprose", "captions"]
"""Form of a sample's annotation:

dreamlip    `raw_caption`, `shortIB_captions`, `longIB_captions`, ... each a list of strings
pixelprose  `original_caption` and `caption`, strings
captions    `captions`, a list of strings
"""

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class ShardInfo:
    """One tar file of samples."""

    path: str
    """file name beside the manifest, or a local path or URL elsewhere"""
    num_samples: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """An input that is in no shard."""

    input: str
    reason: str

    def below(self, root: Path) -> Self:
        """The same, with paths that start from `root`."""
        return type(self)(paths_below(root, self.input), paths_below(root, self.reason))


def paths_below(root: Path, text: str) -> str:
    """`text` with paths that start from `root`, so that it is the same wherever a source lies."""
    return re.sub(rf"(?<![\w./-]){re.escape(str(root))}/", "", text)


@dataclass(frozen=True)
class Manifest:
    """Everything a reader needs to know of a split before it opens a shard."""

    schema: CaptionSchema
    shards: tuple[ShardInfo, ...]
    skipped: tuple[Skipped, ...]
    source: dict[str, Any]
    """the `data` section that it was prepared from"""

    @property
    def num_samples(self) -> int:
        """Samples in all shards."""
        return sum(shard.num_samples for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Writes manifest.json into `folder`, atomically."""
        write_json(folder / MANIFEST_FILE, {"num_samples": self.num_samples, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest in `folder`. ValueError names the file and the remedy when it is missing or broken."""
        path = folder / MANIFEST_FILE
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                schema=value["schema"],
                shards=tuple(ShardInfo(**shard) for shard in value["shards"]),
                skipped=tuple(Skipped(**skipped) for skipped in value["skipped"]),
                source=value["source"],
            )
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; `cosmos prepare` makes it") from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not a manifest ({error}); delete it and run `cosmos prepare` again"
            ) from None
