"""Samples that a training reads: a split without its damaged shards, in an order, and a limit for damage."""

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cosmos.config.identity import flatten_sections
from cosmos.config.params import DataParams, Params
from cosmos.data.order import SampleOrder, shard_ranges
from cosmos.data.shards.damage import SampleDamage, ShardDamage
from cosmos.data.shards.samples import ShardedSamples
from cosmos.errors import DamagedDataError

PUT_BACK = "put them back, or"
"""Beginning of the remedy for shards that are missing, cut off or without an index."""

DELETE = "delete the shards that they are in, and"
"""Beginning of the remedy for samples whose bytes are broken."""

MAX_DAMAGE_NAMED = 20
"""Damaged shards or samples that a message names."""


@dataclass(frozen=True)
class DamageLimit:
    """Limit of the samples of a split that a training does without."""

    folder: Path
    source: Mapping[str, Any]
    """the `data` section that the split was prepared from"""
    num_samples: int
    """samples that the manifest lists"""
    num_left_out: int
    """samples of these in shards that were damaged when the run began"""
    max_damaged: float
    """largest share that may be left out or damaged, `pretrain.max_damaged`"""

    def num_used(self, num_damaged: int) -> int:
        """Return the number of samples to train on when `num_damaged` were met that are damaged."""
        return self.num_samples - self.num_left_out - num_damaged

    def check(self, num_damaged: int, problems: Iterable[object], first: str) -> None:
        """Raise DamagedDataError, which names the problems and the remedy, where more is damaged.

        `first`: beginning of the remedy, before shards that are not there are made again.
        """
        num_unused = self.num_samples - self.num_used(num_damaged)
        if num_unused > self.max_damaged * self.num_samples:
            enough = math.ceil(1e4 * num_unused / self.num_samples) / 1e4
            raise DamagedDataError(
                f"{self.folder}: {num_unused} of {self.num_samples} samples cannot be used, more than"
                f" pretrain.max_damaged allows ({self.max_damaged:.4g}): {name_damage(list(problems))};"
                f" {repair_advice(self.source, first)};"
                f" or do without them: --pretrain.max_damaged {enough:g} or more"
            )


@dataclass(frozen=True)
class ReadableSamples:
    """A split without the shards that are left out, and the order in which training sees the others."""

    samples: ShardedSamples
    order: SampleOrder
    left_out: tuple[ShardDamage, ...]
    """shards whose samples are not in the order"""
    limit: DamageLimit

    @classmethod
    def of(cls, samples: ShardedSamples, left_out: Sequence[ShardDamage], params: Params) -> Self:
        """Order the samples of all shards but those left out.

        Raises InputError when the samples are fewer than a batch takes, DamagedDataError when there are none.
        """
        paths = {damage.shard.path for damage in left_out}
        ranges = zip(samples.manifest.shards, shard_ranges(samples.shard_sizes), strict=True)
        readable = [indices for shard, indices in ranges if shard.path not in paths]
        order = SampleOrder(readable, params.pretrain.batch_size, params.pretrain.seed)
        limit = damage_limit(samples, left_out, params)
        return cls(samples, order, tuple(left_out), limit)

    def unexpected(self, damage: Iterable[ShardDamage]) -> list[ShardDamage]:
        """Return the damage among `damage` of shards that are in the order."""
        expected = {item.shard.path for item in self.left_out}
        return [item for item in damage if item.shard.path not in expected]


def damage_limit(samples: ShardedSamples, left_out: Sequence[ShardDamage], params: Params) -> DamageLimit:
    """Return the limit of a split of which the samples of damaged shards are left out."""
    num_left_out = sum(damage.shard.num_samples for damage in left_out)
    return DamageLimit(
        samples.folder, samples.manifest.source, len(samples), num_left_out, params.pretrain.max_damaged
    )


def find_damaged_shards(samples: ShardedSamples, params: Params) -> tuple[ShardDamage, ...]:
    """Return the damage of shards, whose samples are at most the share `pretrain.max_damaged` of all.

    Raises DamagedDataError past it, InputError where this user may not read a shard's folder, TransientError
    when the disk fails.
    """
    damage = samples.damaged_shards()
    damage_limit(samples, damage, params).check(0, damage, PUT_BACK)
    return damage


def repair_advice(source: Mapping[str, Any], first: str) -> str:
    """Return the remedy for damage: `first`, and the command that makes shards which are not there again.

    Of shards that others made, it makes the indexes alone.
    `source`: the `data` section that the dataset was prepared from.
    """
    command = prepare_command(source)
    if source.get("source") == "shards":
        return (
            f"put shards back as they were when they were prepared, and make missing indexes with {command}"
        )
    return f"{first} make them again with {command}"


def prepare_command(source: Mapping[str, Any]) -> str:
    """Return the command, in backquotes, that prepares a dataset from the `data` section `source`."""
    defaults = flatten_sections(DataParams().model_dump(mode="json"), "data.")
    values = flatten_sections(source, "data.")
    options = [
        f"--{key} {shlex.quote(str(value))}" for key, value in values.items() if defaults.get(key) != value
    ]
    return f"`{' '.join(['cosmos prepare', *options])}`"


def sample_problems(damage: Iterable[SampleDamage]) -> list[str]:
    """Return the problems of damaged samples, each sample once, by its number."""
    return [problem for _, problem in sorted({item.index: item.problem for item in damage}.items())]


def name_damage(problems: Sequence[object]) -> str:
    """Return the first MAX_DAMAGE_NAMED problems as one line; one of many samples, as of an index, once."""
    texts = list(dict.fromkeys(map(str, problems)))
    more = ", ..." if len(texts) > MAX_DAMAGE_NAMED else ""
    return ", ".join(texts[:MAX_DAMAGE_NAMED]) + more
