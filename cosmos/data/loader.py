"""Loader: batches of views from shards, in the order of `SampleOrder`, made by worker processes.

Everything random about a sample comes from (seed, epoch, index). So a run that is resumed at any step gets
the batches that it would have got, whatever the number of its workers and ranks.
"""

import atexit
import gc
import signal
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.batch import Batch, UncolouredBatch
from cosmos.data.image_decoding import decode_image
from cosmos.data.order import batch_per_rank, nth_index, sample_generator
from cosmos.data.patience import read_patiently
from cosmos.data.readable import ReadableSamples
from cosmos.data.shards.damage import SampleDamage
from cosmos.data.shards.samples import ShardedSamples
from cosmos.data.text_crops import draw_captions
from cosmos.data.tokenizer import tokenizer_for
from cosmos.data.views.crops import Crops, ImageViews
from cosmos.data.views.device_colours import ColourChanges, UncolouredCrops
from cosmos.data.views.worker_colours import colour_in_worker
from cosmos.data.worker_processes import load, report_unsent_batches
from cosmos.distributed.environment import exported_local_rank
from cosmos.distributed.group import pick_device
from cosmos.distributed.stacks import answer_with_stacks
from cosmos.distributed.stop_signals import STOP_SIGNALS
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError

MAX_TRIES = 10
"""Damaged samples in a row after which training stops: chance alone does not find as many in usable data."""

Batches = Generator[Batch, None, None]
_Loaded = Batch | UncolouredBatch


def make_loader(
    data: ReadableSamples,
    params: Params,
    machine: Machine,
    rank: int,
    world_size: int,
    first_step: int,
    num_steps: int,
    transferring: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Batches:
    """Return one rank's batches for `num_steps` steps of the run, from `first_step` on, in order.

    A rank's part of a step is a slice of the batch that a single process would see, on the rank's device. The
    colours of its views are computed there or in the workers (`Machine.augment_on`); `transferring` returns
    the context in which it gets there. Workers start with the first batch, live through epochs and end when
    the generator is closed or the process exits.

    Where a disk or the network fails, or a shard is away, the training process reads the batch itself, again
    and again for the machine's `data_wait_minutes`: no other sample takes the place of one that is whole.

    Raises InputError for a batch that the ranks cannot share and for a caption mode that the annotations do
    not have. While iterating, raises DamagedDataError when MAX_TRIES samples in a row are damaged, InputError
    when a shard may not be read, and TransientError when the wait is over.
    """
    _check_caption_mode(data.samples, params)
    batch_per_rank(data.order.batch_size, world_size)
    views = _SampleViews(data.samples, params, data.order.shards)
    steps = range(first_step, first_step + num_steps)
    device = pick_device(machine.device, exported_local_rank())
    collate = partial(_collated, _uncoloured if colours_on_device(machine, device) else _coloured)
    loader: DataLoader[_Views | CosmosError] = DataLoader(
        views,
        batch_sampler=(data.order.part(step, rank, world_size) for step in steps),
        collate_fn=collate,
        num_workers=machine.workers,
        worker_init_fn=_begin_worker,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # or each start of the loader would advance the process's generator
    )

    def read_again(step: int) -> _Loaded | CosmosError:
        return collate([views[where] for where in data.order.part(step, rank, world_size)])

    def move(batch: _Loaded) -> Batch:
        with transferring():
            return batch.to(device)

    batches = _batches(loader, steps, read_again, machine.data_wait_minutes, move)
    atexit.register(_close, weakref.ref(batches))
    return batches


def draw_first_samples(data: ReadableSamples, params: Params, number: int) -> Batch:
    """Return the first `number` samples of a run's first step, as workers on a CPU make them.

    Raises DamagedDataError, InputError or TransientError for samples that cannot be read.
    """
    views = _SampleViews(data.samples, params, data.order.shards)
    batch = _collated(_coloured, [views[where] for where in data.order.part(0, 0, 1)[:number]])
    if isinstance(batch, CosmosError):
        raise batch
    assert isinstance(batch, Batch)
    return batch


def colours_on_device(machine: Machine, device: torch.device) -> bool:
    """Return True where the device that trains computes the colours of views, instead of the workers."""
    return machine.augment_on == "device" or (machine.augment_on == "auto" and device.type == "cuda")


@dataclass(frozen=True)
class _Views:
    """Views of one sample, their colours not yet computed."""

    global_crops: Crops
    local_crops: Crops
    tokens: Tensor
    lengths: NDArray[np.int64]
    key: str
    damage: tuple[SampleDamage, ...]


class _SampleViews(Dataset[_Views | CosmosError]):
    """Dataset of the views of a sample, by (epoch, index).

    An error of ours is returned: what a worker process raises arrives with its traceback for a message.
    """

    def __init__(self, samples: ShardedSamples, params: Params, shards: Sequence[range]) -> None:
        self._samples = samples
        self._shards = shards
        self._seed = params.pretrain.seed
        self._max_pixels = params.data.max_pixels
        self._views = params.views.model_copy(update={"num_local_crops": params.num_local_crops})
        self._image_views = ImageViews(self._views)
        self._tokenizer = tokenizer_for(params.model)

    def __getitem__(self, where: tuple[int, int]) -> _Views | CosmosError:
        try:
            return self.draw(*where)
        except CosmosError as error:
            return error

    def draw(self, epoch: int, index: int) -> _Views:
        """Return the views of a sample in an epoch, or of one in its place where it is damaged."""
        rng = sample_generator(self._seed, epoch, index)
        damage: list[SampleDamage] = []
        while len(damage) < MAX_TRIES:
            try:
                return self._draw_sample(index, rng, tuple(damage))
            except DamagedDataError as error:
                damage.append(SampleDamage(index, str(error)))
                index = nth_index(self._shards, int(rng.integers(sum(map(len, self._shards)))))
        raise DamagedDataError(
            f"{MAX_TRIES} samples in a row are damaged; delete the dataset and run `cosmos prepare` again:"
            + "".join(f"\n  {item.problem}" for item in damage)
        )

    def _draw_sample(self, index: int, rng: np.random.Generator, damage: tuple[SampleDamage, ...]) -> _Views:
        sample = self._samples.read(index)
        try:
            image = decode_image(sample.image, self._max_pixels)
            captions = draw_captions(sample.annotation, self._views, rng)
        except DamagedDataError as error:
            raise DamagedDataError(f"{self._samples.locate(index, sample.key)}: {error}") from None
        global_crops, local_crops = self._image_views.crop(image, rng)
        tokens, lengths = self._tokenizer.encode_and_measure(captions)
        return _Views(global_crops, local_crops, tokens, lengths, sample.key, damage)


def _collated(
    make: Callable[[Sequence[_Views]], _Loaded], parts: Sequence[_Views | CosmosError]
) -> _Loaded | CosmosError:
    """Collate views; return the first error instead where there is one."""
    views = [part for part in parts if isinstance(part, _Views)]
    if len(views) < len(parts):
        return next(part for part in parts if isinstance(part, CosmosError))
    return make(views)


def _coloured(views: Sequence[_Views]) -> Batch:
    global_crops = torch.stack([colour_in_worker(sample.global_crops) for sample in views])
    local_crops = torch.stack([colour_in_worker(sample.local_crops) for sample in views])
    return _with_crops(views, global_crops, local_crops)


def _uncoloured(views: Sequence[_Views]) -> UncolouredBatch:
    global_crops = _joined([sample.global_crops for sample in views])
    local_crops = _joined([sample.local_crops for sample in views])
    return UncolouredBatch(_with_crops(views, torch.empty(0), torch.empty(0)), global_crops, local_crops)


def _joined(crops: Sequence[Crops]) -> UncolouredCrops:
    pixels, draws = zip(*crops, strict=True)
    return UncolouredCrops(torch.from_numpy(np.stack(pixels)), ColourChanges.of(np.concatenate(draws)))


def _with_crops(views: Sequence[_Views], global_crops: Tensor, local_crops: Tensor) -> Batch:
    return Batch(
        global_crops,
        local_crops,
        torch.stack([sample.tokens for sample in views]),
        np.stack([sample.lengths for sample in views]),
        tuple(sample.key for sample in views),
        tuple(damage for sample in views for damage in sample.damage),
    )


def _batches(
    loader: DataLoader[_Views | CosmosError],
    steps: Iterable[int],
    read_again: Callable[[int], _Loaded | CosmosError],
    minutes: float,
    move: Callable[[_Loaded], Batch],
) -> Batches:
    loaded = load(loader)
    try:
        for step, batch in zip(steps, loaded, strict=True):
            if isinstance(batch, TransientError):
                batch = read_patiently(partial(read_again, step), batch, minutes)
            if isinstance(batch, CosmosError):
                raise batch
            yield move(batch)
    finally:
        # At its exit Python ends workers by a signal, which ours ignore, and would wait for them in vain.
        loaded.close()


def _close(reference: "weakref.ref[Batches]") -> None:
    if batches := reference():
        batches.close()


def _begin_worker(worker: int) -> None:
    """Leave signals to the training process, and what it holds where it is.

    The launcher sends signals to every process of a job. Workers would run the handlers that they inherited,
    or die in the midst of the training process's last steps. A full garbage collection writes into every
    inherited object, and would so copy a hundred megabytes of shared memory into each worker.
    """
    for number in (signal.SIGINT, *STOP_SIGNALS):
        signal.signal(number, signal.SIG_IGN)
    answer_with_stacks()
    report_unsent_batches()
    gc.freeze()


def _check_caption_mode(samples: ShardedSamples, params: Params) -> None:
    mode, schema = params.views.caption_mode, samples.manifest.schema
    if mode in ("short", "long") and schema != "dreamlip":
        raise InputError(
            f"views.caption_mode: {mode} needs annotations in DreamLIP's form; those of {params.data.name}"
            f" are in the form {schema}, for which textcrop, random or raw would do"
        )
