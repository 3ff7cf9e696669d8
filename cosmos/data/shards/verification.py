"""Verification of shards: all bytes against the manifest's hashes, all samples against their checksums."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.image_decoding import verify_image
from cosmos.data.manifest import ShardInfo
from cosmos.data.readable import PUT_BACK, name_damage, repair_advice
from cosmos.data.shards.damage import find_damage, shard_name
from cosmos.data.shards.remote import forget_damaged_copy, is_remote, temporary_copy
from cosmos.data.shards.samples import OpenShard, ShardedSamples, image_extension, read_index
from cosmos.errors import DamagedDataError

DELETE_FILE = "delete that file, and"
"""Beginning of the remedy for a shard that is there, and is not as it was prepared."""


def verify_shard(samples: ShardedSamples, shard: ShardInfo, machine: Machine) -> None:
    """Check a shard to the last byte, and its samples where it has an index.

    A remote one is copied for this; a kept copy of it that is damaged is removed.
    Raises DamagedDataError, which names the shard, its damaged samples and the remedy; InputError where this
    user may not read it, TransientError when a disk or the network fails.
    """
    with _local_file(samples, shard, machine) as path:
        if damage := find_damage(shard, path):
            raise _damaged(samples, str(damage), PUT_BACK)
        with path.open("rb") as file:
            is_whole = file_digest(file, "sha256").hexdigest() == shard.sha256
            broken = list(_broken_samples(samples, shard, file.fileno(), is_whole))
    if broken:
        number = f"{len(broken)} of {shard.num_samples} samples are damaged"
        raise _damaged(samples, f"{shard.path}: {number} ({name_damage(broken)})", DELETE_FILE)
    if not is_whole:
        raise _damaged(samples, f"{shard.path}: not the file that was prepared", DELETE_FILE)


def _damaged(samples: ShardedSamples, problem: str, first: str) -> DamagedDataError:
    advice = repair_advice(samples.manifest.source, first)
    return DamagedDataError(f"{samples.folder}: {problem}; {advice}")


@contextmanager
def _local_file(samples: ShardedSamples, shard: ShardInfo, machine: Machine) -> Iterator[Path]:
    if is_remote(shard.path):
        forget_damaged_copy(shard.path, shard.num_bytes, shard.sha256, machine)
        with temporary_copy(shard.path, machine) as copy:
            yield copy
    else:
        yield samples.folder / shard.path


def _broken_samples(
    samples: ShardedSamples, shard: ShardInfo, descriptor: int, is_whole: bool
) -> Iterator[str]:
    """Yield the keys of samples that are not as they were prepared; none where the index is damaged.

    In a shard that is not whole, those without a checksum are decoded, too.
    """
    try:
        index = read_index(shard, samples.folder)
        opened = OpenShard(shard, shard_name(samples.folder, shard.path), index, os.dup(descriptor))
    except DamagedDataError:  # the check of the index says so
        return
    for position in range(len(opened.index)):
        location = opened.index[position]
        try:
            sample = samples.read_from(opened, shard, position)
            image_extension(sample)
            if not is_whole and location.checksum is None:
                verify_image(sample.key, sample.image, DataParams().max_pixels)
        except DamagedDataError:
            yield location.key
