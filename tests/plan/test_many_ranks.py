"""The step of a rank among many, in one process."""

import pytest
import torch

from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.many_ranks import record_step
from tests.plan.examples_of_ranks import PUBLISHED_RANKS, published_exchanges


@pytest.mark.parametrize("rank", [0, PUBLISHED_RANKS // 2, PUBLISHED_RANKS - 1])
def test_a_published_batch_of_4096_over_32_ranks_is_exchanged_once(rank: int) -> None:
    params = published_exchanges()
    calls = record_step(params, Machine(), rank, PUBLISHED_RANKS)
    large = [(call.collective, call.shapes) for call in calls if call.num_bytes > 2**23]
    assert large[:2] == [("all_gather", ((4096, 2, 512),)), ("all_gather", ((4096, 4, 512),))]
    gradients = ("all_reduce", ((ModelDimensions.of(params).num_trained,),))  # of a first step: in one bucket
    assert large[2:] == [("reduce_scatter", ((4096, 2, 512),)), gradients]
    assert (calls[-1].collective, calls[-1].shapes) == ("all_gather", ((PUBLISHED_RANKS, 7),))


def test_what_ranks_exchange_is_float32_in_bf16_as_well() -> None:
    params = published_exchanges(64, pretrain={"precision": "bf16"})
    assert {call.dtype for call in record_step(params, Machine(), 1, 4)} == {torch.float32}


def test_a_process_that_is_alone_exchanges_nothing() -> None:
    assert record_step(published_exchanges(4), Machine(), 0, 1) == []


def test_a_batch_that_the_ranks_cannot_share_is_refused_before_the_model_is_built() -> None:
    with pytest.raises(InputError, match=r"pretrain\.batch_size: 100 .* by 32 ranks; 96 would do"):
        record_step(published_exchanges(100), Machine(), 0, 32)
