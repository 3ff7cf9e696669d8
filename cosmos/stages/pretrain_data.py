"""Data of a pretraining: readable as the first rank finds it, the same on all ranks and in all sessions."""

import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.patience import wait_while_transient
from cosmos.data.readable import (
    PUT_BACK,
    ReadableSamples,
    find_damaged_shards,
    name_damage,
    repair_advice,
)
from cosmos.data.shards.damage import ShardDamage
from cosmos.data.shards.samples import ShardedSamples
from cosmos.distributed.exchange import on_every_rank, on_first_rank, on_ranks_alike
from cosmos.distributed.group import ProcessRank
from cosmos.distributed.whereabouts import doing
from cosmos.errors import InputError, TransientError
from cosmos.run.directory import RunDir
from cosmos.run.files import write_json
from cosmos.run.provenance import file_sha256
from cosmos.run.records import read_record
from cosmos.training.signals import stop_on_signals

logger = logging.getLogger(__name__)

Content = TypeVar("Content")

OTHER_RUN = "name another run with --run, to start afresh"


@dataclass(frozen=True)
class LeftOutShard:
    """Shard that a run does without."""

    shard: str
    """path, as the manifest has it"""
    num_samples: int
    problem: str


@dataclass(frozen=True)
class DataRecord:
    """Contents of data.json: the data that a run is trained on since its start."""

    num_samples: int
    """number of samples that the manifest lists"""
    left_out: tuple[LeftOutShard, ...]


@doing("opening of the data")
def open_data(run: RunDir, samples: ShardedSamples, params: Params, machine: Machine) -> ReadableSamples:
    """Return the samples that a run is trained on and their order, the same on all ranks and in all sessions.

    All ranks call it together. The first one finds the shards that are damaged, and records them in the run;
    when the run goes on from a checkpoint, those that its record names are left out.

    Raises InputError for data that does not fit the run or the parameters, DamagedDataError past
    `pretrain.max_damaged`, TransientError for a disk or storage that fails for longer than the machine's
    `data_wait_minutes`, Interrupted for a signal meanwhile.
    """
    left_out = on_first_rank(lambda: wait_for(lambda: find_left_out(run, samples, params), machine))
    return on_ranks_alike(lambda: ReadableSamples.of(samples, left_out, params))


@doing("check of the data")
def confirm_data(data: ReadableSamples, process: ProcessRank, machine: Machine) -> None:
    """Wait until the shards of the order are all there, and check that all ranks see them.

    All ranks call it together. Raises TransientError for shards that were there when the run began and are
    away for longer than the machine's `data_wait_minutes`, and for what the first rank alone can read;
    Interrupted for a signal meanwhile.
    """
    digest = on_first_rank(lambda: wait_for(lambda: digest_of_whole_data(data), machine))
    folders = on_every_rank(lambda: folder_identity(data.samples.folder))
    is_checked_before = folders.index(folders[process.rank]) < process.rank
    on_every_rank(lambda: None if is_checked_before else check_same_data(data, digest, process))


def find_left_out(run: RunDir, samples: ShardedSamples, params: Params) -> tuple[ShardDamage, ...]:
    """Return the shards that a run leaves out; find and record them where nothing is trained yet."""
    if run.saved_checkpoints and exists(run.data):
        left_out = recorded_damage(run, samples)
    else:
        left_out = find_damaged_shards(samples, params)
        write_json(run.data, asdict(data_record(samples, left_out)))
    if left_out:
        warn_of_damage(samples, left_out)
    return left_out


def data_record(samples: ShardedSamples, left_out: Sequence[ShardDamage]) -> DataRecord:
    """Return the record of a run that leaves out these shards."""
    shards = tuple(LeftOutShard(item.shard.path, item.shard.num_samples, item.problem) for item in left_out)
    return DataRecord(len(samples), shards)


def read_data_record(run: RunDir) -> DataRecord:
    """Return the record of a run's data. Raises as `read_record`."""
    return read_record(run.data, DataRecord, "record of data", OTHER_RUN)


def recorded_damage(run: RunDir, samples: ShardedSamples) -> tuple[ShardDamage, ...]:
    """Return the shards that a run leaves out since its start, from its record.

    Raises InputError where the data is other than the run's, DamagedDataError for a damaged record.
    """
    record = read_data_record(run)
    shards = {shard.path: shard for shard in samples.manifest.shards}
    named = {item.shard: item.problem for item in record.left_out}
    if record.num_samples != len(samples) or not named.keys() <= shards.keys():
        raise InputError(
            f"{run.data}: the run was begun on {record.num_samples} samples, and {samples.folder} holds"
            f" {len(samples)} others; bring back the data of then, or {OTHER_RUN}"
        )
    return tuple(ShardDamage(shards[path], problem) for path, problem in named.items())


def wait_for(read: Callable[[], Content], machine: Machine) -> Content:
    """Return what `read` returns, waiting while it raises TransientError; a signal ends the wait at once."""
    with stop_on_signals() as stop, stop.obeyed_at_once("stopped before data could be read"):
        return wait_while_transient(read, machine.data_wait_minutes)


def digest_of_whole_data(data: ReadableSamples) -> str:
    """Return the digest of the manifest where all shards are whole but those left out.

    Raises TransientError, which names them, where others are damaged.
    """
    if damage := data.unexpected(data.samples.damaged_shards()):
        raise TransientError(
            f"{data.samples.folder}: not as it was when this run began: {name_damage(damage)}; without that"
            f" its samples would come in another order:"
            f" {repair_advice(data.samples.manifest.source, PUT_BACK)}"
        )
    return file_sha256(data.samples.folder / MANIFEST_FILE)


def warn_of_damage(samples: ShardedSamples, left_out: Sequence[ShardDamage]) -> None:
    """Warn of the shards that the run does without."""
    logger.warning(
        "%s: %d of %d shards are damaged, so %d of %d samples are left out: %s",
        samples.folder,
        len(left_out),
        len(samples.shard_sizes),
        sum(item.shard.num_samples for item in left_out),
        len(samples),
        name_damage(left_out),
    )


def folder_identity(folder: Path) -> tuple[str, int, int]:
    """Return host, device and inode of a folder: ranks for which they agree see the same files."""
    status = folder.stat()
    return socket.gethostname(), status.st_dev, status.st_ino


def check_same_data(data: ReadableSamples, digest: str, process: ProcessRank) -> None:
    """Raise TransientError, naming rank and host, for what the first rank can read and this one cannot."""
    if process.is_first:
        return
    folder, damage = data.samples.folder, data.unexpected(data.samples.damaged_files())
    problems = [str(item) for item in damage]
    if file_sha256(folder / MANIFEST_FILE) != digest:
        problems.insert(0, f"another {MANIFEST_FILE}")
    if problems:
        raise TransientError(
            f"rank {process.rank} on {socket.gethostname()} does not see the data that the first rank sees in"
            f" {folder}: {name_damage(problems)}; all ranks must see one data_root"
        )
