"""Images of one colour, and an encoder that knows colours by name."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from cosmos.config.evaluate_params import Attention
from cosmos.config.machine import Machine
from cosmos.data.drawn_sets import COMPLETE_FILE, DrawnSets, files_of_sets
from cosmos.data.image_crops import CLIP_MEAN, CLIP_STD
from cosmos.data.image_decoding import decode_image
from cosmos.data.manifest import CaptionSchema, Manifest
from cosmos.data.sample import Sample
from cosmos.data.shards.samples import write_shard
from cosmos.data.tokenizer import CLIP_CONTEXT_LENGTH, CLIP_VOCABULARY, Tokenizer
from cosmos.errors import DamagedDataError
from cosmos.evaluation.embed import Embedder, Encoder
from cosmos.evaluation.embedding_cache import EmbeddingCache, NoCache
from cosmos.run.files import write_json

CPU = torch.device("cpu")

COLOURS = {
    "red": (250, 5, 5),
    "green": (5, 250, 5),
    "blue": (5, 5, 250),
    "yellow": (250, 250, 5),
    "purple": (250, 5, 250),
}


def image_bytes(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), COLOURS[colour]).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(folder: Path, names: dict[str, str]) -> None:
    """A file of each name, of the colour given for it."""
    for name, colour in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(colour))


def write_split(folder: Path, samples: list[Sample], schema: CaptionSchema = "captions") -> None:
    """A prepared split of one shard."""
    folder.mkdir(parents=True)
    Manifest(schema, (write_shard(folder / "shard-00000.tar", samples),), (), {}).write(folder)


def machine(folder: Path, workers: int = 0, evaluation_batch_size: int = 2) -> Machine:
    return Machine(
        data_root=folder / "data",
        source_root=folder,
        cache_root=folder / "cache",
        workers=workers,
        evaluation_batch_size=evaluation_batch_size,
    )


@dataclass(frozen=True)
class ImagesInMemory:
    encoded: list[bytes]
    collection: str = "in memory"

    def __len__(self) -> int:
        return len(self.encoded)

    def key(self, index: int) -> str:
        return f"picture {index}"

    def read(self, index: int) -> Image.Image:
        try:
            return decode_image(self.encoded[index], max_pixels=10_000)
        except DamagedDataError as error:
            raise DamagedDataError(f"picture {index}: {error}") from None


@dataclass(frozen=True)
class ColourEncoder:
    """Embeds an image as its mean colour, and a caption that is the name of a colour as that colour."""

    image_size: int = 8
    context_length: int = CLIP_CONTEXT_LENGTH
    vocab_size: int = CLIP_VOCABULARY
    device: torch.device = CPU
    token_batches: list[Tensor] = field(default_factory=list)
    """the batches of captions that it was given"""
    image_batches: list[Tensor] = field(default_factory=list)
    """the batches of images that it was given"""

    def encode_images(self, images: Tensor) -> Tensor:
        self.image_batches.append(images)
        means = images.mean(dim=(2, 3)) * torch.tensor(CLIP_STD) + torch.tensor(CLIP_MEAN)
        return normalize(means - 0.5, dim=-1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        self.token_batches.append(tokens)
        words = Tokenizer(self.context_length, self.vocab_size).encode(list(COLOURS))
        which = (tokens[:, None] == words).all(dim=2).double().argmax(dim=1)
        colours = torch.tensor(list(COLOURS.values()))[which] / 255
        return normalize(colours - 0.5, dim=-1)

    def encode_patches(self, images: Tensor, attention: Sequence[Attention]) -> list[Tensor]:
        """Four patches: the mean colours of the quarters."""
        quarters = avg_pool2d(images, self.image_size // 2).permute(0, 2, 3, 1)
        colours = quarters * torch.tensor(CLIP_STD) + torch.tensor(CLIP_MEAN)
        return [normalize(colours - 0.5, dim=-1) for _ in attention]


def embedder(
    folder: Path, encoder: Encoder, cache: EmbeddingCache | None = None, workers: int = 0, quiet: bool = True
) -> Embedder:
    return Embedder(encoder, machine(folder, workers), cache or NoCache(), quiet)


def complete(folder: Path) -> None:
    """Mark the demo world's sets below `folder` as all that there are."""
    write_json(folder / COMPLETE_FILE, asdict(DrawnSets(64, 0, len(files_of_sets(folder)))))
