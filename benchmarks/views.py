"""CPU time of the image views of a sample in a worker: ours and the straightforward composition.

The straightforward one decodes the image once and makes one view at a time of it by torchvision's transforms
on Pillow's images. Ours draws views of the same distribution (tests compare them) and colours them in the
worker, or leaves that to the device that trains; both places give the same views, which is checked. Beside
them: the checksum of a sample, by which a flipped bit of it is noticed.

    python benchmarks/views.py [--size 224] [--local-size 96] [--local-crops 6] [--images 300] [--json]
"""

import statistics
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageFilter
from rows import Row, benchmark_parser, print_rows
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from cosmos.config.params import ViewParams
from cosmos.data.image_crops import CLIP_MEAN, CLIP_STD
from cosmos.data.image_decoding import decode_image
from cosmos.data.shards.index import sample_checksum
from cosmos.data.views.crops import Crops, ImageViews
from cosmos.data.views.device_colours import ColourChanges, UncolouredCrops
from cosmos.data.views.worker_colours import colour_in_worker

CAPTIONS = b'{"captions":["' + b"A sentence of a caption that describes a picture at length. " * 30 + b'"]}'


def photograph() -> bytes:
    """Return a JPEG of a web photograph's size, with about its amount of detail."""
    noise = np.random.default_rng(0).integers(0, 256, (47, 63, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(torch.empty(1).uniform_(0.1, 2.0).item()))


def published_view(size: int, area: tuple[float, float], blur: float, solarise: float) -> transforms.Compose:
    return transforms.Compose(
        [
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


def straightforward(views: ViewParams) -> Callable[[bytes], object]:
    large, small = (views.crop_scale, 1.0), (0.05, views.crop_scale)
    view_transforms = [
        published_view(views.image_size, large, 1.0, 0.0),
        published_view(views.image_size, large, 0.1, 0.2),
    ]
    view_transforms += [published_view(views.local_size, small, 0.5, 0.0)] * views.num_local_crops

    def make(data: bytes) -> list[Tensor]:
        image = Image.open(BytesIO(data)).convert("RGB")
        return [view(image) for view in view_transforms]

    return make


def ours(views: ViewParams) -> dict[str, Callable[[bytes], object]]:
    image_views, rng = ImageViews(views), np.random.default_rng(0)

    def crop(data: bytes) -> tuple[Crops, Crops]:
        return image_views.crop(decode_image(data, 10**7), rng)

    def make(data: bytes) -> list[Tensor]:
        return [colour_in_worker(crops) for crops in crop(data)]

    return {"crops": crop, "views": make}


def check_places(views: ViewParams, data: bytes) -> None:
    """Refuse to compare times where a worker and a device make different views."""
    for crops in ImageViews(views).crop(decode_image(data, 10**7), np.random.default_rng(0)):
        uncoloured = UncolouredCrops(torch.from_numpy(crops.pixels)[None], ColourChanges.of(crops.draws))
        on_device = uncoloured.colour_on(torch.device("cpu"))[0]
        if not torch.allclose(on_device, colour_in_worker(crops), rtol=0, atol=1e-4):
            raise SystemExit("the views of a worker and a device differ")


def checksum(data: bytes) -> None:
    sample_checksum(data, CAPTIONS)


def timed(make: Callable[[bytes], object], data: bytes) -> float:
    start = time.thread_time()
    make(data)
    return 1000 * (time.thread_time() - start)


def measure(views: ViewParams, images: int) -> dict[str, float]:
    """Return the median of each way's milliseconds, in turns, so that busy moments hit all of them."""
    data = photograph()
    check_places(views, data)
    makers = {"straightforward": straightforward(views), **ours(views), "checksum": checksum}
    makers["decoding"] = lambda data: decode_image(data, 10**7)
    torch.manual_seed(0)
    turns = [{name: timed(make, data) for name, make in makers.items()} for _ in range(images)]
    return {name: statistics.median(turn[name] for turn in turns) for name in makers}


def main() -> None:
    parser = benchmark_parser(__doc__)
    for option, default in {"size": 224, "local-size": 96, "local-crops": 6, "images": 300}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    views = ViewParams(
        image_size=options.size, local_size=options.local_size, num_local_crops=options.local_crops
    )
    figures = measure(views, options.images)
    unit, published = "ms of CPU per sample", figures["straightforward"]
    limit = f"decoding alone: {figures['decoding']:.2g} ms"
    rows = [
        Row("views, colours on a device: worker's part", unit, published, figures["crops"], 0.2, limit),
        Row("views, all in the worker", unit, published, figures["views"], 0.35, limit),
        Row("checksum, beside the worker's views", unit, figures["views"], figures["checksum"], 0.02),
    ]
    print_rows(rows, options.json)


if __name__ == "__main__":
    main()
