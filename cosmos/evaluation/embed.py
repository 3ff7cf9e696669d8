"""Embeddings of many images and captions: computed in batches, once, by all processes together."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset

from cosmos.config.evaluate_params import Attention
from cosmos.config.machine import Machine
from cosmos.data.image_crops import evaluation_transform
from cosmos.data.tokenizer import Tokenizer
from cosmos.distributed.exchange import on_every_rank
from cosmos.distributed.group import rank, world_size
from cosmos.errors import DamagedDataError, InputError
from cosmos.evaluation.cache import Cache
from cosmos.evaluation.images import Images, digest

T = TypeVar("T")

SECONDS_BETWEEN_PARTS = 60
"""Time after which embeddings are added to the cache: what a kill can cost."""

NAMES_AT_A_TIME = 64
"""Class names whose prompts are batched together: enough that batches are full and of similar length."""

NOT_FINITE = (
    "is not finite; take a checkpoint from before the training diverged, or evaluate.precision float32"
)


class Encoder(Protocol):
    """A model as evaluation sees it: images and captions in, normalised embeddings out."""

    @property
    def image_size(self) -> int:
        """Side S of the images that it takes, in pixels."""

    @property
    def context_length(self) -> int:
        """Tokens of a caption, L."""

    @property
    def vocab_size(self) -> int:
        """Token ids that it knows."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D), normalised."""

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, D), normalised."""

    def encode_patches(self, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
        """(B, 3, S, S) -> for each kind of attention in the last block (B, rows, columns, D), normalised."""


@dataclass(frozen=True)
class Embedder:
    """An encoder, and all that embedding whole datasets with it takes.

    In a process group every rank embeds its share, and each gets the whole. Torch's random state stays as it
    was, so that evaluation does not change what training does next.
    """

    encoder: Encoder
    machine: Machine
    cache: Cache
    quiet: bool
    """show no progress"""

    @property
    def batch_size(self) -> int:
        """Images or captions that are encoded at a time."""
        return self.machine.evaluation_batch_size or (256 if self._on_gpu else 32)

    @property
    def window_batch_size(self) -> int:
        """Windows of images that are encoded at a time."""
        return self.machine.window_batch_size or (64 if self._on_gpu else 4)

    @property
    def _on_gpu(self) -> bool:
        return self.encoder.device.type != "cpu"

    def images(self, images: Images) -> Tensor:
        """Embeddings of N images, (N, D) on the CPU, in their order.

        Worker processes decode. Raises ValueError that names the first image that cannot be read, or whose
        embedding is not finite: figures of a part of a dataset would pass for those of the whole.
        """

        def compute(keys: Sequence[str]) -> Iterable[tuple[Sequence[str], Tensor]]:
            indices = [places[key] for key in keys]
            batches = zip(_split(keys, size), self._image_batches(images, indices), strict=True)
            for part, batch in batches:
                yield part, self.encoder.encode_images(batch)

        size = self.batch_size
        places = {images.key(index): index for index in range(len(images))}
        return self._rows(images.collection, list(places), compute, "images")

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Embeddings of N captions, (N, D) on the CPU, in their order.

        Equal captions are encoded once, so that they tie exactly. Batches hold captions of similar length,
        which an encoder can cut to the longest of them. Raises ValueError for a vocabulary smaller than
        CLIP's, and names the caption whose embedding is not finite.
        """
        return self._rows("captions", captions, self._encode_texts, "captions")

    def classes(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Embeddings of C class names, (C, D) on the CPU: mean over the prompts, normalised before and after.

        A template has {} in the place of the name. Source: CLIP, prompt ensembling.
        """

        def compute(keys: Sequence[str]) -> Iterable[tuple[Sequence[str], Tensor]]:
            for some in _split(keys, NAMES_AT_A_TIME):
                prompts = [template.replace("{}", name) for name in some for template in templates]
                parts = self._encode_texts(prompts)
                found = {key: row for part in parts for key, row in zip(*part, strict=True)}
                rows = torch.stack([found[prompt] for prompt in prompts])
                yield some, normalize(rows.view(len(some), len(templates), -1).mean(dim=1), dim=-1)

        return self._rows(f"classes {digest(templates)}", names, compute, "class names")

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(self.encoder.context_length, self.encoder.vocab_size)

    def _encode_texts(self, captions: Sequence[str]) -> Iterable[tuple[Sequence[str], Tensor]]:
        """Batches of the captions without their repetitions, each with its embeddings."""
        unique = list(dict.fromkeys(captions))
        tokens = self._tokenizer.encode(unique)
        # The end of text has the largest id. Longest first: memory that does not suffice shows at once.
        order = tokens.argmax(dim=1).argsort(descending=True, stable=True)
        for part in torch.split(order, self.batch_size):
            yield [unique[i] for i in part.tolist()], self.encoder.encode_texts(tokens[part])

    def _image_batches(self, images: Images, indices: Sequence[int]) -> Iterable[Tensor]:
        loader: DataLoader[Tensor | DamagedDataError] = DataLoader(
            _Transformed(images, indices, self.encoder.image_size),
            batch_size=self.batch_size,
            collate_fn=_stacked,
            num_workers=self.machine.workers,
            pin_memory=self.encoder.device.type == "cuda",
            generator=torch.Generator(),
        )
        return sound(loader)

    @torch.inference_mode()
    def _rows(
        self,
        collection: str,
        keys: Sequence[str],
        compute: Callable[[Sequence[str]], Iterable[tuple[Sequence[str], Tensor]]],
        what: str,
    ) -> Tensor:
        """The rows of `keys`, from the cache or computed; `compute` yields keys with their rows, in parts."""
        known = self.cache.read(collection)
        # What one rank has not seen, all compute: file systems show a new part to some hosts before others.
        lists = on_every_rank(lambda: [key for key in dict.fromkeys(keys) if key not in known])
        missing = list(dict.fromkeys(key for part in lists for key in part))
        mine = missing[rank() :: world_size()]
        for computed, rows in on_every_rank(lambda: self._computed(collection, mine, compute, what)):
            known |= zip(computed, rows, strict=True)
        return torch.stack([known[key] for key in keys])

    def _computed(
        self,
        collection: str,
        keys: Sequence[str],
        compute: Callable[[Sequence[str]], Iterable[tuple[Sequence[str], Tensor]]],
        what: str,
    ) -> tuple[list[str], Tensor]:
        """Keys that are not in the cache and their rows, which are there afterwards: as far as they came."""
        batches: list[tuple[Sequence[str], Tensor]] = []
        kept, saved = 0, time.monotonic()
        try:
            with progress(what, len(keys), self.quiet or not keys) as advance:
                for some, embedded in compute(keys) if keys else ():
                    batches.append((some, _finite(some, embedded.cpu())))
                    advance(len(some))
                    if time.monotonic() - saved > SECONDS_BETWEEN_PARTS:
                        self.cache.add(collection, *_joined(batches[kept:]))
                        kept, saved = len(batches), time.monotonic()
        finally:
            if batches[kept:]:
                self.cache.add(collection, *_joined(batches[kept:]))
        return _joined(batches)


@contextmanager
def progress(what: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on the first rank's terminal, unless `quiet`; yields what advances it."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    hidden = quiet or rank() > 0 or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


class _Transformed(Dataset[Tensor | DamagedDataError]):
    """Images as an encoder takes them.

    A damaged image is returned as its error: raised in a worker, its message would arrive as a traceback.
    """

    def __init__(self, images: Images, indices: Sequence[int], image_size: int) -> None:
        self._images, self._indices = images, indices
        self._transform = evaluation_transform(image_size)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Tensor | DamagedDataError:
        try:
            return self._transform(self._images.read(self._indices[index]))
        except DamagedDataError as error:
            return error


def _stacked(items: Sequence[Tensor | DamagedDataError]) -> Tensor | DamagedDataError:
    """(B, 3, S, S), or the first error."""
    errors = (item for item in items if isinstance(item, DamagedDataError))
    return next(errors, None) or torch.stack([item for item in items if isinstance(item, Tensor)])


def sound(items: Iterable[T | DamagedDataError]) -> Iterator[T]:
    """What was read, until the first error: ValueError says what to do about it."""
    for item in items:
        if isinstance(item, DamagedDataError):
            raise InputError(f"{item}; evaluation leaves no image out: mend or remove it")
        yield item


def _split(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _joined(batches: Sequence[tuple[Sequence[str], Tensor]]) -> tuple[list[str], Tensor]:
    """All keys, and all rows in one tensor: a row of its own would be pickled with the whole of its batch."""
    rows = torch.cat([rows for _, rows in batches]) if batches else torch.empty(0)
    return [key for keys, _ in batches for key in keys], rows


def _finite(keys: Sequence[str], rows: Tensor) -> Tensor:
    """The rows; ValueError names the first that holds NaN or infinities."""
    bad = (~rows.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if bad:
        raise InputError(f"the embedding of {keys[bad[0]]!r:.200} {NOT_FINITE}")
    return rows
