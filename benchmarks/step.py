"""CPU time and memory of one step, forward and backward: ours, and as the published implementation takes it.

The straightforward one runs each view through open_clip's blocks by itself, every caption at full length,
projects the tokens' keys and values for every view, and computes each pair of views and each direction
separately. Both give the same loss, which is checked. Time is CPU time of one thread, measured in turns in
one process. Memory is the growth of the peak from a step on half the batch to one on all of it, each in a
process of its own. The limit is the time that the machine's product of large matrices takes for our
floating-point operations.

    python benchmarks/step.py [--architecture ViT-B-16] [--batch 4] [--turns 3] [--json]
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rows import Row, benchmark_parser, measure_alone, peak_megabytes, print_rows
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.utils.flop_counter import FlopCounterMode

from cosmos.config.machine import Machine
from cosmos.config.params import ModelParams, Params, ViewParams
from cosmos.data.batch import Batch
from cosmos.distributed.group import ProcessRank
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.packing import caption_lengths
from cosmos.model.towers import position_embedding
from cosmos.training.step import Learner

GLOBAL_LENGTHS, LOCAL_LENGTHS = (15, 61), (10, 31)
"""Tokens of a global caption, one to five sentences, and of a local one, a sentence: bounds of a range."""

CONTEXT, VOCABULARY = 77, 49408
SIDE = 2048
"""Side of the matrices whose product is the limit."""


def random_batch(params: Params, size: int) -> Batch:
    views = params.views
    tokens = torch.zeros(size, views.num_captions, CONTEXT, dtype=torch.long)
    for captions in tokens:
        for i, row in enumerate(captions):
            length = int(torch.randint(*(GLOBAL_LENGTHS if i < 2 else LOCAL_LENGTHS), ()))
            row[:length] = torch.randint(1, VOCABULARY - 1, (length,))
            row[length - 1] = VOCABULARY - 1
    return Batch(
        torch.randn(size, 2, 3, views.image_size, views.image_size),
        torch.randn(size, views.num_local_crops, 3, views.local_size, views.local_size),
        tokens,
        caption_lengths(tokens),
        tuple(map(str, range(size))),
    )


def image_states(model: Cosmos, images: Tensor) -> Tensor:
    visual = model.visual
    patches = visual.conv1(images)
    tokens = patches.flatten(2).transpose(1, 2)
    first = visual.class_embedding.expand(len(tokens), 1, -1)
    states = torch.cat([first, tokens], dim=1) + position_embedding(visual, *patches.shape[-2:])
    last: Tensor = visual.ln_post(visual.transformer(visual.ln_pre(states)))
    return last


def text_states(model: Cosmos, tokens: Tensor) -> Tensor:
    states = model.token_embedding(tokens) + model.positional_embedding
    last: Tensor = model.ln_final(model.transformer(states, attn_mask=model.attn_mask))
    return last


def ends(states: Tensor, tokens: Tensor) -> Tensor:
    return states[torch.arange(len(states)), tokens.argmax(dim=-1)]


def nce(x: list[Tensor], y: list[Tensor], scale: Tensor) -> Tensor:
    labels = torch.arange(len(x[0]))
    pairs = [
        (cross_entropy(scale * a @ b.T, labels) + cross_entropy(scale * b @ a.T, labels)) / 2
        for a in x
        for b in y
    ]
    return torch.stack(pairs).mean()


def straightforward(student: Cosmos, teacher: Cosmos, batch: Batch) -> Tensor:
    crops = [*batch.global_crops.unbind(1), *batch.local_crops.unbind(1)]
    captions = batch.tokens.unbind(1)
    images = [image_states(student, crop) for crop in crops]
    texts = [text_states(student, tokens) for tokens in captions]
    f = [states[:, 0] @ student.visual.proj for states in images]
    g = [ends(*pair) @ student.text_projection for pair in zip(texts, captions, strict=True)]
    image_tokens = student.image_token_mapping(images[0][:, 1:])
    text_tokens = student.text_token_mapping(texts[0])
    c = [normalize(v + student.text_attn_cross_pool(v[None], text_tokens)[0], dim=-1) for v in f]
    d = [normalize(v + student.visual.attn_cross_pool(v[None], image_tokens)[0], dim=-1) for v in g]
    with torch.no_grad():
        f_teacher = [image_states(teacher, crop)[:, 0] @ teacher.visual.proj for crop in crops[:2]]
        g_teacher = [
            ends(text_states(teacher, tokens), tokens) @ teacher.text_projection for tokens in captions[:2]
        ]
    f, g, f_teacher, g_teacher = (
        [normalize(v, dim=-1) for v in views] for views in (f[:2], g, f_teacher, g_teacher)
    )
    scale = student.distill_logit_scale.exp()
    distill = sum(nce(x, y, scale) for x in (c, d) for y in (f_teacher, g_teacher)) / 4
    return nce(f, g, student.logit_scale.exp()) + distill


VIEWS = ViewParams(image_size=224, local_size=96, num_local_crops=6, num_captions=8)
KINDS = ("straightforward", "ours", "cheap")
"""The published way; ours; and ours when cheap activations are computed again."""


def seeded_step(kind: str, architecture: str, size: int) -> Callable[[], Tensor]:
    """Return a step's forward and backward pass, on the same batch for every kind."""
    params = Params(model=ModelParams(architecture=architecture), views=VIEWS)
    process = ProcessRank(0, 1, torch.device("cpu"))
    machine = Machine(activation_checkpointing="cheap" if kind == "cheap" else "none")
    learner = Learner(ModelConfig.of(params), params.pretrain, machine, process)
    torch.manual_seed(0)
    batch = random_batch(params, size)

    def step() -> Tensor:
        learner.optimizer.zero_grad()
        if kind != "straightforward":
            return learner.backward(batch, learner.teach(batch)).total.detach()
        loss = straightforward(learner.student, learner.teacher, batch)
        torch.autograd.backward(loss)
        return loss.detach()

    return step


def cpu_seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def count_operations(step: Callable[[], Tensor]) -> int:
    """Return the floating-point operations of a step's products, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    total: int = counter.get_total_flops()
    return total


def measure_time(architecture: str, size: int, turns: int) -> dict[str, float]:
    """Return the median CPU seconds of a step by kind, and those of a product with our operations."""
    steps = {kind: seeded_step(kind, architecture, size) for kind in KINDS}
    losses = [float(step()) for step in steps.values()]
    if max(losses) - min(losses) > 1e-4:
        sys.exit(f"the losses differ: {losses}")
    left, right = torch.randn(2, SIDE, SIDE)
    operations = count_operations(steps["ours"]) / (2 * SIDE**3)
    works: dict[str, Callable[[], Any]] = {**steps, "product": lambda: left @ right}
    seconds: dict[str, list[float]] = {kind: [] for kind in works}
    for _ in range(turns):  # in turns, so that a busy moment of the machine hits all
        for kind, work in works.items():
            seconds[kind].append(cpu_seconds(work))
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    return {**medians, "product": medians["product"] * operations}


def measure_memory(kind: str, architecture: str, size: int) -> float:
    """Return the megabytes by which a sample raises the peak, with half of them and all of them."""
    options = ["--architecture", architecture, "--batch"]
    peaks: list[float] = [measure_alone(__file__, kind, *options, n)["megabytes"] for n in (size // 2, size)]
    return (peaks[1] - peaks[0]) / (size - size // 2)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--architecture", default="ViT-B-16")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=KINDS, help="take one step of this kind, and print its memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only:
        seeded_step(options.only, options.architecture, options.batch)()
        print(json.dumps({"megabytes": peak_megabytes()}))
        return
    times = measure_time(options.architecture, options.batch, options.turns)
    share = times["product"] / times["ours"]
    limit = f"our operations as one product: {times['product'] / options.batch:.3g} s, {share:.0%} of it"
    times = {kind: seconds / options.batch for kind, seconds in times.items()}
    memory = {kind: measure_memory(kind, options.architecture, options.batch) for kind in KINDS}
    name = f"step, {options.architecture}, batch {options.batch}"
    rows = [
        Row(name, "s of CPU per sample", times["straightforward"], times["ours"], 0.84, limit),
        Row(f"{name}, cheap activations again", "s of CPU per sample", times["ours"], times["cheap"], 1.05),
        Row(f"{name}: memory", "MB per sample", memory["straightforward"], memory["ours"]),
        Row(f"{name}: memory, cheap", "MB per sample", memory["straightforward"], memory["cheap"], 0.6),
    ]
    print_rows(rows, options.json)


if __name__ == "__main__":
    main()
