"""The work on one shard, done in a process of its own and recorded beside the shard when it is done."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cosmos.config.machine import Machine
from cosmos.data.existing_shards import index_shard
from cosmos.data.image_verification import verify_image
from cosmos.data.inputs import SourceInput
from cosmos.data.manifest import CaptionSchema, ShardInfo, Skipped, paths_below
from cosmos.data.remote_shards import is_remote
from cosmos.data.sample import Sample
from cosmos.data.shard_index import index_path, shard_stem
from cosmos.data.shards import image_extension, size_problem, write_shard
from cosmos.errors import DamagedDataError
from cosmos.run.files import write_json


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a task's inputs."""

    shard: ShardInfo
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class WriteShard:
    """Writes a shard from inputs; those that cannot be used are skipped."""

    folder: Path
    shard: str
    root: Path
    """where the source lies: what is recorded does not tell"""
    inputs: Sequence[SourceInput]
    read: Callable[[Any], Sample]
    max_pixels: int

    @property
    def num_inputs(self) -> int:
        """Inputs of the shard."""
        return len(self.inputs)

    @property
    def fingerprint(self) -> str:
        """Differs between other inputs in the same place."""
        names = "\0".join(paths_below(self.root, item.name) for item in self.inputs)
        return hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def __call__(self) -> ShardOutcome:
        """Writes the shard and its index."""
        skipped: list[Skipped] = []
        info = write_shard(self.folder / self.shard, self._usable(skipped))
        return ShardOutcome(info, tuple(skipped))

    def _usable(self, skipped: list[Skipped]) -> Iterator[Sample]:
        """The samples that can be used; the others are added to `skipped`."""
        for item in self.inputs:
            try:
                sample = self.read(item)
                verify_image(item.name, sample.image, self.max_pixels)
                image_extension(sample)
            except DamagedDataError as error:
                skipped.append(Skipped(item.name, str(error)).below(self.root))
            else:
                yield sample


@dataclass(frozen=True)
class IndexShard:
    """Indexes a shard that exists already."""

    folder: Path
    shard: str
    number: int
    machine: Machine
    schema: CaptionSchema
    max_pixels: int

    @property
    def num_inputs(self) -> int:
        """The shard itself: how many samples it has shows when it is read."""
        return 1

    @property
    def fingerprint(self) -> str:
        """Differs between places in the order of shards, which keys begin with."""
        return str(self.number)

    def __call__(self) -> ShardOutcome:
        """Writes the index."""
        return ShardOutcome(
            *index_shard(self.shard, self.number, self.folder, self.machine, self.schema, self.max_pixels)
        )


ShardTask = WriteShard | IndexShard


def run_task(task: ShardTask) -> ShardOutcome:
    """Does the task and records its outcome, last of all."""
    outcome = task()
    write_json(_record_path(task), {"fingerprint": task.fingerprint, **asdict(outcome)})
    return outcome


def recorded_outcome(task: ShardTask) -> ShardOutcome | None:
    """The outcome of a task that was done already and whose files are still whole."""
    try:
        value = json.loads(_record_path(task).read_text(encoding="utf-8"))
        outcome = ShardOutcome(
            ShardInfo(**value["shard"]), tuple(Skipped(**entry) for entry in value["skipped"])
        )
        is_same = value["fingerprint"] == task.fingerprint
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return outcome if is_same and is_whole(task.folder, outcome.shard) else None


def is_whole(folder: Path, shard: ShardInfo) -> bool:
    """Whether a shard of a dataset and its index are in place, without a look into them."""
    in_place = is_remote(shard.path) or not size_problem(folder, shard)
    return in_place and index_path(folder, shard.path).is_file()


def _record_path(task: ShardTask) -> Path:
    return task.folder / f"{shard_stem(task.shard)}.json"
