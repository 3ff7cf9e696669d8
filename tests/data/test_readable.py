import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, Params, PretrainParams
from cosmos.data.manifest import Manifest
from cosmos.data.readable import (
    DamageLimit,
    ReadableSamples,
    find_damaged_shards,
    name_damage,
    repair_advice,
    sample_problems,
)
from cosmos.data.shards.damage import SampleDamage
from cosmos.data.shards.index import index_path
from cosmos.data.shards.samples import ShardedSamples, write_shard
from cosmos.errors import DamagedDataError
from tests.data.examples import samples


def params(max_damaged: float) -> Params:
    return Params(pretrain=PretrainParams(batch_size=2, max_damaged=max_damaged))


@pytest.fixture
def split(tmp_path: Path) -> ShardedSamples:
    """Three shards of two samples each, in the folder of the manifest."""
    shards = [write_shard(tmp_path / f"{name}.tar", samples(2)) for name in "abc"]
    Manifest("captions", tuple(shards), (), {}).write(tmp_path)
    return ShardedSamples(tmp_path, Machine())


DAMAGE: dict[str, Callable[[Path], None]] = {
    "missing": lambda folder: (folder / "b.tar").unlink(),
    "cut off": lambda folder: os.truncate(folder / "b.tar", 1000),
    "without an index": lambda folder: (folder / "b.idx.npz").unlink(),
    "with an empty index": lambda folder: os.truncate(folder / "b.idx.npz", 0),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_shards_that_show_damage_are_left_out_within_the_limit_and_an_error_past_it(
    split: ShardedSamples, kind: str
) -> None:
    DAMAGE[kind](split.folder)
    damage = find_damaged_shards(split, params(0.34))
    readable = ReadableSamples.of(split, damage, params(0.34))
    assert readable.order.shards == (range(2), range(4, 6))
    assert readable.limit == DamageLimit(split.folder, {}, 6, 2, 0.34)
    assert readable.limit.num_used(1) == 3
    with pytest.raises(DamagedDataError) as error:
        find_damaged_shards(split, params(0.33))
    allowed = "2 of 6 samples cannot be used, more than pretrain.max_damaged allows (0.33): b.tar: "
    assert f"{split.folder}: {allowed}" in str(error.value)
    assert "`cosmos prepare`" in str(error.value)
    assert "--pretrain.max_damaged 0.3334" in str(error.value)


def test_by_default_one_missing_shard_of_three_is_too_much(split: ShardedSamples) -> None:
    (split.folder / "b.tar").unlink()
    with pytest.raises(DamagedDataError, match=r"b\.tar: no such file"):
        find_damaged_shards(split, Params())


def test_a_shard_is_left_out_wherever_it_lies(split: ShardedSamples, tmp_path: Path) -> None:
    shards = [replace(shard, path=str(split.folder / shard.path)) for shard in split.manifest.shards]
    elsewhere = tmp_path / "elsewhere"
    source = {"source": "shards"}
    replace(split.manifest, shards=tuple(shards), source=source).write(elsewhere)
    for shard in shards:
        index_path(split.folder, Path(shard.path).name).rename(index_path(elsewhere, shard.path))
    (split.folder / "b.tar").unlink()
    damage = find_damaged_shards(ShardedSamples(elsewhere, Machine()), params(0.5))
    assert [item.shard.path for item in damage] == [shards[1].path]


def test_the_remedy_is_the_command_that_made_the_dataset() -> None:
    source = DataParams(name="mine", source="folder", images="my photos", num_heldout=2)
    assert repair_advice(source.model_dump(mode="json"), "delete it, and") == (
        "delete it, and make them again with `cosmos prepare --data.name mine --data.source folder"
        " --data.images 'my photos' --data.num_heldout 2`"
    )
    elsewhere = DataParams(source="shards", annotations="{0..9}.tar").model_dump(mode="json")
    assert repair_advice(elsewhere, "delete it, and") == (  # never to delete shards that are not ours
        "put shards back as they were when they were prepared, and make missing indexes with"
        " `cosmos prepare --data.source shards --data.annotations '{0..9}.tar'`"
    )


def test_a_sample_that_several_ranks_meet_is_one_problem() -> None:
    damage = [SampleDamage(5, "b"), SampleDamage(2, "a"), SampleDamage(5, "b")]
    assert sample_problems(damage) == ["a", "b"]


def test_an_index_that_is_damaged_is_named_once_for_all_its_samples() -> None:
    assert name_damage([*["a.idx.npz: not an index"] * 40, "b"]) == "a.idx.npz: not an index, b"
