"""Exchanges between ranks: rows with gradients, means, computed values and errors.

Every rank calls the same exchanges in the same order. In a process that is alone they are the identity.
"""

import logging
import socket
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos.distributed.group import rank, world_size
from cosmos.distributed.rank_watch import waiting_for_ranks
from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    InputError,
    OutOfMemoryError,
    TransientError,
    class_of_kind,
    error_kind,
    summarize_error,
)

logger = logging.getLogger(__name__)

Computed = TypeVar("Computed")


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward, each rank gets the sum of all ranks' gradients of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        gathered = rows.new_empty((world_size() * rows.shape[0], *rows.shape[1:]))
        with waiting_for_ranks("gathering of embeddings"):
            dist.all_gather_single(gathered, rows.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        gradient: Tensor = grads[0].contiguous()
        mine = gradient.new_empty((len(gradient) // world_size(), *gradient.shape[1:]))
        with waiting_for_ranks("sum of the embeddings' gradients"):
            dist.reduce_scatter_single(mine, gradient)
        return mine


def gather_rows(rows: Tensor) -> Tensor:
    """Gather (B, ...) of every rank into (world x B, ...), by rank, with gradients to every rank's rows."""
    if world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum of `values` over all ranks, each by itself."""
    if world_size() == 1:
        return values
    total = values.clone()
    with waiting_for_ranks():
        dist.all_reduce(total)
        await_device(total)
    return total


def mean_over_ranks(values: Tensor) -> Tensor:
    """Return the mean of `values` over all ranks."""
    return sum_over_ranks(values) / world_size()


def max_over_ranks(values: Tensor) -> Tensor:
    """Return the largest of `values` over all ranks, each by itself."""
    if world_size() == 1:
        return values
    largest = values.clone()
    with waiting_for_ranks():
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        await_device(largest)
    return largest


def logsumexp_over_ranks(values: Tensor) -> Tensor:
    """Return the logarithm of the sum of exp(values) over all ranks, each by itself.

    The sums take as many bytes for any number of ranks, where values of all ranks would take more with each.
    A device is not waited for.
    """
    largest = values.clone()
    with waiting_for_ranks("sums of the logits' columns"):
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        total = (values - largest).exp_()
        dist.all_reduce(total)
    return largest + total.log_()


def await_device(values: Tensor) -> None:
    """Wait for the exchange of values that are read next, inside of the mark that ranks are waited for."""
    if values.is_cuda:
        torch.cuda.current_stream(values.device).synchronize()


def on_every_rank(compute: Callable[[], Computed]) -> list[Computed]:
    """Compute a value on every rank, and return all ranks' values, by rank, on each of them.

    An error of ours that one rank meets is raised on all ranks, by its message and the class that decides
    what follows. An error of the operating system becomes one of ours in the same way, also in a process
    that is alone, so that an `except` works with any number of ranks. Any other exception (a bug, an
    interruption) is raised on its rank alone, and the launcher ends the others.

    Values are pickled on their way: plain values and tensors on the CPU.
    """
    if world_size() == 1:
        return [_compute_alone(compute)]
    mine = _value_or_error(compute)
    outcomes: list[Computed | CosmosError] = [mine] * world_size()
    with waiting_for_ranks():
        dist.all_gather_object(outcomes, mine)
    return [_value_of(outcome) for outcome in outcomes]


def _compute_alone(compute: Callable[[], Computed]) -> Computed:
    try:
        return compute()
    except CosmosError:
        raise
    except OSError as error:
        raise _plain_error(error) from error


def _value_or_error(compute: Callable[[], Computed]) -> Computed | CosmosError:
    try:
        return compute()
    except (CosmosError, OSError) as error:
        logger.error("rank %d: %s", rank(), error)  # now: other ranks may take their time
        return _plain_error(error)


def _value_of(outcome: Computed | CosmosError) -> Computed:
    """Return a rank's value; raise its error where it has none."""
    if isinstance(outcome, CosmosError):
        raise outcome
    return outcome


def _plain_error(error: CosmosError | OSError) -> CosmosError:
    """Return an error of the deciding class, with the message alone: any other may fail to unpickle."""
    return class_of_kind(error_kind(error))(summarize_error(error))


def on_each_rank(compute: Callable[[], Computed]) -> Computed:
    """Compute a value on every rank, and return this rank's own; errors as in `on_every_rank`.

    The value is not sent, so that it may be of any kind.
    """
    values: list[Computed] = []
    on_every_rank(lambda: values.append(compute()))
    return values[0]


def on_ranks_alike(read: Callable[[], Computed]) -> Computed:
    """Compute on every rank a value that all read from the same files, and return this rank's own.

    Errors are those of `on_every_rank`, but that a file which is wrong or damaged for another rank, and not
    for the first, raises TransientError on all: that rank's host does not see what the others see.
    """
    values: list[Computed] = []

    def attempt() -> tuple[str, CosmosError] | None:
        try:
            values.append(read())
        except (CosmosError, OSError) as error:
            problem = _plain_error(error)
            if isinstance(problem, OutOfMemoryError) or not isinstance(
                problem, InputError | DamagedDataError
            ):
                raise
            return socket.gethostname(), problem
        return None

    problems = on_every_rank(attempt)
    if problems[0]:
        raise problems[0][1]
    for number, problem in enumerate(problems):
        if problem:
            raise TransientError(f"rank {number} on {problem[0]} alone: {problem[1]}")
    return values[0]


def on_first_rank(compute: Callable[[], Computed]) -> Computed:
    """Compute a value on the first rank alone, and return it on every rank; errors as in `on_every_rank`."""
    if world_size() == 1:
        return _compute_alone(compute)
    outcomes = [_value_or_error(compute) if rank() == 0 else None]
    with waiting_for_ranks():
        dist.broadcast_object_list(outcomes)
    return _value_of(cast(Computed | CosmosError, outcomes[0]))
