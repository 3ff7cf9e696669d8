"""Time and memory of segmentation at COCO-Object's shape: ours and the straightforward implementation.

640 x 480 pixels, 113 queries of 81 classes, a ViT-B/16 of random weights in float32, correlative attention.
The straightforward one encodes windows one at a time, pads the logits of each to the whole image, and takes
the softmax of queries x height x width; it merges synonyms in a loop over classes, where a product with a
mask of classes x queries would take another 10 GiB. Both give the same figures, which is checked. Memory is
the increase of the peak of a process that has its model, and the peak of the whole process.

    python benchmarks/segmentation.py [--images 2] [--json]
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rows import Row, benchmark_parser, measure_alone, peak_megabytes, print_rows
from torch import Tensor
from torch.nn.functional import interpolate, normalize, pad

from cosmos.config.evaluate_params import SegmentationProtocol
from cosmos.config.figures import Figures
from cosmos.config.machine import Machine
from cosmos.config.params import LossParams, ModelParams
from cosmos.evaluation.embed import Embedder
from cosmos.evaluation.images import ImageFiles
from cosmos.evaluation.segmentation.masks import read_mask_labels
from cosmos.evaluation.segmentation.measure import (
    SegmentationDataset,
    measure,
    resize_image,
    resized_size,
)
from cosmos.evaluation.segmentation.metrics import confusion, segmentation_metrics, window_starts
from cosmos.model.cosmos import Cosmos
from cosmos.model.encoders import CosmosEncoder

WIDTH, HEIGHT, IMAGE_SIZE = 640, 480, 224
NUM_SYNONYMS = (33, *[1] * 80)
"""Number of queries of each class: words for background, then a name for each of 80 objects."""

PROTOCOL = SegmentationProtocol(logit_scale=50.0, prob_thd=0.01)
"""COCO-Object's protocol, with a threshold that the even probabilities of random weights reach."""

KINDS = ("straightforward", "ours")

TOLERANCE = 1e-3
"""Largest difference of figures: both round, so that a pixel between two classes may get the other one."""


class RandomQueries:
    """Cache of random embeddings of the query words, so that no text is encoded."""

    def __init__(self, words: Sequence[str], width: int) -> None:
        rows = normalize(torch.randn(len(words), width, generator=torch.Generator().manual_seed(0)), dim=-1)
        self.rows = dict(zip(words, rows, strict=True))

    def read(self, collection: str) -> dict[str, Tensor]:
        return dict(self.rows)

    def add(self, collection: str, keys: Sequence[str], rows: Tensor) -> None:
        raise AssertionError(f"{keys} are none of the queries")


def random_dataset(folder: Path, num_images: int) -> SegmentationDataset:
    """Write images of random blocks of colours and masks of random blocks of labels; return the dataset."""
    generator = np.random.default_rng(0)
    for i in range(num_images):
        colours, labels = generator.integers(0, 256, (12, 16, 3)), generator.integers(0, 81, (6, 8))
        Image.fromarray(colours.astype(np.uint8)).resize((WIDTH, HEIGHT)).save(folder / f"{i}.jpg")
        mask = Image.fromarray(labels.astype(np.uint8))
        mask.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).save(folder / f"{i}.png")
    images = ImageFiles(folder, tuple(folder / f"{i}.jpg" for i in range(num_images)), WIDTH * HEIGHT)
    masks = tuple(folder / f"{i}.png" for i in range(num_images))
    classes = tuple(
        tuple(f"class {c} word {word}" for word in range(count)) for c, count in enumerate(NUM_SYNONYMS)
    )
    names = tuple(words[0] for words in classes)
    return SegmentationDataset("random", images, masks, classes, names, PROTOCOL)


def straightforward(dataset: SegmentationDataset, embedder: Embedder) -> Figures:
    queries = embedder.classes([word for words in dataset.classes for word in words], ("{}",))
    total = torch.zeros(81, 81, dtype=torch.long)
    for i, path in enumerate(dataset.masks):
        image = dataset.images.read(i)
        labels = read_mask_labels(path, image.size, 81, PROTOCOL)
        pixels = resize_image(image, resized_size(image.size, PROTOCOL.short_side, IMAGE_SIZE))
        predicted = segment(window_logits(embedder, pixels, queries), labels.shape)
        total += confusion(labels, predicted, 81)
    metrics = segmentation_metrics(total, [words[0] for words in dataset.classes])
    return {f"csa_{name}": value for name, value in metrics.items()}


def window_logits(embedder: Embedder, pixels: Tensor, queries: Tensor) -> Tensor:
    height, width = pixels.shape[1:]
    logits, count = torch.zeros(len(queries), height, width), torch.zeros(height, width)
    for y in window_starts(height, IMAGE_SIZE):
        for x in window_starts(width, IMAGE_SIZE):
            window = pixels[None, :, y : y + IMAGE_SIZE, x : x + IMAGE_SIZE]
            (patches,) = embedder.encoder.encode_patches(window, ["csa"])
            enlarged = interpolate((patches @ queries.T).permute(0, 3, 1, 2), IMAGE_SIZE, mode="bilinear")[0]
            logits += pad(enlarged, (x, width - x - IMAGE_SIZE, y, height - y - IMAGE_SIZE))
            count[y : y + IMAGE_SIZE, x : x + IMAGE_SIZE] += 1
    return logits / count


def segment(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    probabilities = (interpolate(logits[None], size, mode="bilinear")[0] * PROTOCOL.logit_scale).softmax(0)
    classes = torch.stack([part.amax(0) for part in torch.split(probabilities, list(NUM_SYNONYMS))])
    best, predicted = classes.max(dim=0)
    predicted[best < PROTOCOL.prob_thd] = 0
    return predicted


def measure_kind(kind: str, num_images: int) -> dict[str, float]:
    """Return the CPU seconds, the increase of peak memory and the peak in megabytes, and the figures."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Cosmos(ModelParams(architecture="ViT-B-16"), LossParams(), IMAGE_SIZE).eval()
    encoder = CosmosEncoder(model, IMAGE_SIZE, torch.device("cpu"), "float32")
    with tempfile.TemporaryDirectory() as folder:
        dataset = random_dataset(Path(folder), num_images)
        queries = RandomQueries([word for words in dataset.classes for word in words], 512)
        embedder = Embedder(encoder, Machine(workers=0), queries, quiet=True)
        before, began = peak_megabytes(), time.process_time()
        is_ours = kind == "ours"
        figures = (
            measure(dataset, ["csa"], embedder).figures if is_ours else straightforward(dataset, embedder)
        )
        seconds = time.process_time() - began
    peak = peak_megabytes()
    return {"seconds": seconds, "megabytes": peak - before, "peak_megabytes": peak, **figures}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--only", choices=KINDS, help="measure this one, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure_kind(arguments.only, arguments.images)))
        return
    reference, measured = (measure_alone(__file__, kind, "--images", arguments.images) for kind in KINDS)
    if any(
        abs(measured[name] - reference[name]) > TOLERANCE for name in reference if name.startswith("csa_")
    ):
        sys.exit("the two give different figures")
    images = f"segmentation, {arguments.images} images"
    rows = [
        Row(images, "s of CPU", reference["seconds"], measured["seconds"], limit="the encoder's products"),
        Row(images, "MB", reference["megabytes"], measured["megabytes"]),
    ]
    print_rows(rows, arguments.json)


if __name__ == "__main__":
    main()
