"""Examples for tests: small pictures of noise with captions, and a machine whose folders hold them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.sample import Sample
from cosmos.data.shards.index import ShardIndex


def image_bytes(seed: int = 0, kind: str = "JPEG", size: tuple[int, int] = (24, 20)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def samples(number: int) -> list[Sample]:
    return [Sample(f"s{i}", image_bytes(i), {"captions": [f"thing {i}", "a thing"]}) for i in range(number)]


def flip_bit(file: Path, position: int, bit: int = 0) -> None:
    """Flip a bit of the byte at a position, counted on from the start behind the end."""
    content = bytearray(file.read_bytes())
    content[position % len(content)] ^= 1 << bit
    file.write_bytes(content)


@contextmanager
def flipped_bit(file: Path, position: int, bit: int) -> Iterator[None]:
    """Flip a bit as `flip_bit`, and put the file back in the end."""
    whole = file.read_bytes()
    flip_bit(file, position, bit)
    try:
        yield
    finally:
        file.write_bytes(whole)


def flip_bit_behind(file: Path, text: bytes, distance: int = 0) -> None:
    """Flip a bit of the byte at a distance behind the start of the first occurrence of `text`."""
    flip_bit(file, file.read_bytes().index(text) + distance)


def write_as_before(index: Path) -> None:
    """Write an index as versions did that knew no checksums."""
    replace(ShardIndex.read(index), checksums=None, shard="").write(index)


def write_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        (folder / name).write_bytes(image_bytes(seed))


def machine(folder: Path, **settings: Any) -> Machine:
    return Machine(
        data_root=folder / "data",
        source_root=folder / "source",
        cache_root=folder / "cache",
        **settings,
    )


def flickr8k(folder: Path, number: int = 6, **changes: Any) -> DataParams:
    """A captions file with `number` images below the source_root of `machine(folder)`; its parameters."""
    names = [f"{i}.jpg" for i in range(number)]
    write_images(folder / "source" / "images", names)
    rows = "".join(f'{name},"A thing , number {name}"\n{name},A thing\n' for name in names)
    (folder / "source" / "captions.csv").write_text("image,caption\n" + rows)
    settings = {
        "name": "things",
        "source": "captions-csv",
        "annotations": "captions.csv",
        "images": "images",
        "samples_per_shard": 2,
    }
    return DataParams(**{**settings, **changes})
