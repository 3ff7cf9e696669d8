"""Time and memory of retrieval metrics from embeddings: ours and the straightforward implementation.

The straightforward one holds the whole similarity matrix and sorts its rows and its columns. Both give the
same metrics, which is checked. Memory is the increase of the process's peak.

    python benchmarks/retrieval.py [--images 1000] [--captions 5000] [--width 512] [--json]
    python benchmarks/retrieval.py --images 5000 --captions 25000    # COCO's size
"""

import json
import math
import sys
import time

import torch
from rows import Row, benchmark_parser, measure_alone, peak_megabytes, print_rows
from torch import Tensor
from torch.nn.functional import normalize

from cosmos.config.figures import RECALLS
from cosmos.evaluation.retrieval.metrics import retrieval_metrics

KINDS = ("straightforward", "ours")

TOLERANCE = 1e-3
"""Largest difference of metrics: matrix products round by their shape, so that neighbours may swap ranks."""


def random_embeddings(num_images: int, num_captions: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings of images and captions, and the image of each caption.

    Captions lie around their images, so that ranks are neither all 0 nor random.
    """
    torch.manual_seed(0)
    images = normalize(torch.randn(num_images, width), dim=-1)
    owners = torch.arange(num_captions) % num_images
    noise = normalize(torch.randn(num_captions, width), dim=-1)
    return images, normalize(images[owners] + 8 * noise, dim=-1), owners


def summary(direction: str, ranks: Tensor) -> dict[str, float]:
    ranks = ranks.double()
    return {
        **{f"{direction}_R@{k}": float((ranks < k).double().mean()) for k in RECALLS},
        f"{direction}_mean_rank": float(ranks.mean()) + 1,
        f"{direction}_median_rank": math.floor(float(ranks.quantile(0.5))) + 1.0,
    }


def straightforward(images: Tensor, texts: Tensor, owners: Tensor) -> dict[str, float]:
    similarity = images @ texts.T
    captions_in_order = similarity.argsort(dim=1, descending=True)
    is_own = owners[captions_in_order] == torch.arange(len(images))[:, None]
    images_in_order = similarity.T.argsort(dim=1, descending=True)
    by_image, by_caption = (
        is_own.int().argmax(dim=1),
        (images_in_order == owners[:, None]).int().argmax(dim=1),
    )
    return summary("image_to_text", by_image) | summary("text_to_image", by_caption)


def measure(kind: str, sizes: list[int]) -> dict[str, float]:
    """Return the CPU seconds, the increase of peak memory in megabytes, and the metrics."""
    torch.set_num_threads(1)
    embeddings = random_embeddings(*sizes)
    metrics_of = straightforward if kind == "straightforward" else retrieval_metrics
    metrics_of(*random_embeddings(50, 100, sizes[2]))  # warms up kernels
    before, began = peak_megabytes(), time.process_time()
    metrics = metrics_of(*embeddings)
    return {"seconds": time.process_time() - began, "megabytes": peak_megabytes() - before, **metrics}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--captions", type=int, default=5000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--only", choices=KINDS, help="measure this one, in this process")
    arguments = parser.parse_args()
    sizes = [arguments.images, arguments.captions, arguments.width]
    if arguments.only:
        print(json.dumps(measure(arguments.only, sizes)))
        return
    options = ["--images", sizes[0], "--captions", sizes[1], "--width", sizes[2]]
    reference, measured = (measure_alone(__file__, kind, *options) for kind in KINDS)
    different = [
        name
        for name in reference.keys() - {"seconds", "megabytes"}
        if abs(measured[name] - reference[name]) > TOLERANCE
    ]
    if different:
        sys.exit(f"the two give different metrics: {', '.join(sorted(different))}")
    rows = [
        Row(f"retrieval, {sizes[0]} images, {sizes[1]} captions", unit, reference[name], measured[name])
        for name, unit in {"seconds": "s of CPU", "megabytes": "MB"}.items()
    ]
    print_rows(rows, arguments.json)


if __name__ == "__main__":
    main()
