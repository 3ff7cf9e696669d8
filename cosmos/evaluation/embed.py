"""Embeddings of many images and captions, in batches."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cosmos.data.image_crops import evaluation_transform
from cosmos.data.sample import DamagedSampleError
from cosmos.data.tokenizer import Tokenizer
from cosmos.machine import Machine


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


class Images(Protocol):
    """Images by index, read and decoded when asked for. Worker processes get copies."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self, index: int) -> Image.Image:
        """The RGB image. DamagedSampleError names it and says why it cannot be read."""


def embed_images(encoder: Encoder, images: Images, machine: Machine, quiet: bool = False) -> Tensor:
    """Embeddings of N images, (N, D) on the CPU, in their order. `quiet` shows no progress.

    Worker processes decode. Torch's random state stays as it was, so that evaluation does not change what
    training does next. Raises ValueError that names the first image that cannot be read: figures of a part of
    a dataset would pass for those of the whole.
    """
    loader: DataLoader[Tensor | DamagedSampleError] = DataLoader(
        _Transformed(images, encoder.image_size),
        batch_size=machine.evaluation_batch_size,
        collate_fn=_stacked,
        num_workers=machine.workers,
        pin_memory=encoder.device.type == "cuda",
        generator=torch.Generator(),
    )
    return _embedded(encoder.encode_images, _sound(loader), "images", len(images), quiet)


def embed_texts(encoder: Encoder, captions: Sequence[str], machine: Machine, quiet: bool = False) -> Tensor:
    """Embeddings of N captions, (N, D) on the CPU, in their order. `quiet` shows no progress.

    Equal captions are encoded once, so that they tie exactly. Batches hold captions of similar length, which
    an encoder can cut to the longest of them. Raises ValueError for a vocabulary smaller than CLIP's.
    """
    tokenizer = Tokenizer(encoder.context_length, encoder.vocab_size)
    places = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
    tokens = tokenizer.encode(list(places))
    # The end of text has the largest id. Longest first: memory that does not suffice shows at once.
    order = tokens.argmax(dim=1).argsort(descending=True, stable=True)
    batches = (tokens[part] for part in torch.split(order, machine.evaluation_batch_size))
    unique = _embedded(encoder.encode_texts, batches, "captions", len(places), quiet)[order.argsort()]
    return unique[[places[caption] for caption in captions]]


class _Transformed(Dataset[Tensor | DamagedSampleError]):
    """Images as an encoder takes them.

    A damaged image is returned as its error: raised in a worker, its message would arrive as a traceback.
    """

    def __init__(self, images: Images, image_size: int) -> None:
        self._images = images
        self._transform = evaluation_transform(image_size)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor | DamagedSampleError:
        try:
            return self._transform(self._images.read(index))
        except DamagedSampleError as error:
            return error


def _stacked(items: Sequence[Tensor | DamagedSampleError]) -> Tensor | DamagedSampleError:
    """(B, 3, S, S), or the first error."""
    errors = (item for item in items if isinstance(item, DamagedSampleError))
    return next(errors, None) or torch.stack([item for item in items if isinstance(item, Tensor)])


def _sound(batches: Iterable[Tensor | DamagedSampleError]) -> Iterable[Tensor]:
    for batch in batches:
        if isinstance(batch, DamagedSampleError):
            raise ValueError(
                f"{batch}; evaluation leaves no image out: mend it, or remove it with its captions"
            )
        yield batch


@torch.inference_mode()
def _embedded(
    encode: Callable[[Tensor], Tensor], batches: Iterable[Tensor], name: str, total: int, quiet: bool
) -> Tensor:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    parts = []
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task(name, total=total)
        for batch in batches:
            parts.append(encode(batch).cpu())
            progress.advance(task, len(batch))
    return torch.cat(parts)
