"""Tasks that write or index one shard, in processes of their own; outcomes are recorded beside shards."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cosmos.config.machine import Machine
from cosmos.data.folders import is_gone_or_empty
from cosmos.data.image_decoding import verify_image
from cosmos.data.manifest import CaptionSchema, ShardInfo, Skipped, paths_below
from cosmos.data.sample import Sample
from cosmos.data.shards.damage import is_whole
from cosmos.data.shards.existing import index_shard
from cosmos.data.shards.index import index_path, shard_stem
from cosmos.data.shards.samples import image_extension, write_shard
from cosmos.data.sources.inputs import SourceInput
from cosmos.errors import DamagedDataError, TransientError, convert_os_error
from cosmos.run.files import write_json
from cosmos.run.records import read_record


@dataclass(frozen=True)
class ShardOutcome:
    """A shard that a task made, and the inputs that are not in it."""

    shard: ShardInfo
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class TaskRecord:
    """Outcome of a task, as it is recorded."""

    fingerprint: str
    shard: ShardInfo
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class WriteShard:
    """Task that writes a shard from inputs; those that cannot be used are skipped."""

    folder: Path
    shard: str
    root: Path
    """source_root of the machine, which is left out of what is recorded"""
    inputs: Sequence[SourceInput]
    read: Callable[[Any], Sample]
    images: Path
    """folder of the source's images"""
    max_pixels: int

    @property
    def num_inputs(self) -> int:
        """Number of inputs of the shard."""
        return len(self.inputs)

    @property
    def fingerprint(self) -> str:
        """Digest of the inputs' names: the record of a task with other inputs is not taken for this one's."""
        names = "\0".join(paths_below(self.root, item.name) for item in self.inputs)
        return hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def __call__(self) -> ShardOutcome:
        """Write the shard and its index. Raises TransientError when a disk fails."""
        skipped: list[Skipped] = []
        info = write_shard(self.folder / self.shard, self._usable(skipped))
        return ShardOutcome(info, tuple(skipped))

    def _usable(self, skipped: list[Skipped]) -> Iterator[Sample]:
        """Yield the samples that can be used; add the others to `skipped`."""
        for item in self.inputs:
            try:
                sample = self.read(item)
                verify_image(item.name, sample.image, self.max_pixels)
                image_extension(sample)
            except DamagedDataError as error:
                _check_not_away(self.images)
                skipped.append(Skipped(item.name, str(error)).below(self.root))
            else:
                yield sample


def _check_not_away(folder: Path) -> None:
    """Raise TransientError for a folder that is gone or empty, as where a disk was unmounted meanwhile."""
    if is_gone_or_empty(folder):
        raise TransientError(f"{folder}: is gone, or empty; mount it again, then give the same command again")


@dataclass(frozen=True)
class IndexShard:
    """Task that indexes a shard that exists already."""

    folder: Path
    shard: str
    number: int
    machine: Machine
    schema: CaptionSchema
    max_pixels: int

    @property
    def num_inputs(self) -> int:
        """1, the shard itself: the number of its samples is not known before it is read."""
        return 1

    @property
    def fingerprint(self) -> str:
        """Number of the shard in the order of shards, which its keys begin with."""
        return str(self.number)

    def __call__(self) -> ShardOutcome:
        """Write the index. Raises as `existing.index_shard`."""
        return ShardOutcome(
            *index_shard(self.shard, self.number, self.folder, self.machine, self.schema, self.max_pixels)
        )


ShardTask = WriteShard | IndexShard


def run_task(task: ShardTask) -> ShardOutcome:
    """Run the task and record its outcome, last of all.

    Raises as the task does, and InputError or TransientError where the outcome cannot be written.
    """
    try:
        outcome = task()
        write_json(_record_path(task), asdict(TaskRecord(task.fingerprint, outcome.shard, outcome.skipped)))
    except OSError as error:
        message = f"{task.folder}: {task.shard} cannot be prepared ({error})"
        raise convert_os_error(error, message) from None
    return outcome


def recorded_outcome(task: ShardTask) -> ShardOutcome | None:
    """Return the outcome of a task that was done already and whose files are whole; None for any other.

    Raises InputError when files may not be read, TransientError when the disk fails.
    """
    path = _record_path(task)
    try:
        record = read_record(path, TaskRecord, "record of a task", "")
    except (FileNotFoundError, DamagedDataError):
        return None
    except OSError as error:
        raise convert_os_error(error, f"{path}: cannot be read ({error.strerror})") from None
    shard = record.shard
    is_same = (record.fingerprint, shard.path) == (task.fingerprint, task.shard)
    is_possible = is_same and not shard.problem(is_elsewhere="/" in shard.path)
    return ShardOutcome(shard, record.skipped) if is_possible and is_whole(shard, task.folder) else None


def task_files(task: ShardTask) -> tuple[Path, ...]:
    """Return the files that a task writes, or may leave, in its folder."""
    return (
        task.folder / PurePosixPath(task.shard).name,
        index_path(task.folder, task.shard),
        _record_path(task),
    )


def _record_path(task: ShardTask) -> Path:
    return task.folder / f"{shard_stem(task.shard)}.json"
