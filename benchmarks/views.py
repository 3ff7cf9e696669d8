"""CPU time of the image views of a sample: ours and the straightforward composition.

The straightforward one is a transform per view that decodes the image, draws the view and makes a tensor of
it separately. Both make the same views from the same random numbers, which is checked. Beside them: the share
of our time that the checksum of a sample takes, by which a flipped bit of it is noticed.

    python benchmarks/views.py [--size 224] [--local-size 96] [--local-crops 6] [--images 300] [--json]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageFilter
from rows import Row, print_rows
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from cosmos.config.params import ViewParams
from cosmos.data.image_crops import CLIP_MEAN, CLIP_STD, ImageViews
from cosmos.data.image_decoding import decode_image
from cosmos.data.shards.index import sample_checksum

CAPTIONS = b'{"captions":["' + b"A sentence of a caption that describes a picture at length. " * 30 + b'"]}'


def photograph() -> bytes:
    """Return a JPEG of a web photograph's size, with about its amount of detail."""
    noise = np.random.default_rng(0).integers(0, 256, (47, 63, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(torch.empty(1).uniform_(0.1, 2.0).item()))


def straightforward(views: ViewParams) -> Callable[[bytes], list[Tensor]]:
    def transform(size: int, area: tuple[float, float], blur: float, solarise: float) -> transforms.Compose:
        return transforms.Compose(
            [
                lambda data: Image.open(BytesIO(data)).convert("RGB"),
                transforms.RandomResizedCrop(size, area, interpolation=InterpolationMode.BICUBIC),
                transforms.RandomHorizontalFlip(),
                transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
                transforms.RandomGrayscale(p=0.2),
                transforms.RandomApply([blurred], p=blur),
                *([transforms.RandomSolarize(128, p=solarise)] if solarise else []),
                transforms.ToTensor(),
                transforms.Normalize(CLIP_MEAN, CLIP_STD),
            ]
        )

    large, small = (views.crop_scale, 1.0), (0.05, views.crop_scale)
    view_transforms = [
        transform(views.image_size, large, 1.0, 0.0),
        transform(views.image_size, large, 0.1, 0.2),
    ]
    view_transforms += [transform(views.local_size, small, 0.5, 0.0)] * views.num_local_crops
    return lambda data: [view(data) for view in view_transforms]


def ours(views: ViewParams) -> Callable[[bytes], list[Tensor]]:
    image_views = ImageViews(views)
    return lambda data: [view for crops in image_views(decode_image(data, 10**7)) for view in crops]


def checksum(data: bytes) -> list[Tensor]:
    sample_checksum(data, CAPTIONS)
    return []


def timed(make: Callable[[bytes], list[Tensor]], data: bytes, seed: int) -> tuple[list[Tensor], float]:
    torch.manual_seed(seed)
    start = time.process_time()
    return make(data), time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, default in {"size": 224, "local-size": 96, "local-crops": 6, "images": 300}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = photograph()
    views = ViewParams(
        image_size=options.size, local_size=options.local_size, num_local_crops=options.local_crops
    )
    makers = {"straightforward": straightforward(views), "ours": ours(views), "checksum": checksum}
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for seed in range(options.images):  # in turns, so that a busy moment of the machine hits both
        timings = {name: timed(make, data, seed) for name, make in makers.items()}
        if not all(map(torch.equal, timings["straightforward"][0], timings["ours"][0])):
            raise SystemExit("the views of the two differ")
        for name, (_, duration) in timings.items():
            seconds[name].append(duration)
    means = {name: 1000 * statistics.mean(durations) for name, durations in seconds.items()}
    row = Row(
        f"views, 2 of {options.size}, {options.local_crops} of {options.local_size}",
        "ms of CPU per sample",
        means["straightforward"],
        means["ours"],
        limit=f"the checksum alone: {means['checksum']:.3f} ms",
    )
    print_rows([row], options.json)


if __name__ == "__main__":
    main()
