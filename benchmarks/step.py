"""CPU time and memory of one step, forward and backward: ours, and as the published implementation takes it.

The straightforward one runs each view through open_clip's blocks by itself, every caption at full length,
projects the tokens' keys and values for every view, and computes each pair of views and each direction
separately. Both give the same loss, which is checked. Time is CPU time of one thread, measured in turns in
one process. Memory is the growth of the peak from a step on one sample to one on three, each in a process of
its own. One product of large matrices, with as many floating-point operations as ours, is the limit.

    python benchmarks/step.py [--architecture ViT-B-16] [--batch 2] [--turns 2] [--json]
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from rows import Row, benchmark_parser, measure_alone, peak_megabytes, print_rows
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from cosmos.config.machine import ActivationCheckpointing, Machine
from cosmos.config.params import ModelParams, Params, ViewParams
from cosmos.data.batch import Batch
from cosmos.distributed.group import ProcessRank
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.packing import Lengths, caption_lengths, group_shapes
from cosmos.model.towers import position_embedding
from cosmos.training.flops import step_flops
from cosmos.training.step import Learner

VIEWS = ViewParams(image_size=224, local_size=96, num_local_crops=6, num_captions=8)

GLOBAL_LENGTHS, LOCAL_LENGTHS = (15, 61), (10, 31)
"""Tokens of a global caption, one to five sentences, and of a local one, a sentence: bounds of a range."""

CONTEXT, VOCABULARY = 77, 49408
SIDE, PRODUCTS = 2048, 4
"""Side of the matrices whose product is the limit, and times that it is computed in a turn."""


def random_captions(num_captions: int, size: int) -> tuple[Tensor, Lengths]:
    """Return the tokens of the captions of each sample, and their lengths."""
    tokens = torch.zeros(size, num_captions, CONTEXT, dtype=torch.long)
    for captions in tokens:
        for i, row in enumerate(captions):
            length = int(torch.randint(*(GLOBAL_LENGTHS if i < 2 else LOCAL_LENGTHS), ()))
            row[:length] = torch.randint(1, VOCABULARY - 1, (length,))
            row[length - 1] = VOCABULARY - 1
    return tokens, caption_lengths(tokens)


def random_batch(params: Params, size: int) -> Batch:
    views = params.views
    return Batch(
        torch.randn(size, 2, 3, views.image_size, views.image_size),
        torch.randn(size, views.num_local_crops, 3, views.local_size, views.local_size),
        *random_captions(views.num_captions, size),
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


KINDS = ("straightforward", "ours", "cheap")
"""The published way; ours; and ours when cheap activations are computed again."""

CAPTIONS_OF = 256
"""Number of samples whose captions are packed together to count their tokens."""


def say(text: str) -> None:
    print(f"benchmarks/step.py: {text} ...", file=sys.stderr, flush=True)


def params_of(architecture: str) -> Params:
    return Params(model=ModelParams(architecture=architecture), views=VIEWS)


def make_learner(params: Params) -> Learner:
    process = ProcessRank(0, 1, torch.device("cpu"))
    return Learner(ModelConfig.of(params), params.pretrain, Machine(), process)


def take_step(kind: str, learner: Learner, batch: Batch) -> Tensor:
    """Return the loss of a step after its forward and backward pass."""
    if kind == "straightforward":
        loss = straightforward(learner.student, learner.teacher, batch)
        torch.autograd.backward(loss)
        return loss.detach()
    checkpointing: ActivationCheckpointing = "cheap" if kind == "cheap" else "none"
    learner.student.run_blocks = replace(learner.student.run_blocks, checkpointing=checkpointing)
    return learner.backward(batch, learner.teach(batch)).total.detach()


def seconds_of(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure_time(learner: Learner, batch: Batch, turns: int) -> dict[str, float]:
    """Return the median CPU seconds of a step by kind, and those of a product with our operations."""
    left, right = torch.randn(2, SIDE, SIDE)
    works: dict[str, Callable[[], Any]] = {kind: partial(take_step, kind, learner, batch) for kind in KINDS}
    works["product"] = lambda: [left @ right for _ in range(PRODUCTS)]
    seconds: dict[str, list[float]] = {kind: [] for kind in works}
    for turn in range(turns):  # in turns, so that a busy moment of the machine hits all
        for kind, work in works.items():
            say(f"turn {turn + 1} of {turns}: {kind}")
            learner.optimizer.zero_grad()
            seconds[kind].append(seconds_of(work))
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    operations = step_flops(learner.student, batch, has_teacher=True)
    return {**medians, "product": medians["product"] * operations / (PRODUCTS * 2 * SIDE**3)}


def compare_losses(learner: Learner, batch: Batch) -> None:
    """Take a first step of each kind, and end the benchmark where their losses differ."""
    losses = []
    for kind in KINDS:
        say(f"first step: {kind}")
        losses.append(float(take_step(kind, learner, batch)))
    if max(losses) - min(losses) > 1e-4:
        sys.exit(f"the losses differ: {losses}")


def measure_memory(architecture: str) -> dict[str, float]:
    """Return the megabytes by which a sample raises the peak of a step, by kind.

    Processes of their own take a step on one sample and on three.
    """
    say("memory: steps in processes of their own")
    tasks = [(kind, "--architecture", architecture, "--batch", n) for kind in KINDS for n in (1, 3)]
    with ThreadPoolExecutor(2) as pool:
        peaks = [
            result["megabytes"] for result in pool.map(lambda task: measure_alone(__file__, *task), tasks)
        ]
    return {kind: (peaks[2 * i + 1] - peaks[2 * i]) / 2 for i, kind in enumerate(KINDS)}


def peak_of_step(kind: str, params: Params, size: int) -> float:
    """Return this process's peak of memory after a step, with gradients that are there before it.

    Without them, few samples would not show: their activations are freed before the last gradients come.
    """
    learner = make_learner(params)
    for parameter in learner.student.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    torch.manual_seed(0)
    take_step(kind, learner, random_batch(params, size))
    return peak_megabytes()


def count_caption_tokens() -> tuple[float, float]:
    """Return the tokens a sample of captions that are packed: those that are needed, and those computed."""
    lengths = random_captions(VIEWS.num_captions, CAPTIONS_OF)[1][
        :, 1:
    ]  # global caption 1 keeps all of its states
    computed = sum(count * length for count, length in group_shapes(lengths.flatten()))
    return int(lengths.sum()) / CAPTIONS_OF, computed / CAPTIONS_OF


def describe_rows(architecture: str, size: int, turns: int) -> list[Row]:
    params = params_of(architecture)
    learner = make_learner(params)
    torch.manual_seed(0)
    batch = random_batch(params, size)
    needed, computed = count_caption_tokens()
    compare_losses(learner, batch)
    times = {kind: seconds / size for kind, seconds in measure_time(learner, batch, turns).items()}
    del learner
    memory = measure_memory(architecture)
    name, unit, memory_unit = f"step, {architecture}, batch {size}", "s of CPU per sample", "MB per sample"
    product = f"our operations as one product: {times['product']:.3g} s"
    return [
        Row(name, unit, times["straightforward"], times["ours"], 0.84, product),
        Row(
            f"{name}, beside one product", unit, times["product"], times["ours"], 1 / 0.85, LIMIT_OF_PRODUCTS
        ),
        Row(f"{name}, cheap beside none", unit, times["ours"], times["cheap"], 1.05),
        Row("step: memory", memory_unit, memory["straightforward"], memory["ours"]),
        Row("step: memory, cheap", memory_unit, memory["straightforward"], memory["cheap"], 0.6),
        Row("step: computed caption tokens", "tokens per sample", needed, computed, 1 / 0.95, "5% padding"),
    ]


LIMIT_OF_PRODUCTS = "1; norms, GELU, softmax and sums are no products"


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--architecture", default="ViT-B-16")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--only", choices=KINDS, help="take one step of this kind, and print its memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only:
        print(
            json.dumps(
                {"megabytes": peak_of_step(options.only, params_of(options.architecture), options.batch)}
            )
        )
        return
    print_rows(describe_rows(options.architecture, options.batch, options.turns), options.json)


if __name__ == "__main__":
    main()
