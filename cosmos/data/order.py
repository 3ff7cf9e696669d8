"""Order of the samples that training sees: a function of seed and step, nothing else.

A step's samples do not depend on how many processes read them, nor on whether training was interrupted.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from cosmos.errors import DamagedDataError, InputError

SHARDS_PER_WINDOW = 16
"""Shards whose samples are mixed. Enough to mix well, few enough that reading stays almost sequential and
that a window's remote shards fit into the cache."""

_SHARDS_STREAM, _WINDOW_STREAM, _SAMPLE_STREAM = range(3)
"""First number of the seed of each kind of draw, so that no two kinds share their random numbers."""


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of everything random about a sample in an epoch."""
    return _generator(_SAMPLE_STREAM, seed, epoch, index)


def _generator(stream: int, seed: int, epoch: int, number: int) -> np.random.Generator:
    return np.random.default_rng((stream, seed, epoch, number))


def shard_ranges(shard_sizes: Sequence[int]) -> tuple[range, ...]:
    """Return the indices of each shard's samples when all samples are counted through, shard after shard."""
    stops = list(accumulate(shard_sizes))
    return tuple(range(stop - size, stop) for size, stop in zip(shard_sizes, stops, strict=True))


def nth_index(shards: Sequence[range], position: int) -> int:
    """Return the index at `position` in `shards`, one after the other."""
    stops = list(accumulate(map(len, shards)))
    shard = bisect_right(stops, position)
    return shards[shard][position - stops[shard]]


def refuse_large_batch(batch_size: int, num_samples: int) -> None:
    """Raise InputError where a batch takes more samples than can be read."""
    if batch_size > num_samples:
        raise InputError(
            f"pretrain.batch_size: {batch_size} is more than the {num_samples} samples that can be read;"
            f" set it to {num_samples} or less, or prepare more data"
        )


class SampleOrder:
    """Batches of (epoch, index) for every step of a run.

    An epoch shuffles the shards, then the samples inside each window of SHARDS_PER_WINDOW shards. It has
    N // batch_size steps; the samples that remain, others in each epoch, are not seen in it.

    Raises DamagedDataError when there is no sample, InputError when there are fewer than a batch takes.
    """

    def __init__(self, shards: Sequence[range], batch_size: int, seed: int) -> None:
        self.shards = tuple(shards)
        self.batch_size = batch_size
        self.seed = seed
        self.num_samples = sum(map(len, self.shards))
        self.steps_per_epoch = self.num_samples // batch_size
        if not self.num_samples:
            raise DamagedDataError("no sample can be read; run `cosmos prepare` for this dataset again")
        refuse_large_batch(batch_size, self.num_samples)
        self._epoch = _Epoch(self.shards, seed, 0)

    def batch(self, step: int) -> list[tuple[int, int]]:
        """Return the samples of a step, over all ranks, as (epoch, index)."""
        return self.part(step, 0, 1)

    def part(self, step: int, rank: int, world_size: int) -> list[tuple[int, int]]:
        """Return a rank's samples of a step: one of `world_size` equal, consecutive slices of the batch.

        Raises InputError when the ranks cannot share the batch equally.
        """
        size = batch_per_rank(self.batch_size, world_size)
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch.epoch:
            self._epoch = _Epoch(self.shards, self.seed, epoch)
        start = step_in_epoch * self.batch_size + rank * size
        return [(epoch, index) for index in self._epoch.indices(start, start + size)]


def batch_per_rank(batch_size: int, world_size: int) -> int:
    """Return the batch size of each rank. Raises InputError when they cannot share the batch equally."""
    if batch_size % world_size:
        nearest = nearest_batch_size(batch_size, world_size)
        raise InputError(
            f"pretrain.batch_size: {batch_size} samples cannot be shared equally by {world_size} ranks;"
            f" {nearest} would do"
        )
    return batch_size // world_size


def nearest_batch_size(batch_size: int, world_size: int) -> int:
    """Return the batch size nearest to `batch_size` that ranks can share equally."""
    return max(1, round(batch_size / world_size)) * world_size


class _Epoch:
    """Samples of an epoch in order, of which one window at a time is in memory."""

    def __init__(self, shards: Sequence[range], seed: int, epoch: int) -> None:
        self.epoch = epoch
        self._seed = seed
        shuffled = [shards[i] for i in _generator(_SHARDS_STREAM, seed, epoch, 0).permutation(len(shards))]
        firsts = range(0, len(shuffled), SHARDS_PER_WINDOW)
        self._windows = [shuffled[first : first + SHARDS_PER_WINDOW] for first in firsts]
        self._stops = list(accumulate(sum(map(len, window)) for window in self._windows))
        self._loaded = -1
        self._samples: NDArray[np.int64] = np.empty(0, np.int64)

    def indices(self, start: int, stop: int) -> list[int]:
        """Return the indices at positions `start` to `stop` of the epoch."""
        indices: list[int] = []
        while len(indices) < stop - start:
            window = bisect_right(self._stops, start + len(indices))
            samples = self._window(window)
            behind = self._stops[window] - start - len(indices)
            first = len(samples) - behind
            indices += samples[first : first + stop - start - len(indices)].tolist()
        return indices

    def _window(self, number: int) -> NDArray[np.int64]:
        if number != self._loaded:
            samples = np.concatenate([np.asarray(shard, np.int64) for shard in self._windows[number]])
            self._samples = _generator(_WINDOW_STREAM, self._seed, self.epoch, number).permutation(samples)
            self._loaded = number
        return self._samples
