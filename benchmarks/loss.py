"""Time and memory of the loss and its gradients: ours and the straightforward implementation.

The straightforward one computes each pair of views and each direction separately, through autograd. Both
give the same loss and gradients, which is checked. Memory is the increase of the peak of a process that has
its views; the last row is ours at four times the batch, beside the straightforward one at the batch itself.

    python benchmarks/loss.py [--batch 1024] [--views 8] [--width 512] [--repeats 3] [--json]
"""

import json
import statistics
import sys
import time

import torch
from rows import Row, benchmark_parser, measure_alone, peak_megabytes, print_rows
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from cosmos.config.params import LossParams
from cosmos.model.cosmos import NUM_GLOBAL, StudentViews, TeacherViews
from cosmos.model.loss import CosmosLoss

KINDS = ("straightforward", "ours")


def random_views(num_views: int, size: int, width: int) -> tuple[StudentViews, TeacherViews]:
    """Return views that lie around their samples, so that the loss is neither zero nor that of chance."""
    torch.manual_seed(0)
    samples = torch.randn(size, width)
    student = [normalize(samples + 4 * torch.randn(num_views, size, width), dim=-1) for _ in range(4)]
    teacher = [normalize(samples + 4 * torch.randn(NUM_GLOBAL, size, width), dim=-1) for _ in range(2)]
    scales = [torch.tensor(value) for value in (14.0, 10.0, 0.0)]
    leaves = [tensor.requires_grad_() for tensor in (*student, *scales)]
    return StudentViews(*leaves), TeacherViews(*teacher)


def nce(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    labels = torch.arange(x.shape[1])
    pairs = [
        (cross_entropy(scale * a @ b.T, labels) + cross_entropy(scale * b @ a.T, labels)) / 2
        for a in x
        for b in y
    ]
    return torch.stack(pairs).mean()


def straightforward(student: StudentViews, teacher: TeacherViews) -> Tensor:
    distilled = (student.image_distill, student.text_distill)
    terms = [nce(x, y, student.distill_logit_scale) for x in distilled for y in (teacher.image, teacher.text)]
    contrastive = nce(student.image[:NUM_GLOBAL], student.text, student.logit_scale)
    return contrastive + torch.stack(terms).mean()


def ours(student: StudentViews, teacher: TeacherViews) -> Tensor:
    return CosmosLoss(LossParams())(student, teacher).total


def measure(kind: str, sizes: tuple[int, int, int], repeats: int) -> dict[str, float]:
    """Return the CPU seconds, the increase of peak memory in megabytes, the loss and norms of gradients."""
    torch.set_num_threads(1)
    loss_of = straightforward if kind == "straightforward" else ours
    torch.autograd.backward(loss_of(*random_views(2, 16, sizes[2])))  # warms up kernels
    student, teacher = random_views(*sizes)
    seconds, before = [], peak_megabytes()
    for _ in range(repeats):
        for tensor in student.tensors():
            tensor.grad = None
        began = time.process_time()
        loss = loss_of(student, teacher)
        torch.autograd.backward(loss)
        seconds.append(time.process_time() - began)
    megabytes = peak_megabytes() - before
    norms = {name: float(t.grad.norm()) for name, t in vars(student).items() if t.grad is not None}
    return {"seconds": statistics.median(seconds), "megabytes": megabytes, "loss": loss.item(), **norms}


def products_seconds(num_views: int, size: int, width: int) -> float:
    """Return the CPU seconds of the matrix products that cannot be saved, at the speed of this machine's own.

    A pair of views needs its logits and the gradient of one side; a contrastive one that of the other, too.
    """
    torch.set_num_threads(1)
    num_products = num_views * NUM_GLOBAL * (3 + 2 * 2 * 2)
    x, logits, seconds = torch.randn(size, width), torch.randn(size, size), []
    for _ in range(5):
        began = time.process_time()
        torch.mm(x, x.T)
        torch.mm(logits, x)
        seconds.append((time.process_time() - began) / 2)
    return num_products * statistics.median(seconds)


def main() -> None:
    parser = benchmark_parser(__doc__)
    for option, default in {"batch": 1024, "views": 8, "width": 512, "repeats": 3}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--only", choices=KINDS, help="measure this one, in this process")
    arguments = parser.parse_args()
    batch, repeats = arguments.batch, arguments.repeats
    if arguments.only:
        print(json.dumps(measure(arguments.only, (arguments.views, batch, arguments.width), repeats)))
        return
    options = ["--views", arguments.views, "--width", arguments.width]
    reference, measured = (
        measure_alone(__file__, kind, "--batch", batch, "--repeats", repeats, *options) for kind in KINDS
    )
    for name in reference.keys() - {"seconds", "megabytes"}:
        if abs(measured[name] - reference[name]) > 1e-4 * abs(reference[name]):
            sys.exit(f"the two differ in {name}: {measured[name]} and {reference[name]}")
    large = measure_alone(__file__, "ours", "--batch", 4 * batch, "--repeats", 1, *options)
    path, memory = f"loss, batch {batch}", reference["megabytes"]
    limit = f"matrix products alone: {products_seconds(arguments.views, batch, arguments.width):.2f} s"
    rows = [
        Row(path, "s of CPU", reference["seconds"], measured["seconds"], 0.6, limit),
        Row(path, "MB", memory, measured["megabytes"], 0.1, "gradients of the views"),
        Row(
            f"loss, batch {4 * batch} of ours", "MB", memory, large["megabytes"], 1, "gradients of the views"
        ),
    ]
    print_rows(rows, arguments.json)


if __name__ == "__main__":
    main()
