"""Traffic of a step between ranks: bytes of its exchanges, and the seconds that links take for them.

Pure arithmetic; `many_ranks` counts the same bytes in a step that runs.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from cosmos.config.params import Params
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.workload import Span, Workload

FLOAT_BYTES = 4
"""Bytes of a number in exchanges: embeddings, gradients and sums are float32 in every precision."""

NUM_TAUGHT = 4
"""Views of a sample that the teacher embeds: two images, two captions."""

LOGITS_TOGETHER = 2**20
"""Logits that are computed together, after which the ranks exchange sums of their columns."""

AGREED_NUMBERS = 7
"""Numbers of a rank in the exchange at the end of a step."""

CALL_SECONDS = 5e-5
"""Seconds that a collective operation takes besides its bytes: an assumption."""

LINK_SHARE = Span(0.5, 0.9)
"""Shares of a link's speed that exchanges reach: an assumption."""

BITS = 8


@dataclass(frozen=True)
class Exchange:
    """Exchange of a step: one collective operation, or several of a kind."""

    name: str
    collective: Literal["all_gather", "all_reduce", "reduce_scatter"]
    num_bytes: int
    """bytes of what is gathered or summed up, whole"""
    num_calls: int = 1
    overlaps: bool = False
    """the backward pass goes on meanwhile"""

    def bytes_sent(self, num_ranks: int) -> float:
        """Return the bytes that a rank sends, which are those that it receives, where ranks form a ring.

        A gather moves (n - 1) / n of the whole, and so does a sum of which each rank keeps its part; a sum
        for all ranks moves twice that. Source: Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms
        for clusters of workstations, 2009.
        """
        times = 2 if self.collective == "all_reduce" else 1
        return times * self.num_bytes * (num_ranks - 1) / num_ranks


@dataclass(frozen=True)
class StepTraffic:
    """Exchanges of a step, the same for each rank."""

    num_ranks: int
    exchanges: tuple[Exchange, ...]
    """() for a process that is alone"""
    link_bytes: float | None
    """bytes per second of the slowest link of the ring, in each direction, as of data sheets;
    None where ranks meet in memory, whose speed is left out"""

    @property
    def bytes_sent(self) -> float:
        """Bytes that a rank sends in a step, which are those that it receives."""
        return sum(exchange.bytes_sent(self.num_ranks) for exchange in self.exchanges)

    @property
    def seconds(self) -> Span:
        """Seconds that a step's exchanges take."""
        return self.seconds_of(self.exchanges)

    def seconds_of(self, exchanges: Iterable[Exchange]) -> Span:
        """Return the seconds that exchanges take, one after the other."""
        seconds = Span.of(0.0)
        for exchange in exchanges:
            full = exchange.bytes_sent(self.num_ranks) / (self.link_bytes or math.inf)
            calls = Span.of(exchange.num_calls * CALL_SECONDS)
            seconds = seconds.plus(calls).plus(Span(full / LINK_SHARE.high, full / LINK_SHARE.low))
        return seconds

    def exposed_seconds(self, backward: Span) -> Span:
        """Return the seconds for which a step waits for its exchanges.

        `backward`: seconds of the last micro-batch's backward pass, beside which gradients are exchanged.
        """
        hidden = self.seconds_of(exchange for exchange in self.exchanges if exchange.overlaps)
        rest = self.seconds_of(exchange for exchange in self.exchanges if not exchange.overlaps)
        left = Span(max(0.0, hidden.low - backward.high), max(0.0, hidden.high - backward.low))
        return rest.plus(left)


def step_traffic(workload: Workload) -> StepTraffic:
    """Return the traffic of a workload's step. Raises InputError for an architecture that is no plain ViT."""
    dimensions = ModelDimensions.of(workload.params)
    exchanges = step_exchanges(
        workload.params, workload.num_ranks, dimensions.embed_dim, dimensions.num_trained
    )
    return StepTraffic(workload.num_ranks, exchanges, slowest_link(workload))


def slowest_link(workload: Workload) -> float | None:
    """Return the bytes per second of the slowest link between ranks, in each direction.

    What passes between two ranks of different nodes passes all adapters of a node together: by several rings
    side by side. None for the ranks of a single node's CPU, which meet in memory, and for a rank alone.
    """
    network = workload.site.network_gbit * 1e9 / BITS
    inside = [workload.gpu.link_bytes_per_second] if workload.gpu and workload.ranks_per_node > 1 else []
    return min([network] * (workload.nodes > 1) + inside, default=None)


def step_exchanges(params: Params, num_ranks: int, embed_dim: int, num_trained: int) -> tuple[Exchange, ...]:
    """Return the exchanges of a step; `num_trained`: numbers among the weights that the objective reaches.

    They are the same for any number of micro-batches: the loss is that of the whole batch, and gradients are
    exchanged with the last one.
    """
    if num_ranks == 1:
        return ()
    view = FLOAT_BYTES * params.pretrain.batch_size * embed_dim
    pairs, num_calls = column_sums(params, num_ranks)
    column_bytes = FLOAT_BYTES * pairs * params.pretrain.batch_size
    exchanges = (
        Exchange("embeddings of global images", "all_gather", 2 * view),
        Exchange("embeddings of the teacher", "all_gather", NUM_TAUGHT * view * params.loss.distills),
        Exchange("sums of the logits' columns", "all_reduce", 2 * column_bytes, 2 * num_calls),
        Exchange("gradients of embeddings", "reduce_scatter", 2 * view),
        Exchange("gradients of weights", "all_reduce", FLOAT_BYTES * num_trained, overlaps=True),
        Exchange("agreement", "all_gather", FLOAT_BYTES * AGREED_NUMBERS * num_ranks),
    )
    return tuple(exchange for exchange in exchanges if exchange.num_bytes)


def column_sums(params: Params, num_ranks: int) -> tuple[int, int]:
    """Return the number of pairs of views whose columns' sums are exchanged, and of times that it is done."""
    batch_size = params.pretrain.batch_size
    at_once = max(1, LOGITS_TOGETHER * num_ranks // batch_size**2)
    stacks = list(view_stacks(params))
    return sum(x * y for x, y in stacks), sum(num_blocks(x, y, at_once) for x, y in stacks)


def view_stacks(params: Params) -> Iterator[tuple[int, int]]:
    """Yield the numbers of views on both sides of each loss whose logits are normalised over columns."""
    images, captions = 2 + params.views.num_local_crops, params.views.num_captions
    if params.loss.contrastive == "clip":
        yield captions, 2
    if params.loss.distills:
        images = 2 if params.loss.distillation == "text-only" else images
        yield from ((images, 2), (images, 2), (captions, 2), (captions, 2))


def num_blocks(num_rows: int, num_columns: int, at_once: int) -> int:
    """Return the number of parts in which pairs of views are computed, at most `at_once` pairs in one."""
    rows, columns = max(1, at_once // num_columns), min(at_once, num_columns)
    return math.ceil(num_rows / rows) * math.ceil(num_columns / columns)
