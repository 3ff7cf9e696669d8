"""The traffic of a step by arithmetic, beside the exchanges of a step that runs."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from cosmos.config.gpus import Gpu, gpu_of_kind
from cosmos.config.machine import Machine
from cosmos.model.pairwise_loss import LOGITS_AT_ONCE
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.many_ranks import record_step
from cosmos.plan.traffic import CALL_SECONDS, LOGITS_TOGETHER, num_blocks, step_exchanges, step_traffic
from cosmos.plan.workload import DatasetFacts, Span, Workload
from tests.plan.examples_of_ranks import published_exchanges

FACTS = DatasetFacts(3_000_000, "", 30_000, "", ((20, 20),), "")
A100 = gpu_of_kind("a100-40gb")


def totals(exchanges: Iterable[Any]) -> Counter[tuple[str, str]]:
    """Bytes and calls by collective operation."""
    counts = Counter[tuple[str, str]]()
    for exchange in exchanges:
        counts[exchange.collective, "bytes"] += exchange.num_bytes
        counts[exchange.collective, "calls"] += getattr(exchange, "num_calls", 1)
    return counts


@pytest.mark.parametrize(
    ("rank", "num_ranks", "samples", "micro_batches", "kind", "contrastive"),
    [
        (1, 2, 5, 1, "none", "clip"),
        (0, 3, 1, 1, "text-only", "siglip"),
        (31, 32, 128, 2, "no-cross-attention", "clip"),
        (64, 128, 32, 1, "cross-modal", "clip"),
        (1023, 1024, 1, 1, "image-only", "siglip"),
    ],
)
def test_the_bytes_are_those_that_a_rank_exchanges_in_a_step(
    rank: int, num_ranks: int, samples: int, micro_batches: int, kind: str, contrastive: str
) -> None:
    loss = {"distillation": kind, "contrastive": contrastive}
    params = published_exchanges(samples * num_ranks, loss=loss)
    sizes = ModelDimensions.of(params)
    calls = record_step(params, Machine(micro_batches=micro_batches), rank, num_ranks)
    assert totals(calls) == totals(step_exchanges(params, num_ranks, sizes.embed_dim, sizes.num_trained))


def test_no_exchange_grows_faster_than_the_number_of_ranks() -> None:
    """Each rank keeps its samples, so that the batch grows with the ranks."""
    few, many = (step_exchanges(published_exchanges(32 * n), n, 512, 10**8) for n in (8, 1024))
    assert all(later.num_bytes <= 128 * first.num_bytes for first, later in zip(few, many, strict=True))


def test_a_process_that_is_alone_sends_nothing() -> None:
    traffic = step_traffic(Workload(published_exchanges(), FACTS))
    assert (traffic.bytes_sent, traffic.seconds, traffic.exchanges) == (0, Span.of(0), ())


def test_a_ring_of_two_sends_half_of_what_it_gathers_and_all_that_it_sums() -> None:
    exchanges = step_exchanges(published_exchanges(), 2, 512, 10**8)
    sent = {exchange.name: exchange.bytes_sent(2) for exchange in exchanges}
    assert sent["embeddings of the teacher"] == 4 * 4096 * 512 * 4 / 2
    assert sent["gradients of weights"] == 4 * 10**8


def test_only_the_gradients_of_weights_hide_behind_the_backward_pass() -> None:
    traffic = step_traffic(Workload(published_exchanges(), FACTS, nodes=2, ranks_per_node=4, gpu=A100))
    hidden = traffic.seconds_of(e for e in traffic.exchanges if e.name == "gradients of weights")
    rest = traffic.seconds_of(e for e in traffic.exchanges if e.name != "gradients of weights")
    assert traffic.exposed_seconds(Span.of(100)) == rest
    waits = traffic.exposed_seconds(Span.of(hidden.low / 2))
    assert waits.low == pytest.approx(rest.low + hidden.low / 2)
    assert traffic.exposed_seconds(Span.of(0)).high == pytest.approx(traffic.seconds.high)


@pytest.mark.parametrize(
    ("nodes", "ranks_per_node", "gpu", "link"),
    [(1, 8, A100, 300e9), (4, 4, A100, 25e9), (4, 1, A100, 25e9), (2, 4, gpu_of_kind("t4"), 16e9)],
)
def test_the_slowest_link_of_the_ring_decides(nodes: int, ranks_per_node: int, gpu: Gpu, link: float) -> None:
    workload = Workload(published_exchanges(), FACTS, nodes, ranks_per_node, gpu)
    assert step_traffic(workload).link_bytes == link


def test_ranks_on_the_processor_of_a_machine_take_the_time_of_calls_alone() -> None:
    traffic = step_traffic(Workload(published_exchanges(), FACTS, ranks_per_node=2))
    calls = sum(exchange.num_calls for exchange in traffic.exchanges)
    assert traffic.link_bytes is None
    assert (traffic.seconds.low, traffic.seconds.high) == pytest.approx((calls * CALL_SECONDS,) * 2)


def test_pairs_of_views_are_computed_as_often_as_the_loss_computes_them() -> None:
    assert LOGITS_TOGETHER == LOGITS_AT_ONCE
    assert [num_blocks(8, 2, at_once) for at_once in (1, 2, 4, 100)] == [16, 8, 4, 1]
