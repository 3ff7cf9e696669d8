"""From shards to batches of views, in the order of `SampleOrder`, by worker processes.

Everything random about a sample comes from (seed, epoch, index). So a run that is resumed at any step gets
the batches that it would have got, whatever the number of its workers and ranks.
"""

import atexit
import logging
import signal
import weakref
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.batch import Batch
from cosmos.data.image_crops import ImageViews, decode_image
from cosmos.data.order import SampleOrder, batch_per_rank, nth_index, sample_generator, shard_ranges
from cosmos.data.shards import ShardedSamples
from cosmos.data.text_crops import draw_captions
from cosmos.data.tokenizer import tokenizer_for
from cosmos.distributed.group import pick_device
from cosmos.errors import DamagedDataError, InputError

logger = logging.getLogger(__name__)

MAX_TRIES = 10
"""Damaged samples in a row after which training stops: chance alone does not find as many in usable data."""

MAX_SHARDS_NAMED = 20
"""Damaged shards that a warning names."""

Batches = Generator[Batch, None, None]


def make_loader(
    samples: ShardedSamples,
    params: Params,
    machine: Machine,
    rank: int,
    world_size: int,
    first_step: int,
    num_steps: int,
) -> Batches:
    """One rank's batches for `num_steps` steps of the run, from `first_step` on, in order.

    A rank's part of a step is a slice of the batch that a single process would see. Workers start with the
    first batch, live through epochs and end when the generator is closed or the process exits. Shards that
    are damaged at the start are left out, with a warning.

    Raises ValueError for a batch that the ranks cannot share or that the samples cannot fill, for a caption
    mode that the annotations do not have, and, while iterating, when MAX_TRIES samples in a row are damaged.
    """
    _check_caption_mode(samples, params)
    order = sample_order(samples, params)
    batch_per_rank(order.batch_size, world_size)
    if rank == 0:
        _warn_of_damaged_shards(samples, order)
    steps = range(first_step, first_step + num_steps)
    loader: DataLoader[_Views] = DataLoader(
        _SampleViews(samples, params, order.shards),
        batch_sampler=(order.part(step, rank, world_size) for step in steps),
        collate_fn=_batch,
        num_workers=machine.workers,
        worker_init_fn=_ignore_signals,
        pin_memory=pick_device(machine.device).type == "cuda",
        generator=torch.Generator(),  # or each start of the loader would advance the process's generator
    )
    batches = _batches(loader)
    atexit.register(_close, weakref.ref(batches))
    return batches


def sample_order(samples: ShardedSamples, params: Params) -> SampleOrder:
    """The order in which training sees the samples of all shards that can be read.

    Raises ValueError when they are fewer than a batch takes.
    """
    # Each entry is `path: what is wrong`; a path may hold a colon too.
    damaged = {entry.rpartition(": ")[0] for entry in samples.damaged_shards()}
    ranges = zip(samples.manifest.shards, shard_ranges(samples.shard_sizes), strict=True)
    readable = [indices for shard, indices in ranges if shard.path not in damaged]
    return SampleOrder(readable, params.pretrain.batch_size, params.pretrain.seed)


def num_local_crops(params: Params) -> int:
    """Local image crops that the objective uses: only the distillation of image views looks at them."""
    return 0 if params.loss.distillation in ("none", "text-only") else params.views.num_local_crops


@dataclass(frozen=True)
class _Views:
    """What a step sees of one sample."""

    global_crops: Tensor
    local_crops: Tensor
    tokens: Tensor
    key: str
    is_replacement: bool


class _SampleViews(Dataset[_Views]):
    """Views of a sample, by (epoch, index)."""

    def __init__(self, samples: ShardedSamples, params: Params, shards: Sequence[range]) -> None:
        self._samples = samples
        self._shards = shards
        self._seed = params.pretrain.seed
        self._max_pixels = params.data.max_pixels
        self._views = params.views.model_copy(update={"num_local_crops": num_local_crops(params)})
        self._image_views = ImageViews(self._views)
        self._tokenizer = tokenizer_for(params.model)

    def __getitem__(self, where: tuple[int, int]) -> _Views:
        epoch, index = where
        rng = sample_generator(self._seed, epoch, index)
        damages: list[str] = []
        while len(damages) < MAX_TRIES:
            try:
                return self._draw(index, rng, is_replacement=bool(damages))
            except DamagedDataError as error:
                damages.append(str(error))
                index = nth_index(self._shards, int(rng.integers(sum(map(len, self._shards)))))
        raise InputError(
            f"{MAX_TRIES} samples in a row are damaged; delete the dataset and run `cosmos prepare` again:"
            + "".join(f"\n  {damage}" for damage in damages)
        )

    def _draw(self, index: int, rng: np.random.Generator, is_replacement: bool) -> _Views:
        sample = self._samples.read(index)
        try:
            image = decode_image(sample.image, self._max_pixels)
            captions = draw_captions(sample.annotation, self._views, rng)
        except DamagedDataError as error:
            raise DamagedDataError(f"sample {sample.key}: {error}") from None
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which seeds the GPUs' generators too.
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            global_crops, local_crops = self._image_views(image)
        return _Views(global_crops, local_crops, self._tokenizer.encode(captions), sample.key, is_replacement)


def _batch(views: Sequence[_Views]) -> Batch:
    return Batch(
        torch.stack([view.global_crops for view in views]),
        torch.stack([view.local_crops for view in views]),
        torch.stack([view.tokens for view in views]),
        tuple(view.key for view in views),
        sum(view.is_replacement for view in views),
    )


def _batches(loader: DataLoader[_Views]) -> Batches:
    iterator = iter(loader)
    try:
        yield from iterator
    finally:
        # At its exit Python ends workers by a signal, which ours ignore, and would wait for them in vain.
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            iterator._shutdown_workers()


def _close(reference: "weakref.ref[Batches]") -> None:
    if batches := reference():
        batches.close()


def _ignore_signals(worker: int) -> None:
    """Leaves signals to the training process.

    The launcher sends them to every process of a job. Workers would run the handlers that they inherited, or
    die in the midst of the training process's last steps.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _check_caption_mode(samples: ShardedSamples, params: Params) -> None:
    mode, schema = params.views.caption_mode, samples.manifest.schema
    if mode in ("short", "long") and schema != "dreamlip":
        raise InputError(
            f"views.caption_mode: {mode} needs annotations in DreamLIP's form; those of {params.data.name}"
            f" are in the form {schema}, for which textcrop, random or raw would do"
        )


def _warn_of_damaged_shards(samples: ShardedSamples, order: SampleOrder) -> None:
    if damaged := samples.damaged_shards():
        logger.warning(
            "%d of %d shards are damaged, so %d of %d samples are left out: %s",
            len(damaged),
            len(samples.shard_sizes),
            len(samples) - order.num_samples,
            len(samples),
            ", ".join(damaged[:MAX_SHARDS_NAMED]) + (", ..." if len(damaged) > MAX_SHARDS_NAMED else ""),
        )
