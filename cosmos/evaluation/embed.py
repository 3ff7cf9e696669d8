"""Embeddings of many images and captions: computed in batches, once, by all processes together."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Protocol, TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset

from cosmos.config.evaluate_params import Attention
from cosmos.config.machine import Machine
from cosmos.config.printable_text import printable
from cosmos.config.progress_bar import ProgressBar
from cosmos.data.image_crops import evaluation_transform
from cosmos.data.tokenizer import Tokenizer
from cosmos.data.worker_processes import load, report_unsent_batches
from cosmos.distributed.device_memory import explaining_full_gpus
from cosmos.distributed.exchange import max_over_ranks, on_each_rank, on_every_rank
from cosmos.distributed.group import rank, world_size
from cosmos.distributed.whereabouts import doing, moved
from cosmos.errors import CosmosError, InputError, TransientError
from cosmos.evaluation.embedding_cache import EmbeddingCache
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.evaluation.images import Images

_Item = TypeVar("_Item")

SECONDS_BETWEEN_PARTS = 60
"""Interval at which embeddings are added to the cache: no more work than that is lost in a kill."""

CLASS_NAMES_AT_ONCE = 64
"""Class names whose prompts are batched together: enough that batches are full and of similar length."""

NOT_FINITE = (
    "is not finite; take a checkpoint from before the training diverged, or evaluate.precision float32"
)
"""End of the message about an embedding that holds NaN or infinities."""


class Encoder(Protocol):
    """Model under evaluation: images and captions in, normalised embeddings out."""

    @property
    def image_size(self) -> int:
        """Side S of its square input images, in pixels."""

    @property
    def context_length(self) -> int:
        """Number of tokens of a caption, L."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids in its vocabulary."""

    @property
    def device(self) -> torch.device:
        """Device that it computes on."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Return normalised embeddings of images: (B, 3, S, S) -> (B, D)."""

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Return normalised embeddings of captions: (B, L) -> (B, D)."""

    def encode_patches(self, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
        """Return normalised embeddings of patches for each kind of attention in the last block.

        (B, 3, S, S) -> one (B, rows, columns, D) for each.
        """


@dataclass(frozen=True)
class Embedder:
    """Encoder of whole datasets: it batches, caches, reports progress and shares the work among ranks.

    In a process group every rank embeds its share, and each gets the whole. Torch's random state stays as it
    was, so that evaluation does not change what training does next.
    """

    encoder: Encoder
    machine: Machine
    cache: EmbeddingCache
    quiet: bool
    """True: no progress is shown"""
    max_new: int = sys.maxsize
    """largest number of images or captions that are embedded, as the cache lacks them"""

    @property
    def batch_size(self) -> int:
        """Number of images or captions that are encoded at once."""
        return self.machine.evaluation_batch_size or (256 if self._on_gpu else 32)

    @property
    def window_batch_size(self) -> int:
        """Number of windows of images that are encoded at once."""
        return self.machine.window_batch_size or (64 if self._on_gpu else 4)

    @property
    def _on_gpu(self) -> bool:
        return self.encoder.device.type != "cpu"

    def images(self, images: Images) -> Tensor:
        """Return embeddings of N images, (N, D) on the CPU, in their order.

        Worker processes decode. The first image that cannot be read, or whose embedding is not finite, is an
        error that names it, since figures of a part of a dataset would pass for those of the whole:
        DamagedDataError or InputError, and TransientError where the disk or the network failed.
        """

        def compute(keys: Sequence[str]) -> Iterable[tuple[Sequence[str], Tensor]]:
            indices = [places[key] for key in keys]
            batches = zip(_chunks(keys, size), self._image_batches(images, indices), strict=True)
            for chunk, batch in batches:
                yield chunk, self.encoder.encode_images(batch)

        size = self.batch_size
        places = {images.key(index): index for index in range(len(images))}
        return self._rows(images.collection, list(places), compute, "images")

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Return embeddings of N captions, (N, D) on the CPU, in their order.

        Equal captions are encoded once, so that they tie exactly. Batches hold captions of similar length,
        which an encoder can cut to the longest of them. Raises InputError for a vocabulary smaller than
        CLIP's, and for a caption, which it names, whose embedding is not finite.
        """
        return self._rows("captions", captions, self._encode_texts, "captions")

    def classes(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Return embeddings of C class names, (C, D) on the CPU: means over their prompts.

        Embeddings are normalised before and after. A template has {} in the place of the name. Source: CLIP,
        prompt ensembling.
        """

        def compute(keys: Sequence[str]) -> Iterable[tuple[Sequence[str], Tensor]]:
            for chunk in _chunks(keys, CLASS_NAMES_AT_ONCE):
                prompts = [template.replace("{}", name) for name in chunk for template in templates]
                batches = self._encode_texts(prompts)
                embeddings = {key: row for batch in batches for key, row in zip(*batch, strict=True)}
                rows = torch.stack([embeddings[prompt] for prompt in prompts])
                yield chunk, normalize(rows.view(len(chunk), len(templates), -1).mean(dim=1), dim=-1)

        return self._rows(f"classes {fingerprint_strings(templates)}", names, compute, "class names")

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(self.encoder.context_length, self.encoder.vocab_size)

    def _encode_texts(self, captions: Sequence[str]) -> Iterable[tuple[Sequence[str], Tensor]]:
        """Yield batches of the captions without their repetitions, each with its embeddings."""
        unique = list(dict.fromkeys(captions))
        tokens, lengths = self._tokenizer.encode_and_measure(unique)
        # Longest first: memory that does not suffice shows at once.
        order = torch.from_numpy(lengths).argsort(descending=True, stable=True)
        for batch in torch.split(order, self.batch_size):
            yield [unique[i] for i in batch.tolist()], self.encoder.encode_texts(tokens[batch])

    def _image_batches(self, images: Images, indices: Sequence[int]) -> Iterable[Tensor]:
        loader: DataLoader[Tensor | CosmosError] = DataLoader(
            _TransformedImages(images, indices, self.encoder.image_size),
            batch_size=self.batch_size,
            collate_fn=_stack_images,
            num_workers=self.machine.workers,
            worker_init_fn=report_unsent_batches,
            pin_memory=self.encoder.device.type == "cuda",
            generator=torch.Generator(),
        )
        return raise_read_errors(load(loader))

    @torch.inference_mode()
    def _rows(
        self,
        collection: str,
        keys: Sequence[str],
        compute: Callable[[Sequence[str]], Iterable[tuple[Sequence[str], Tensor]]],
        noun: str,
    ) -> Tensor:
        """Return the rows of `keys`, from the cache or computed; `compute` yields keys and rows in batches.

        `noun`: heading of the progress bar, such as "images".
        """
        rows = on_each_rank(lambda: self.cache.read(collection))
        missing = self._missing(list(dict.fromkeys(keys)), rows)
        if len(missing) > self.max_new:
            raise InputError(
                f"embeddings of {len(missing):,} {noun} are not kept, as code or precision changed since the"
                " evaluation, or they were deleted; evaluate again"
            )
        mine = missing[rank() :: world_size()]
        for new_keys, new_rows in on_every_rank(lambda: self._compute_rows(collection, mine, compute, noun)):
            rows |= zip(new_keys, new_rows, strict=True)
        return torch.stack([rows[key] for key in keys])

    def _missing(self, keys: Sequence[str], rows: Mapping[str, Tensor]) -> list[str]:
        """Return the keys whose rows some rank lacks: some hosts see a new part of a cache before others."""
        lacks = torch.tensor([key not in rows for key in keys], dtype=torch.uint8, device=self.encoder.device)
        return list(compress(keys, max_over_ranks(lacks).tolist()))

    def _compute_rows(
        self,
        collection: str,
        keys: Sequence[str],
        compute: Callable[[Sequence[str]], Iterable[tuple[Sequence[str], Tensor]]],
        noun: str,
    ) -> tuple[list[str], Tensor]:
        """Compute the rows of keys that the cache lacks, and add them to it, even where an error ends it."""
        batches: list[tuple[Sequence[str], Tensor]] = []
        kept, saved = 0, time.monotonic()
        try:
            with (
                suggesting_smaller_batches("COSMOS_EVALUATION_BATCH_SIZE", self.batch_size),
                progress_bar(noun, len(keys), self.quiet or not keys) as advance,
            ):
                for chunk, embedded in compute(keys) if keys else ():
                    batches.append((chunk, _check_finite_rows(chunk, embedded.cpu())))
                    advance(len(chunk))
                    if time.monotonic() - saved > SECONDS_BETWEEN_PARTS:
                        self.cache.add(collection, *_join(batches[kept:]))
                        kept, saved = len(batches), time.monotonic()
        finally:
            if batches[kept:]:
                self.cache.add(collection, *_join(batches[kept:]))
        return _join(batches)


@contextmanager
def progress_bar(noun: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on the first rank's terminal, unless `quiet`; yield its function `advance`.

    Other ranks wait for this one for as long as that is called.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    shown = ProgressBar(*columns, is_shown=not quiet and rank() == 0, transient=True)
    with doing(f"encoding of {noun}"), shown as bar:
        task = bar.add_task(printable(noun), total=total)

        def advance(count: int) -> None:
            moved()
            bar.advance(task, count)

        yield advance


def suggesting_smaller_batches(setting: str, batch_size: int) -> AbstractContextManager[None]:
    """Return a context that raises OutOfMemoryError, naming the batch size's setting, for a GPU too small."""
    return explaining_full_gpus(f"{batch_size} at a time need", f"set {setting} to less")


class _TransformedImages(Dataset[Tensor | CosmosError]):
    """Images as an encoder takes them.

    The error of an image that cannot be read is returned in its place: raised in a worker process, it would
    arrive as a traceback.
    """

    def __init__(self, images: Images, indices: Sequence[int], image_size: int) -> None:
        self._images, self._indices = images, indices
        self._transform = evaluation_transform(image_size)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Tensor | CosmosError:
        try:
            return self._transform(self._images.read(self._indices[index]))
        except CosmosError as error:
            return error


def _stack_images(items: Sequence[Tensor | CosmosError]) -> Tensor | CosmosError:
    """Return images as (B, 3, S, S), or the first error."""
    errors = (item for item in items if isinstance(item, CosmosError))
    return next(errors, None) or torch.stack([item for item in items if isinstance(item, Tensor)])


def raise_read_errors(items: Iterable[_Item | CosmosError]) -> Iterator[_Item]:
    """Yield the items before the first error; raise that, with a remedy where it is not transient."""
    for item in items:
        if isinstance(item, TransientError):
            raise item
        if isinstance(item, CosmosError):
            raise type(item)(f"{item}; evaluation leaves no image out: mend or remove it")
        yield item


def _chunks(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _join(batches: Sequence[tuple[Sequence[str], Tensor]]) -> tuple[list[str], Tensor]:
    """Return all keys, and all rows in one tensor: a row of its own would be pickled with its whole batch."""
    rows = torch.cat([rows for _, rows in batches]) if batches else torch.empty(0)
    return [key for keys, _ in batches for key in keys], rows


def _check_finite_rows(keys: Sequence[str], rows: Tensor) -> Tensor:
    """Return the rows. InputError names the first that holds NaN or infinities."""
    bad = (~rows.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if bad:
        raise InputError(f"the embedding of {keys[bad[0]]!r:.200} {NOT_FINITE}")
    return rows
