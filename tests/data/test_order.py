from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.data.order import SHARDS_PER_WINDOW, SampleOrder, nth_index, sample_generator, shard_ranges

sizes = st.lists(st.integers(0, 9), min_size=1, max_size=40).filter(lambda sizes: sum(sizes) > 0)


def epoch_of(order: SampleOrder, epoch: int) -> list[int]:
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    return [index for step in steps for _, index in order.batch(step)]


@given(sizes=sizes, seed=st.integers(0, 2**40), epoch=st.integers(0, 3))
def test_an_epoch_sees_every_sample_once(sizes: list[int], seed: int, epoch: int) -> None:
    order = SampleOrder(shard_ranges(sizes), batch_size=1, seed=seed)
    assert sorted(epoch_of(order, epoch)) == list(range(sum(sizes)))


@given(sizes=sizes, data=st.data(), num_ranks=st.integers(1, 40))
def test_ranks_together_see_the_batch_of_one_process(
    sizes: list[int], data: st.DataObject, num_ranks: int
) -> None:
    shards = shard_ranges([size * num_ranks for size in sizes])
    batch_size = num_ranks * data.draw(st.integers(1, sum(sizes)))
    alone = SampleOrder(shards, batch_size, seed=0)
    orders = [SampleOrder(shards, batch_size, seed=0) for _ in range(num_ranks)]
    for step in data.draw(st.lists(st.integers(0, 100), min_size=1, max_size=3)):
        parts = [order.part(step, rank, num_ranks) for rank, order in enumerate(orders)]
        assert [sample for part in parts for sample in part] == alone.batch(step)
        assert {len(part) for part in parts} == {batch_size // num_ranks}


@given(sizes=sizes, data=st.data())
def test_a_step_depends_on_no_earlier_one(sizes: list[int], data: st.DataObject) -> None:
    batch_size = data.draw(st.integers(1, sum(sizes)))
    running, fresh = (SampleOrder(shard_ranges(sizes), batch_size, seed=3) for _ in range(2))
    batches = [running.batch(step) for step in range(3 * running.steps_per_epoch)]
    step = data.draw(st.integers(0, len(batches) - 1))
    assert fresh.batch(step) == batches[step]


def test_epochs_and_seeds_differ_in_order() -> None:
    orders = [SampleOrder((range(50),), 50, seed) for seed in (0, 1)]
    assert len({tuple(epoch_of(order, epoch)) for order in orders for epoch in (0, 1)}) == 4


def test_the_samples_that_fill_no_batch_are_others_in_each_epoch() -> None:
    order = SampleOrder((range(10),), batch_size=4, seed=0)
    assert order.steps_per_epoch == 2
    counts = Counter(index for epoch in range(50) for index in epoch_of(order, epoch))
    assert len(counts) == 10
    assert [epoch for epoch, _ in order.batch(3)] == [1] * 4


def test_reading_stays_within_a_window_of_shards() -> None:
    num_shards, size = 5 * SHARDS_PER_WINDOW, 20
    order = SampleOrder(shard_ranges([size] * num_shards), batch_size=1, seed=0)
    window = SHARDS_PER_WINDOW * size
    seen = epoch_of(order, 0)
    shards = [
        {index // size for index in seen[start : start + window]} for start in range(0, len(seen), window)
    ]
    assert all(len(of_window) == SHARDS_PER_WINDOW for of_window in shards)
    assert shards[0] != set(range(SHARDS_PER_WINDOW))
    first = {index // size for index in seen[:window][: 4 * SHARDS_PER_WINDOW]}
    assert len(first) > SHARDS_PER_WINDOW // 2, "samples of a window are mixed"


def test_a_left_out_shard_is_never_read() -> None:
    shards = shard_ranges([5, 5, 5])
    order = SampleOrder((shards[0], shards[2]), batch_size=2, seed=0)
    assert order.num_samples == 10
    assert {index for epoch in range(5) for index in epoch_of(order, epoch)} == {*range(5), *range(10, 15)}


@given(sizes=sizes)
def test_positions_count_through_shards(sizes: list[int]) -> None:
    shards = shard_ranges(sizes)[::2]
    indices = [index for shard in shards for index in shard]
    assert [nth_index(shards, position) for position in range(len(indices))] == indices


def test_fewer_samples_than_a_batch_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"pretrain\.batch_size: 96 .* 50 samples .* set it to 50 or less"):
        SampleOrder((range(50),), batch_size=96, seed=0)


def test_no_samples_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no sample can be read; run `cosmos prepare`"):
        SampleOrder((), batch_size=96, seed=0)


def test_a_batch_that_ranks_cannot_share_is_refused_with_one_that_they_can() -> None:
    order = SampleOrder((range(50),), batch_size=10, seed=0)
    with pytest.raises(ValueError, match=r"pretrain\.batch_size: 10 .* 4 ranks; 8 would do"):
        order.part(0, rank=0, world_size=4)


def test_each_sample_has_its_own_random_numbers_in_each_epoch() -> None:
    draws = {
        sample_generator(*where).integers(2**62)
        for where in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1))
    }
    assert len(draws) == 5
    assert sample_generator(1, 2, 3).integers(2**62) == sample_generator(1, 2, 3).integers(2**62)
