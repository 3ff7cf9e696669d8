"""Memory and operations of a step: as planned, beside those of a real step on this CPU.

Five shapes of model, in float32. Memory is the peak of a process of its own, which takes two steps, above
what it held after steps of a tiny model: so programs, threads and oneDNN's first buffers do not count. Every
large tensor has pages of its own, and gives them back. Operations are those of all products that the step
computed, with the loss's; captions have two lengths, and are packed without padding.

    python benchmarks/plan.py [--json]
"""

import ctypes
import json
import sys
from dataclasses import replace
from typing import Any

import torch
from rows import Row, benchmark_parser, measure_alone, peak_megabytes, print_rows, resident_megabytes

from cosmos.config.machine import Machine
from cosmos.config.params import (
    InlineParams,
    ModelParams,
    Params,
    PretrainParams,
    TextParams,
    ViewParams,
    VisionParams,
)
from cosmos.data.batch import Batch
from cosmos.distributed.group import ProcessRank
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.packing import caption_lengths
from cosmos.plan.compute import sample_flops
from cosmos.plan.memory import step_memory
from cosmos.plan.traced_step import StepLedger
from cosmos.plan.workload import DatasetFacts, Workload
from cosmos.training.step import Learner

GLOBAL_LENGTH, LOCAL_LENGTH = 40, 20
"""Tokens of all captions of a kind: so far apart that they are packed without padding."""

MMAP_THRESHOLD = -3
"""Number of mallopt's option for the bytes from which an allocation has pages of its own."""


def params_of(
    batch: int, views: ViewParams, vision: VisionParams, text: TextParams, embed_dim: int = 256
) -> Params:
    model = ModelParams(inline=InlineParams(embed_dim=embed_dim, vision=vision, text=text))
    return Params(model=model, views=views, pretrain=PretrainParams(batch_size=batch))


PUBLISHED_VIEWS = ViewParams(image_size=224, local_size=96, num_local_crops=6, num_captions=8)
SMALL = VisionParams(width=384, layers=6, head_width=64, patch_size=16)
SMALL_TEXT = TextParams(width=256, layers=6, heads=4, vocab_size=10000)
DEEP_TEXT = TextParams(width=256, layers=16, heads=4, vocab_size=10000)
LARGE_CROPS = ViewParams(image_size=384, local_size=192, num_local_crops=2, num_captions=4)

SHAPES: dict[str, tuple[Params, dict[str, Any]]] = {
    "demo": (Params(), {}),
    "small": (params_of(4, PUBLISHED_VIEWS, SMALL, SMALL_TEXT), {}),
    "deep text": (params_of(8, ViewParams(num_captions=8), VisionParams(), DEEP_TEXT), {}),
    "large crops": (params_of(4, LARGE_CROPS, SMALL, TextParams()), {}),
    "parts": (
        params_of(16, PUBLISHED_VIEWS, SMALL, SMALL_TEXT),
        {"micro_batches": 4, "activation_checkpointing": "cheap"},
    ),
}


def workload_of(shape: str) -> Workload:
    params, settings = SHAPES[shape]
    captions = (GLOBAL_LENGTH,) * 2 + (LOCAL_LENGTH,) * (params.views.num_captions - 2)
    data = DatasetFacts(1, "", 0, "", (captions,), "")
    return replace(Workload(params, data), **settings)


def make_batch(params: Params, lengths: tuple[int, ...]) -> Batch:
    views, size = params.views, params.pretrain.batch_size
    tokens = torch.zeros(size, len(lengths), 77, dtype=torch.long)
    for caption, length in enumerate(lengths):
        tokens[:, caption, :length] = 1
        tokens[:, caption, length - 1] = 2
    return Batch(
        torch.randn(size, 2, 3, views.image_size, views.image_size),
        torch.randn(size, views.num_local_crops, 3, views.local_size, views.local_size),
        tokens,
        caption_lengths(tokens),
        tuple(map(str, range(size))),
    )


def take_steps(workload: Workload, count: int) -> Learner:
    params = workload.params
    machine = Machine(
        micro_batches=workload.micro_batches, activation_checkpointing=workload.activation_checkpointing
    )
    learner = Learner(
        ModelConfig.of(params), params.pretrain, machine, ProcessRank(0, 1, torch.device("cpu"))
    )
    batch = make_batch(params, workload.data.caption_lengths[0])
    for _ in range(count):
        learner.step(batch, 1e-3, 0.99)
    return learner


def measure_memory(shape: str) -> float:
    """Return the megabytes by which two steps raise the memory of this process."""
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 2**16)
    tiny = params_of(2, ViewParams(), VisionParams(layers=1), TextParams(layers=1, vocab_size=100))
    take_steps(replace(workload_of(shape), params=tiny, micro_batches=1), 2)
    before = resident_megabytes()
    take_steps(workload_of(shape), 2)
    return peak_megabytes() - before


def count_flops(shape: str) -> float:
    """Return the operations of the products of a real step."""
    ledger = StepLedger()
    with ledger:
        take_steps(workload_of(shape), 1)
    return sum(ledger.flops.values())


def describe_rows() -> list[Row]:
    rows = []
    for shape in SHAPES:
        print(f"benchmarks/plan.py: {shape} ...", file=sys.stderr, flush=True)
        workload, measured = workload_of(shape), measure_alone(__file__, shape)
        flops = workload.batch_per_rank * sample_flops(workload).computed
        planned = step_memory(workload).peak / 2**20
        rows += [
            Row(f"planned memory of a step, {shape}", "MB", measured["megabytes"], planned, 1.1),
            Row(f"planned operations of a step, {shape}", "GFLOP", measured["flops"] / 1e9, flops / 1e9, 1.0),
        ]
    return rows


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--only", choices=SHAPES, help="take steps of this shape, and print their figures")
    options = parser.parse_args()
    if options.only:
        megabytes = measure_memory(options.only)
        print(json.dumps({"megabytes": megabytes, "flops": count_flops(options.only)}))
        return
    print_rows(describe_rows(), options.json)


if __name__ == "__main__":
    main()
