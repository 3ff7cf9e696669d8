"""Time and memory of one step, forward and backward: ours and the straightforward implementation.

The straightforward one encodes every caption at full length, projects the tokens' keys and values for every
view, and computes each pair of views and each direction separately. Both give the same loss, which is
checked.

    python benchmarks/step.py [--batch 32] [--repeats 5] [--json]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from rows import Row, measure_alone, peak_megabytes, print_rows
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.batch import Batch
from cosmos.distributed.group import ProcessRank
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.towers import encode_image, end_states, image_states, text_states
from cosmos.training.step import Learner

KINDS = ("straightforward", "ours")

CAPTION_LENGTHS = (8, 60)
"""Tokens of the shortest and the longest caption: one and five sentences of the demo world."""


def random_batch(params: Params, size: int) -> Batch:
    views, text = params.views, params.model.inline.text
    tokens = torch.zeros(size, views.num_captions, text.context_length, dtype=torch.long)
    for row in tokens.flatten(0, 1):
        length = int(torch.randint(*CAPTION_LENGTHS, ()))
        row[:length] = torch.randint(1, text.vocab_size - 1, (length,))
        row[length - 1] = text.vocab_size - 1
    return Batch(
        torch.randn(size, 2, 3, views.image_size, views.image_size),
        torch.randn(size, views.num_local_crops, 3, views.local_size, views.local_size),
        tokens,
        tuple(map(str, range(size))),
    )


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
    images = [image_states(student.visual, crop) for crop in crops]
    texts = [text_states(student, student.token_embedding(tokens)) for tokens in batch.tokens.unbind(1)]
    f = [states[:, 0] @ student.visual.proj for states in images]
    g = [
        end_states(states, tokens) @ student.text_projection
        for states, tokens in zip(texts, batch.tokens.unbind(1), strict=True)
    ]
    image_tokens = student.image_token_mapping(images[0][:, 1:])
    text_tokens = student.text_token_mapping(texts[0])
    c = [normalize(v + student.text_attn_cross_pool(v[None], text_tokens)[0], dim=-1) for v in f]
    d = [normalize(v + student.visual.attn_cross_pool(v[None], image_tokens)[0], dim=-1) for v in g]
    with torch.no_grad():
        f_teacher = [normalize(encode_image(teacher, crop), dim=-1) for crop in crops[:2]]
        g_teacher = [
            normalize(
                end_states(text_states(teacher, teacher.token_embedding(tokens)), tokens)
                @ teacher.text_projection,
                dim=-1,
            )
            for tokens in batch.tokens[:, :2].unbind(1)
        ]
    f, g = [[normalize(v, dim=-1) for v in views] for views in (f[:2], g)]
    scale = student.distill_logit_scale.exp()
    distill = sum(nce(x, y, scale) for x in (c, d) for y in (f_teacher, g_teacher)) / 4
    return nce(f, g, student.logit_scale.exp()) + distill


def ours(learner: Learner, batch: Batch) -> Tensor:
    teacher = learner.teach(batch)
    return learner.backward(batch, teacher).total


def measure(kind: str, size: int, repeats: int) -> dict[str, float]:
    """Return the CPU seconds of a step, the increase of peak memory in megabytes, and the loss."""
    torch.set_num_threads(1)
    params = Params()
    process = ProcessRank(0, 1, torch.device("cpu"))
    learner = Learner(ModelConfig.of(params), params.pretrain, Machine(), process)
    torch.manual_seed(0)
    batch = random_batch(params, size)

    def plain() -> Tensor:
        loss = straightforward(learner.student, learner.teacher, batch)
        torch.autograd.backward(loss)
        return loss

    step: Callable[[], Tensor] = plain if kind == "straightforward" else lambda: ours(learner, batch)
    start = peak_megabytes()
    loss, seconds = step(), []
    for _ in range(repeats):
        learner.optimizer.zero_grad()
        began = time.process_time()
        step()
        seconds.append(time.process_time() - began)
    peak = peak_megabytes() - start
    return {"seconds": statistics.median(seconds), "megabytes": peak, "loss": loss.item()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=KINDS, help="measure this one, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.batch, arguments.repeats)))
        return
    sizes = ["--batch", arguments.batch, "--repeats", arguments.repeats]
    reference, measured = (measure_alone(__file__, kind, *sizes) for kind in KINDS)
    if abs(measured["loss"] - reference["loss"]) > 1e-4:
        sys.exit(f"the two losses differ: {measured['loss']} and {reference['loss']}")
    rows = [
        Row(f"step, batch {arguments.batch}", unit, reference[name], measured[name])
        for name, unit in {"seconds": "s of CPU", "megabytes": "MB"}.items()
    ]
    print_rows(rows, arguments.json)


if __name__ == "__main__":
    main()
